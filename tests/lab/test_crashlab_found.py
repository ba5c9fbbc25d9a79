"""Failures that the crash lab found, each with the shortest test that shows it."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from lab import CALM
from lab_live import live

from paper_gateway.testing import RunningGateway
from trader.broker.ibkr.translate import bars_between
from trader.config.sections import UniverseRules
from trader.runtime.scanner_file import load_setups


async def test_f15_a_partial_after_the_stop_has_filled_reverses_nothing(tmp_path: Path) -> None:
    """The stop fills at IBKR before its change arrives: no exit is sent without the confirmation."""
    with RunningGateway(*CALM) as gateway:
        async with live(gateway, tmp_path) as run:
            position = await run.enter("TSLA", "LONG", 100)
            run.set_price(position.stop_price * 0.999)
            await run.orders.take_partial(position, 50, "partial_1r")
            await run.until(lambda: not run.state.positions)
            assert run.held() == 0
            assert run.state.halted == {}


def test_an_impossible_price_is_not_a_setup(tmp_path: Path) -> None:
    """Its targets would be prices that the state file refuses."""
    record = {"symbol": "TSLA", "resistance": 18446744073709551616, "support": 13.0, "score": 90}
    (tmp_path / "scanner_results_20251006.json").write_text(json.dumps([record]))
    found = load_setups(tmp_path, date(2025, 10, 6), UniverseRules())
    assert found.setups == ()
    assert "resistance" in found.skipped[0].why


@pytest.mark.parametrize("when", ["x", "9" * 30, ""])
def test_a_bar_of_history_without_a_time_is_left_out(when: str) -> None:
    """Such a bar ended the run before."""
    start, end = datetime(2025, 10, 6, 13, 45, tzinfo=UTC), datetime(2025, 10, 6, 13, 46, tzinfo=UTC)
    prices = {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}
    rows = [SimpleNamespace(date=when, **prices), SimpleNamespace(date=str(int(start.timestamp())), **prices)]
    assert [bar.time for bar in bars_between(rows, start, end)] == [start]
