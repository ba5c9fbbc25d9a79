"""A restart is warm at once and has the same indicators as a run that never stopped."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from lab import DATE, Trader, wait_for

from paper_gateway.testing import RunningGateway
from state.manager import StateManager
from state.storage.bars import BarStore, StoredBar
from state.storage.files import Folder
from trader.broker.ibkr.broker import IbkrBroker
from trader.clock import Clock
from trader.config.sections import Config
from trader.core.messages import Tick, TradingStarted
from trader.core.strategy.indicators import mean_volume
from trader.core.strategy.ps60.breakout import lookback_candles
from trader.core.turn import Settings
from trader.runtime.connection import sync_clock
from trader.runtime.loop import Loop, Queue
from trader.runtime.scanner_file import load_setups

ROOT = Path(__file__).resolve().parents[2]
SPEED = 120.0
ACCOUNT = "DU1234567"


class ObservedSession:
    """What the loop asks of a session, as far as monitoring a market needs it."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    def take_opened(self, count: int) -> None:
        self.opened.set()

    def fail(self, error: BaseException) -> None:
        raise error

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class Observer:
    """The parts of the trader that monitor a market. It is never ready, so it trades nothing."""

    def __init__(self, gateway: RunningGateway, folder: Path, client_id: int) -> None:
        self.clock = Clock(real_gateway=False)
        self.queue: Queue = asyncio.Queue()
        put = self.queue.put_nowait
        self.broker = IbkrBroker("127.0.0.1", gateway.port, client_id, put)
        self.manager = StateManager.open(folder, f"observer-{client_id}")
        self.gateway = gateway

    async def start(self) -> "Observer":
        await self.broker.connect()
        await sync_clock(self.broker, self.clock, SPEED)
        date = self.clock.trading_date()
        self.manager.begin(date.isoformat(), ACCOUNT, "test", self.clock.now(), loop=asyncio.get_running_loop())
        setups = load_setups(ROOT / "scanner_output", date, Config().universe).setups
        settings = Settings(config=Config(), account=ACCOUNT, setups={setup.symbol: setup for setup in setups})
        session = ObservedSession()
        self.loop = Loop(self.queue, self.manager, self.broker, self.clock, settings, session)
        self.tasks = [asyncio.create_task(job) for job in (self.loop.run(), self._tick())]
        self.queue.put_nowait(TradingStarted())
        async with asyncio.timeout(30):
            await session.opened.wait()
            while not self.filled():  # noqa: ASYNC110 - the engine signals no event for this
                await asyncio.sleep(0.01)
        return self

    def filled(self) -> bool:
        """Whether the history of every symbol has come, up to its first live bar."""
        buffers = [monitor.buffer for monitor in self.loop.view.monitors.values()]
        return all(buffer.candles and not buffer.holes() for buffer in buffers)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self.queue.put_nowait(Tick())

    async def stop(self) -> None:
        """End it as a kill does: nothing more is written."""
        for task in self.tasks:
            task.cancel()
        await self.loop.end()
        await self.broker.disconnect()
        self.manager.close()

    async def seen(self, minutes: int) -> None:
        """Wait until every symbol has closed so many more session minutes."""
        until = self.clock.now() + timedelta(minutes=minutes)
        async with asyncio.timeout(60):
            while any(  # noqa: ASYNC110 - the engine signals no event for this
                not w.buffer.candles or w.buffer.candles[-1].end < until for w in self.loop.view.monitors.values()
            ):
                await asyncio.sleep(0.02)


@pytest.mark.timeout(90)
async def test_indicators_after_a_restart_equal_those_of_a_run_that_never_stopped(tmp_path: Path) -> None:
    with RunningGateway("--speed", str(SPEED), "--start", "10:40") as gateway:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        steady = await Observer(gateway, tmp_path / "a", 11).start()
        killed = await Observer(gateway, tmp_path / "b", 12).start()
        await killed.seen(4)
        await killed.stop()
        tear_last_line(tmp_path / "b", killed.manager.state.trading_date)
        await steady.seen(3)  # the downtime
        again = await Observer(gateway, tmp_path / "b", 12).start()
        try:
            assert all(monitor.buffer.warm for monitor in again.loop.view.monitors.values()), (
                "warm on the first bar"
            )
            await again.seen(2)
            await steady.seen(1)
            compare(steady, again)
        finally:
            await again.stop()
            await steady.stop()


