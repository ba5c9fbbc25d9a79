"""A trader inside the test process, connected to a real gateway process by a real socket.

async with live(gateway, tmp_path) as run:
    await run.enter("TSLA", "LONG", 100)                 # a bracket, as the strategy sends it
    await run.agreed()                                   # state and gateway agree
    await run.crash()                                    # as if killed: no shutdown code runs
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from lab import WAIT_S, differences, scanner

from paper_gateway.testing import RunningGateway
from state.domain.model import Order, OrderReason, PartialReason, Position, Side, TraderState, sign
from state.manager import StateManager
from state.storage.loader import Loaded
from state.storage.sessions import SessionStore, make_session_id
from trader.cli.status.builder import build_status
from trader.clock import Clock
from trader.config.loader import load_config
from trader.config.sections import Config, RunOptions
from trader.core import comparison, entries
from trader.core.orders import closing, sending
from trader.core.orders.order_ref import parse_ref
from trader.core.prices import has_live_data
from trader.core.strategy.ps60.breakout import Signal
from trader.core.strategy.ps60.setups import Setup
from trader.core.turn import Turn
from trader.core.view import SymbolMonitor, View
from trader.errors import BrokerError, TraderError
from trader.runtime.connection import Connected, connect, find_endpoint, make_broker
from trader.runtime.loop import Loop, Queue
from trader.runtime.session import TradingSession
from trader.runtime.stopping import Stopping

T = TypeVar("T")


class Orders:
    """The core's decisions about orders. Each call is a turn of its own and returns once its effects are done."""

    def __init__(self, run: Live) -> None:
        self._run = run

    async def _turn(self, decide: Callable[[Turn], T]) -> T:
        made = self._run.loop.turn(decide)
        await self._run.drained()
        return made

    async def enter(self, signal: Signal, setup: Setup, con_id: int, quantity: int, stop_price: float) -> str:
        """Send a bracket; returns the entry's orderRef."""
        return await self._turn(lambda turn: entries.enter(turn, signal, setup, con_id, quantity, stop_price))

    async def take_partial(self, position: Position, shares: int, reason: PartialReason) -> None:
        """Take a partial exit; returns once its order was sent, or nothing is under way any more."""
        await self._turn(lambda turn: closing.take_partial(turn, position, shares, reason))
        await self._run.until(lambda: position.closing is None or position.closing.step == "market")
        await self._run.drained()

    async def move_stop(self, position: Position, price: float, reason: Literal["breakeven", "trail"]) -> None:
        await self._turn(lambda turn: closing.move_stop(turn, position, price, reason))

    async def close(self, position: Position, reason: OrderReason) -> None:
        await self._turn(lambda turn: closing.close(turn, position, reason))

    def is_closing(self, position: Position) -> bool:
        return closing.is_closing(position)

    def cancel(self, order: Order, why: str) -> None:
        self._run.loop.turn(lambda turn: sending.cancel_order(turn, order, why))


