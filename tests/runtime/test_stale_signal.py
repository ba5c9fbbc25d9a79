"""A signal from a candle that closed too long ago is discarded: the price has moved since."""

from datetime import timedelta
from pathlib import Path

import pytest
from lab import CALM
from lab_live import Live, live, setup_at

from paper_gateway.testing import RunningGateway
from trader.core.bars import Candle, minute_of
from trader.core.engine import judge_candle
from trader.core.strategy.ps60.breakout import Breakout
from trader.core.view import SymbolMonitor


def broken(run: Live, age_s: float) -> tuple[SymbolMonitor, Candle]:
    """A monitor whose last candle broke out on strong volume and closed `age_s` ago."""
    monitor = run.monitors["TSLA"]
    price = monitor.price
    pivot = round(price * 0.996, 2)
    monitor.setup = setup_at("TSLA", pivot)
    monitor.breakouts = [Breakout(monitor.setup, "LONG", run.session.config.entry)]
    last = run.session.clock.now() - timedelta(minutes=1, seconds=age_s)
    start = minute_of(last) - timedelta(minutes=30)
    quiet = [
        Candle(start + timedelta(minutes=i), pivot - 0.2, pivot - 0.05, pivot - 0.3, pivot - 0.1, 1000.0)
        for i in range(30)
    ]
    candle = Candle(minute_of(last), pivot - 0.1, price + 0.1, pivot - 0.2, price, 5000.0)
    monitor.buffer._candles[:] = [*quiet, candle]
    return monitor, candle


@pytest.mark.parametrize("age_s", [0.0, 300.0])
async def test_only_a_fresh_signal_is_traded(tmp_path: Path, age_s: float) -> None:
    with RunningGateway(*CALM) as gateway:
        async with live(gateway, tmp_path, entry__signal_max_age_s=75.0) as run:
            await run.until(lambda: run.monitors["TSLA"].buffer.warm and run.is_live())
            monitor, candle = broken(run, age_s)
            assert [signal.path for signal in monitor.signals(candle)] == ["momentum"]
            run.loop.turn(lambda turn: judge_candle(turn, "TSLA", candle))
            entries = run.orders_of("entry")
            assert (len(entries) == 1) == (age_s == 0.0)
            if age_s:
                assert not run.state.filter_blocks