def compare(steady: Observer, again: Observer) -> None:
    """Compare candles and indicators as far as any rule looks back."""
    depth = lookback_candles(Config().entry)
    for symbol, monitor in again.loop.view.monitors.items():
        last = monitor.buffer.candles[-1].time
        found = [candle for candle in monitor.buffer.candles if candle.time <= last][-depth:]
        expected = [c for c in steady.loop.view.monitors[symbol].buffer.candles if c.time <= last][-depth:]
        assert len(found) == depth
        assert found == expected, symbol
        assert mean_volume(found) == mean_volume(expected)


def tear_last_line(folder: Path, date: str) -> None:
    """Cut each file of bars, as a crash during a write does."""
    files = sorted((folder / "bars" / date).glob("*.jsonl"))
    assert files, "bars were kept"
    for path in files:
        data = path.read_bytes()
        path.write_bytes(data[:-20])


def test_bars_come_back_as_they_were_without_repeats_and_without_torn_lines(tmp_path: Path) -> None:
    with Folder.open(tmp_path) as folder:
        store = BarStore(folder, "2025-10-06")
        assert store.read("TSLA") == []
        start = Clock().now().replace(microsecond=0)
        bars = [StoredBar(start + timedelta(seconds=5 * i), 1.0, 2.0, 0.5, 1.5, 100.0) for i in range(5)]
        store.append({"TSLA": bars[3:], "BRK B": bars[:1]})
        path = tmp_path / "bars" / "2025-10-06" / "TSLA.jsonl"
        path.write_bytes(path.read_bytes()[:-7])
        store.append({"TSLA": bars[:4]})
        assert store.read("TSLA") == bars[:4]
        assert store.read("BRK B") == bars[:1]
        assert path.stat().st_mode & 0o777 == 0o600


def test_killed_in_the_middle_of_the_break_candle_it_is_traded_at_its_close(tmp_path: Path) -> None:
    """A real trader and kill -9: half of the candle is on disk, the rest comes from history and live bars.

    TSLA breaks upward and NVDA downward in the candle of 09:45, which is judged at 09:46:00. A trader that
    warms up from live bars needs another 100 seconds, and the signal is blocked as `not_warm`.
    """
    flags = ("--symbols", "TSLA,NVDA")

    def session_time(gateway: RunningGateway) -> str:
        return str(gateway.ctl("info")["time"])[11:19]

    def run_to(gateway: RunningGateway, moment: str) -> None:
        gateway.ctl("speed", speed=60.0)
        wait_for(lambda: session_time(gateway) >= moment)
        gateway.ctl("speed", speed=1.0)

    with RunningGateway("--speed", "1", "--start", "09:44", "--date", DATE) as gateway:
        with Trader(gateway, tmp_path, *flags) as trader:
            trader.wait_ready()
            wait_for(lambda: "Subscribed to" in trader.output())
            run_to(gateway, "09:45:30")
            trader.kill()
        with Trader(gateway, tmp_path, *flags) as trader:
            trader.wait_ready()
            wait_for(lambda: "Subscribed to" in trader.output())
            assert session_time(gateway) < "09:46:00", "it traded before the candle closed"
            run_to(gateway, "09:46:02")
            found = trader.wait_status(lambda s: {row["symbol"] for row in s["positions"]} == {"TSLA", "NVDA"})
            breaks = {datetime.fromisoformat(at["break_time"]) for at in found["last_signals"].values()}
            assert breaks == {datetime.fromisoformat(f"{DATE}T09:45:00-04:00")}
            assert "not_warm" not in found["filter_blocks"]
            assert session_time(gateway) < "09:47:00", "at its close, not a candle later"