class Live:
    """A trading session and what a test reads of it or does to it. `orders` sends orders as the core does."""

    def __init__(self, gateway: RunningGateway, logs: Path, session: TradingSession) -> None:
        self.gateway = gateway
        self.logs = logs
        self.session = session
        self.orders = Orders(self)
        self.running: asyncio.Task[int] | None = None

    @property
    def loop(self) -> Loop:
        """The shell's loop. It exists once the state was loaded."""
        assert self.session.loop is not None
        return self.session.loop

    @property
    def view(self) -> View:
        """The engine's live view."""
        return self.loop.view

    @property
    def monitors(self) -> dict[str, SymbolMonitor]:
        """The symbols that are monitored."""
        return self.loop.view.monitors

    async def drained(self) -> None:
        """Wait until every effect decided so far was carried out. Raises the journal's failure, if it failed."""
        while not self.loop.idle:
            if self.session.manager.failure is not None:
                raise self.session.manager.failure
            await asyncio.sleep(0.002)

    def compare_soon(self) -> None:
        """Request a comparison with IBKR, as after an unexpected message."""

        def want(turn: Turn) -> None:
            turn.view.comparison.wanted = True
            comparison.schedule(turn)

        self.loop.turn(want)

    @property
    def state(self) -> TraderState:
        """What the trader knows."""
        return self.session.state

    def position(self, symbol: str = "TSLA") -> Position:
        """The open position of a symbol; KeyError if there is none."""
        return self.state.positions[symbol]

    def orders_of(self, role: str, symbol: str = "TSLA") -> list[Order]:
        """The trader's own orders of one role, live or done."""
        return [order for order in self.state.orders.values() if order.role == role and order.symbol == symbol]

    async def until(self, condition: Callable[[], Any], bound_s: float = WAIT_S) -> Any:
        """Poll until the condition is true; the session's own error, or AssertionError after the bound."""
        deadline = time.monotonic() + bound_s
        while True:
            found = condition()
            if found:
                return found
            assert self.running is not None
            if self.running.done():
                raise AssertionError("the session ended") from self.running.exception()
            assert time.monotonic() < deadline, f"not within {bound_s} s; the state: {self.state}"
            await asyncio.sleep(0.01)

    def held(self, symbol: str = "TSLA") -> int:
        """Signed shares that the gateway holds of a symbol."""
        return held_at(self.gateway, symbol)

    def exits(self, symbol: str = "TSLA") -> list[dict[str, Any]]:
        """Executions at the gateway that are not of an entry, whoever sent the order."""
        found = [e for e in self.gateway.truth()["executions"] if e["symbol"] == symbol and not e["superseded"]]
        return [e for e in found if (ref := parse_ref(e["order_ref"])) is None or ref.role != "entry"]

    async def trading(self) -> None:
        """Wait until the protection gate has passed, the start's report is written and the market is open."""
        await self.until(lambda: _trades(self))

    async def agreed(self, bound_s: float = WAIT_S) -> None:
        """Wait until the protection gate has passed and the state agrees with the gateway."""
        try:
            await self.until(lambda: self.state.connection.ready and not self.differences(), bound_s)
        except AssertionError as error:
            raise AssertionError(f"{self.differences()}, {self.state.connection}") from error

    def differences(self) -> list[str]:
        """See `lab.differences`; the status is made from the state in memory, saved or not."""
        made = build_status(Loaded(state=self.state), None, datetime.now(UTC))
        return differences(json.loads(msgspec.json.encode(made)), self.gateway.truth())

    async def elapse(self, seconds: float = 0.8) -> None:
        """Let session time pass, to see that something does not happen."""
        end = self.session.clock.now() + timedelta(seconds=seconds)
        await self.until(lambda: self.session.clock.now() > end)

    async def price(self, symbol: str = "TSLA") -> float:
        """The last price that the trader received; waits for the first one."""
        monitor = self.monitors[symbol]
        await self.until(lambda: monitor.price == monitor.price)
        return monitor.price

    async def send_entry(
        self, symbol: str = "TSLA", side: Side = "LONG", shares: int = 100, *, stop_pct: float = 5.0
    ) -> str:
        """Send a market entry with its stop `stop_pct` percent away; returns the entry's orderRef."""
        price = await self.price(symbol)
        towards = sign(side)
        pivot = round(price * (1 - towards * 0.001), 2)
        setup = setup_at(symbol, pivot)
        now = self.session.clock.now()
        signal = Signal(symbol, side, "momentum", pivot, price, now, now, 2.0)
        stop = round(price * (1 - towards * stop_pct / 100), 2)
        return await self.orders.enter(signal, setup, self.monitors[symbol].con_id, shares, stop)

    async def enter(
        self, symbol: str = "TSLA", side: Side = "LONG", shares: int = 100, *, stop_pct: float = 5.0
    ) -> Position:
        """Enter, and wait until the entry is filled and its stop is working."""
        await self.send_entry(symbol, side, shares, stop_pct=stop_pct)
        await self.until(
            lambda: (
                symbol in self.state.positions
                and self.position(symbol).held == shares
                and (stop := self.state.protective_stop(self.position(symbol)))
                and stop.status == "working"
            )
        )
        return self.position(symbol)

    async def judge(self, symbol: str = "TSLA", side: Side = "LONG", pivot: float | None = None) -> str:
        """Give the entries a signal now; returns the filter that blocked it, "" if an entry was sent."""
        await self.until(lambda: self.monitors[symbol].buffer.warm and self.is_live(symbol))
        before, price, now = dict(self.state.filter_blocks), await self.price(symbol), self.session.clock.now()
        at = pivot if pivot is not None else round(price * (1 - sign(side) * 0.001), 2)
        last = self.state.last_signals.get(symbol)  # the clock of a new run may start up to a second behind
        broke = now if last is None else max(now, last.break_time + timedelta(minutes=1))
        signal = Signal(symbol, side, "sustained", at, price, broke, broke, 2.0)
        entries_open = self.state.connection.entries_open
        self.judge_signal(self.monitors[symbol], signal, entries_open=entries_open)
        await self.drained()
        return next((name for name, count in self.state.filter_blocks.items() if count != before.get(name, 0)), "")

    def is_live(self, symbol: str = "TSLA") -> bool:
        """Whether an entry in the symbol is possible: real-time bars have come, and the price is fresh."""
        return self.loop.turn(lambda turn: has_live_data(turn, self.monitors[symbol]))

    def judge_signal(self, monitor: SymbolMonitor, signal: Signal, *, entries_open: bool = True) -> None:
        """Give a signal to the entries, as the candle that confirms it does."""
        self.loop.turn(lambda turn: entries.judge(turn, monitor, signal, entries_open=entries_open))

    async def close(self, position: Position, reason: OrderReason) -> None:
        """Close a position at the market, as an exit rule or the operator does."""

        def asked() -> bool:
            """Again and again, as at each price: what was sent a moment ago is waited for."""
            self.loop.turn(lambda turn: closing.close(turn, position, reason))
            return position.symbol not in self.state.positions or closing.is_closing(position)

        await self.until(asked)
        await self.drained()

    def set_price(self, price: float, symbol: str = "TSLA") -> None:
        """Make the market trade at that price; it continues from there."""
        self.gateway.ctl("price", symbol=symbol, price=round(price, 2))

    async def crash(self) -> None:
        """End the run as a kill does: tasks are cancelled, the socket closes, nothing more is written."""
        assert self.running is not None
        self.running.cancel()
        await asyncio.wait({self.running})
        await self.session._end_tasks()
        with suppress(BrokerError):
            await self.session.connected.broker.disconnect()


