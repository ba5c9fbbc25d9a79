"""Market data that are missing, delayed, frozen or old, with a real gateway that behaves so."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from lab import CALM
from lab_live import Live, live, setup_at

from paper_gateway.testing import RunningGateway
from state.domain.model import DataState
from state.manager import StateManager
from trader.broker.ibkr import pacing
from trader.broker.ibkr.broker import IbkrBroker
from trader.broker.port import PricesFact
from trader.clock import Clock
from trader.config.sections import Config
from trader.core import data_check, data_state, engine
from trader.core.messages import Message
from trader.core.prices import fresh_price
from trader.core.strategy.ps60.breakout import Signal
from trader.core.turn import Settings, Turn
from trader.runtime import loop as loop_module
from trader.runtime.loop import Loop, Queue, Session

SILENT_S = 1.5
SYMBOLS = ("AMD", "NVDA", "TSLA")
FAST = ("--speed", "20", *CALM[2:])


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silences, waits and records in a tenth of their time; the gateway's session runs twenty times as fast."""
    monkeypatch.setattr(pacing, "IDENTICAL_S", 1.5)
    monkeypatch.setattr(data_state, "SILENT_S", SILENT_S)
    monkeypatch.setattr(data_check, "SILENT_S", SILENT_S)
    monkeypatch.setattr(data_state, "WAITS_S", (0.5, 1.0))
    monkeypatch.setattr(data_check, "RECORD_EVERY_S", 1.0)
    monkeypatch.setattr(data_check, "ALERT_EVERY_S", 0.0)


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway(*FAST) as running:
        yield running


def states(run: Live) -> set[tuple[DataState, int]]:
    """The states of all symbols as the files have them, with IBKR's codes."""
    found = run.state.market_data
    return {(data.state, data.code) for data in found.values()} if found.keys() == set(SYMBOLS) else set()


def alert(run: Live) -> str:
    return next((one.text for one in run.state.alerts if one.key == data_check.ALERT_KEY), "")


async def all_live(run: Live) -> None:
    await run.until(lambda: all(run.is_live(symbol) for symbol in SYMBOLS))


def fresh(run: Live) -> float | None:
    return run.loop.turn(lambda turn: fresh_price(turn, run.monitors["TSLA"]))


def signal_now(run: Live) -> Signal:
    price, now = run.monitors["TSLA"].price, run.session.clock.now()
    return Signal("TSLA", "LONG", "momentum", round(price * 0.999, 2), price, now, now, 2.0)


def enters(run: Live) -> bool:
    """Whether a signal is entered now; the filter of old and missing data has to be what blocks it."""
    monitor, signal, before = run.monitors["TSLA"], signal_now(run), len(run.orders_of("entry"))
    blocked = run.state.filter_blocks.get("no_live_data", 0)
    monitor.setup = setup_at("TSLA", signal.pivot)
    run.judge_signal(monitor, signal)
    entered = len(run.orders_of("entry")) > before
    assert entered != (run.state.filter_blocks.get("no_live_data", 0) > blocked)
    return entered


@pytest.mark.parametrize(
    ("quirk", "value", "expected"),
    [
        ("data-error", "10197", {("missing", 10197)}),
        ("delayed", "", {("delayed", 10167)}),
        ("stale", "", {("stale", 0)}),
        ("no-bars", "", {("stale", 0)}),
    ],
)
async def test_g28_blind_symbols_are_named_open_nothing_and_become_live_again(
    gateway: RunningGateway, tmp_path: Path, quirk: str, value: str, expected: set[tuple[DataState, int]]
) -> None:
    """The quirk begins while data are live, and ends later."""
    async with live(gateway, tmp_path) as run:
        await run.until(lambda: run.monitors["TSLA"].buffer.warm)
        await all_live(run)
        gateway.ctl("quirk", name=quirk, value=value)
        await run.until(lambda: states(run) == expected)
        assert all(name in alert(run) for name in SYMBOLS)
        assert fresh(run) is None
        assert not enters(run)
        gateway.ctl("quirk", name=quirk, off=True)
        await run.until(lambda: not run.state.market_data)
        await all_live(run)
        await run.until(lambda: not alert(run) and run.monitors["TSLA"].buffer.warm)
        assert enters(run)


async def test_g28_prices_that_are_missing_do_not_matter_while_bars_come(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """A bar with trades has a price."""
    gateway.ctl("quirk", name="no-ticks", value="")
    async with live(gateway, tmp_path) as run:
        await all_live(run)
        await run.elapse(60.0)
        assert run.state.market_data == {}


async def test_a_frozen_price_is_old_although_it_is_repeated(gateway: RunningGateway, tmp_path: Path) -> None:
    """Before the silence of the bars is noticed, the time of the trade tells that the price is old."""
    async with live(gateway, tmp_path, market__price_max_age_s=0.5) as run:
        await all_live(run)
        gateway.ctl("quirk", name="stale", value="")
        await run.until(lambda: fresh(run) is None)
        assert run.monitors["TSLA"].data.state == "live"
        assert not enters(run)


async def test_g05_the_price_of_before_a_sleep_enters_nothing(gateway: RunningGateway, tmp_path: Path) -> None:
    """Nothing runs for two seconds, as in a suspended process: the first decision has the price of before."""
    async with live(gateway, tmp_path, market__price_max_age_s=1.5) as run:
        await run.until(lambda: run.monitors["TSLA"].buffer.warm)
        await all_live(run)
        before = run.monitors["TSLA"].price
        time.sleep(2.0)  # noqa: ASYNC251 - nothing runs meanwhile
        assert fresh(run) is None
        assert not enters(run)
        assert run.monitors["TSLA"].price == before
        await all_live(run)
        assert enters(run)


@pytest.mark.parametrize("asleep_s", [0.15, 0.0])
async def test_g05_all_that_waits_is_taken_in_before_anything_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asleep_s: float
) -> None:
    """A backlog that takes twenty reads of the socket is one turn after a sleep."""
    monkeypatch.setattr(loop_module, "BEAT_S", 0.01)
    monkeypatch.setattr(loop_module, "ASLEEP_S", 0.1)
    taken: list[int] = []
    all_taken = asyncio.Event()

    def take(_: Turn, waiting: Sequence[Message]) -> None:
        taken.append(len(waiting))
        if sum(taken) == 20:
            all_taken.set()

    monkeypatch.setattr(engine, "handle", take)
    queue: Queue = asyncio.Queue()

    def read_socket(left: int) -> None:
        queue.put_nowait(PricesFact({"TSLA": float(left)}))
        if left > 1:
            asyncio.get_running_loop().call_later(0.002, read_socket, left - 1)

    with StateManager.open(tmp_path, "20251006-134500-aaaa") as manager:
        clock = Clock()
        manager.begin("2025-10-06", "DU1", "test", clock.now())
        broker = IbkrBroker("127.0.0.1", 1, 1, queue.put_nowait)
        settings = Settings(config=Config(), account="DU1", setups={})
        loop = Loop(queue, manager, broker, clock, settings, MagicMock(spec=Session))
        running = asyncio.create_task(loop.run())
        await asyncio.sleep(0.03)
        time.sleep(asleep_s)  # noqa: ASYNC251 - nothing runs meanwhile
        asyncio.get_running_loop().call_soon(read_socket, 20)
        async with asyncio.timeout(5.0):
            await all_taken.wait()
        running.cancel()
        await loop.end()
    assert (len(taken) == 1) is (asleep_s > 0.0)