async def entered_and_crashed(gateway: RunningGateway, folder: Path, shares: int = 100) -> None:
    """A run that enters LONG TSLA, has its stop working, and is killed."""
    async with live(gateway, folder) as run:
        await run.enter("TSLA", "LONG", shares)
        await run.crash()


def held_at(gateway: RunningGateway, symbol: str = "TSLA") -> int:
    """Signed shares that the gateway holds of a symbol."""
    return sum(int(row["quantity"]) for row in gateway.truth()["positions"] if row["symbol"] == symbol)


def setup_at(symbol: str, pivot: float) -> Setup:
    """A setup around a pivot: targets 3, 6 and 9 percent away on either side."""
    up, down = (
        [round(pivot * (1 + k * 0.03), 2) for k in (1, 2, 3)],
        [round(pivot * (1 - k * 0.03), 2) for k in (1, 2)],
    )
    return Setup(symbol, pivot, pivot, up[0], up[1], up[2], down[0], down[1], 50.0)


def settings(gateway: RunningGateway, folder: Path, **overrides: object) -> Config:
    """The trader's settings for a test; `overrides` as in `gateway__client_id=7`."""
    base: dict[str, object] = {
        "gateway.port": gateway.port,
        "files.logs_dir": str(folder / "logs"),
        "files.scanner_dir": str(scanner(folder)),
    }
    given = {name.replace("__", ".", 1): value for name, value in overrides.items()}
    return load_config(None, {}, base | given)


@asynccontextmanager
async def live(
    gateway: RunningGateway,
    folder: Path,
    *,
    options: RunOptions | None = None,
    ready: bool = True,
    **overrides: object,
) -> AsyncIterator[Live]:
    """A trading session in this event loop. ready: wait until it trades, else only until its state is loaded.

    Raises what the start raises (ConflictError ...). At exit it is stopped as by Ctrl+C, unless it crashed.
    """
    config = settings(gateway, folder, **overrides)
    clock, stopping = Clock(real_gateway=False), Stopping()
    with StateManager.open(config.files.logs_dir, make_session_id(datetime.now(UTC))) as manager:
        manager.on_failure = stopping.fail
        sessions = SessionStore(manager.folder)
        sessions.mark_crashed(datetime.now(UTC))
        endpoint = await find_endpoint(config)
        queue: Queue = asyncio.Queue()
        broker = make_broker(config, endpoint, clock, queue.put_nowait)
        try:
            account = await connect(config, endpoint, broker, clock)
        except TraderError:
            await broker.disconnect()
            raise
        connected = Connected(endpoint, broker, account)
        session = TradingSession(
            config, options or RunOptions(), clock, manager, sessions, connected, queue, stopping
        )
        run = Live(gateway, config.files.logs_dir, session)
        run.running = asyncio.create_task(session.run(lambda _: None))
        try:
            await _started(run, ready=ready)
            yield run
            stopping.ask("the test is over")
            if not run.running.cancelled():
                await asyncio.wait_for(run.running, WAIT_S)
        finally:
            await run.crash()


async def _started(run: Live, *, ready: bool) -> None:
    """Wait until its state is loaded, or (ready) until it trades. Raises what the start raised."""
    deadline = time.monotonic() + WAIT_S
    assert run.running is not None
    while not (_trades(run) if ready else run.session.manager.begun):
        if run.running.done():
            run.running.result()
        assert time.monotonic() < deadline, f"the trader did not get ready; the state: {run.state}"
        await asyncio.sleep(0.01)


def _trades(run: Live) -> bool:
    """Whether it trades: the protection gate has passed and every symbol's instrument was asked for."""
    loop = run.session.loop
    return loop is not None and loop.view.phase == "trading" and not loop.view.opening
