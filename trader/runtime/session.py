"""One trading session: load the state, pass the protection gate, report, trade, and end.

Entries are closed until the protection gate has passed. What does not protect positions (bars, history,
checkpoints) comes after it.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Literal

from state.domain.events import Paused, SymbolReleased, Unpaused
from state.domain.model import TraderState
from state.errors import (
    CorruptFileError,
    DiskError,
    DiskSilentError,
    StateError,
    SyncFailedError,
    TraderError,
)
from state.manager import Begun, StateManager, mismatch
from state.storage.pause_request import PAUSE_REQUEST, forget_pause_request, read_pause_request
from state.storage.sessions import SessionStore
from trader.clock import Clock
from trader.config.sections import Config, RunOptions
from trader.core import effects as fx
from trader.core.messages import Message, RecoveryStarted, RunEnding, TradingStarted
from trader.core.orders.order_ref import ALPHABET
from trader.core.reconciliation.plan import Row
from trader.core.strategy.ps60.setups import SetupList
from trader.core.turn import Settings
from trader.errors import ConflictError, ScannerError, UntrustedStateError
from trader.output import say, say_lines
from trader.plain_text import plain
from trader.runtime import recovery_report as report
from trader.runtime.connection import Connected, ConnectionKeeper
from trader.runtime.control_socket import Requests, serve
from trader.runtime.loop import Loop, Queue
from trader.runtime.scanner_file import load_setups
from trader.runtime.session_record import SessionRecord
from trader.runtime.stopping import Stopping
from trader.runtime.timers import Timers

_log = logging.getLogger("trader.session")

END_TIMEOUT_S = 10.0
"""How long the last writes of a run may take, each; real seconds."""


class TradingSession:
    """Builds the parts of a session for one state and one connection, and runs them."""

    def __init__(
        self,
        config: Config,
        options: RunOptions,
        clock: Clock,
        manager: StateManager,
        sessions: SessionStore,
        connected: Connected,
        queue: Queue,
        stopping: Stopping,
    ) -> None:
        """queue: takes the facts of the broker in `connected`."""
        self.config = config
        self.options = options
        self.clock = clock
        self.manager = manager
        self.sessions = sessions
        self.connected = connected
        self.stopping = stopping
        self.timings_ms: dict[str, float] = {}
        self.record: SessionRecord | None = None
        self.loop: Loop | None = None
        self._queue = queue
        self._mark: Callable[[str], None] = lambda _: None
        self.requests = Requests(queue.put_nowait)
        speed = connected.endpoint.speed
        self._keeper = ConnectionKeeper(connected.broker, clock, queue.put_nowait, speed)
        self._timers: Timers | None = None
        self._recovered: asyncio.Future[fx.RecoveryFinished | fx.RecoveryRefused] = (
            asyncio.get_running_loop().create_future()
        )
        self._recording: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def state(self) -> TraderState:
        """The state as of the last recorded event."""
        return self.manager.state

    async def run(self, mark: Callable[[str], None]) -> int:
        """Trade until the run ends; the exit code. Raises TraderError. mark: called with the name of each step."""
        self._mark = mark
        self._check_resume()
        begun = self._begin()
        setups, scanner_error = self._load_setups()
        self.record = SessionRecord(self.config, self.manager, self.sessions, self.connected)
        symbols = [setup.symbol for setup in setups.setups]
        self._recording = asyncio.create_task(asyncio.to_thread(self.record.start, symbols, resumed=begun.resumed))
        self.loop = self._make_loop(setups)
        async with serve(self.manager.folder, self.requests):
            # After the socket exists: a command that found no trader left a pause request, or finds the socket now.
            await take_pause_request(self.manager, self.clock.now())
            return await self._recover_and_trade(self.loop, begun, scanner_error)

    def _make_loop(self, setups: SetupList) -> Loop:
        settings = Settings(
            config=self.config,
            account=self.connected.account,
            setups={setup.symbol: setup for setup in setups.setups},
            dry_run=self.options.dry_run,
            accept_broker=self.options.accept_broker,
            duration_min=self.options.duration_min,
            run_name="".join(secrets.choice(ALPHABET) for _ in range(2)),
        )
        return Loop(self._queue, self.manager, self.connected.broker, self.clock, settings, self)

    # Effects, called by the loop

    def reply(self, request_id: int, content: dict[str, Any]) -> None:
        """Answer a request of the operator."""
        self.requests.answer(request_id, content)

    def save_soon(self) -> None:
        """Write a snapshot soon. Before trading there are no timers; a start writes its own snapshot."""
        if self._timers is not None:
            self._timers.request_save()

    def reconnect(self) -> None:
        """The connection is lost: reconnect."""
        self._keeper.lost()

    def stop(self, reason: str) -> None:
        """End the run without an error."""
        self.stopping.ask(reason)

    def reach_step(self, name: str) -> None:
        """Note the time of a step of the recovery."""
        self._mark(name)

    def take_recovered(self, recovered: fx.RecoveryFinished | fx.RecoveryRefused) -> None:
        """The recovery is over: finished or refused."""
        if not self._recovered.done():
            self._recovered.set_result(recovered)

    def take_opened(self, count: int) -> None:
        """Print how many symbols are monitored."""
        say(f"✓ Subscribed to {count} symbols")

    def take_data_arrived(self, arrived: fx.DataArrived) -> None:
        """Print how many of the symbols deliver live data, and which do not."""
        count = arrived.live + len(arrived.blind)
        if arrived.blind:
            say(f"⚠️  {arrived.live} of {count} symbols deliver live data. Blind: {', '.join(arrived.blind)}")
        else:
            say(f"✓ All {count} symbols deliver live data")

    def fail(self, error: BaseException) -> None:
        """End the run because of an error."""
        if isinstance(error, TraderError):
            self.stopping.fail(error)
        else:
            _log.error("An unexpected error ends the run; the stops stay at IBKR.", exc_info=error)
            self.stopping.fail(TraderError(f"An unexpected error ended the run: {error!r}.", "See trader.log."))

    # Starting and ending

    def _put(self, message: Message) -> None:
        self._queue.put_nowait(message)

    async def _recover_and_trade(self, loop: Loop, begun: Begun, scanner_error: ScannerError | None) -> int:
        """Pass the protection gate, report, and trade. Requests of the operator are answered throughout."""
        say_lines(report.opening(self.manager.loaded, begun))
        self._begin_tasks(self._keeper.heartbeat(), self._keeper.keep_up(), loop.run())
        self._put(RecoveryStarted())
        if not await self.stopping.unless_asked(self._recovered):
            return await self._end()
        recovered = self._recovered.result()
        if isinstance(recovered, fx.RecoveryRefused):
            await self._refuse(recovered.rows)
        assert isinstance(recovered, fx.RecoveryFinished)
        rows, snapshot = list(recovered.rows), recovered.snapshot
        say_lines((*report.validation(rows, snapshot), *report.closing(self.state, resumed=begun.resumed)))
        assert self.record is not None
        await self._recorded()
        dollars = snapshot.values.in_dollars() if snapshot.values is not None else None
        if dollars is not None:
            self.record.set_initial_value(dollars.net_liquidation)
        await self._keep_report(rows, begun)
        await self.manager.save()
        if scanner_error is not None and not self.state.positions:
            await self._end()
            raise scanner_error
        return await self._trade(loop)

    async def _refuse(self, rows: tuple[Row, ...]) -> None:
        """Refuse the start because of a conflict. Raises ConflictError."""
        conflicts = [row for row in rows if row.decision == "conflict"]
        say_lines(report.row_line(row) for row in rows)
        await self.manager.save()
        await self._end()
        former = next((row for row in rows if row.decision == "former_client_id"), None)
        if former is not None:
            raise ConflictError(
                f"Own orders are live under another client id ({former.symbol}: {former.text}).",
                f"Start with --client-id {self.state.client_id}: only the id that sent an order can change it.",
            )
        text = "; ".join(f"{row.symbol}: {row.text}" for row in conflicts)
        raise ConflictError(
            f"The state and IBKR contradict each other ({text}).",
            "Resolve it in TWS, or start with --accept-broker to take IBKR's count.",
        )

    async def _recorded(self) -> None:
        """Wait for the session's file, which is written during the comparison. Raises its error."""
        if self._recording is not None:
            await self._recording

    def _check_resume(self) -> None:
        wanted = self.options.resume_session
        if not wanted:
            return
        found = self.manager.loaded.state
        session = self.sessions.get(wanted)
        why = ""
        if session is None:
            why = "no such session is known"
        elif found is None:
            why = "there is no state on disk"
        elif session.trading_date not in ("", found.trading_date):
            why = f"its trading date is {session.trading_date}, and the state on disk is of {found.trading_date}"
        else:
            today = self.clock.trading_date().isoformat()
            why = mismatch(found, today, self.connected.account, self.connected.endpoint.identity)
        if why:
            raise UntrustedStateError(
                f"Session {wanted} cannot be resumed: {why}.",
                "See `sessions list`; only a session of today's state can be resumed.",
            )

    def _begin(self) -> Begun:
        """Continue the state on disk if date, account and gateway are the same; else set it aside (invariant 8)."""
        begun = self.manager.begin(
            self.clock.trading_date().isoformat(),
            self.connected.account,
            self.connected.endpoint.identity,
            self.clock.now(),
            client_id=self.config.gateway.client_id,
            loop=asyncio.get_running_loop(),
            fresh=self.options.fresh,
        )
        if self.manager.loaded.doubtful:
            _log.warning("Events may be missing on disk; IBKR's own records are used instead.")
        for symbol, cause in list(self.state.halt_causes.items()):
            if cause == "defect":  # a new run may try again
                self.manager.record(SymbolReleased(time=self.clock.now(), symbol=symbol))
        return begun

    def _load_setups(self) -> tuple[SetupList, ScannerError | None]:
        """The scanner's setups. Without them nothing is entered, but positions are managed."""
        try:
            setups = load_setups(self.config.files.scanner_dir, self.clock.trading_date(), self.config.universe)
        except ScannerError as error:
            _log.error("%s", error)
            return SetupList((), (), self.config.files.scanner_dir), error
        say(f"✓ Loaded {len(setups.setups)} setups from {setups.path.name}")
        for skipped in setups.skipped:
            say(f"⚠️  {skipped.symbol} skipped: {skipped.why}")
        return setups, None

    async def _keep_report(self, rows: list[Row], begun: Begun) -> None:
        """Keep the report as a file. A failure is logged as a warning: the report was printed already."""
        notes = [*self.manager.loaded.notes, *begun.notes]
        try:
            await asyncio.to_thread(
                report.write_report,
                self.manager.folder,
                f"{self.manager.session_id}.json",
                self.state,
                rows,
                notes,
                self.clock.now(),
                self.timings_ms,
            )
        except SyncFailedError:
            raise
        except (DiskError, StateError) as error:
            _log.warning("The report of this recovery was not kept: %s", error)

    async def _trade(self, loop: Loop) -> int:
        """Monitor the market and trade until the run is asked to end."""
        from state.storage.checkpoints import CheckpointStore  # after the protection gate, so that a start is fast

        assert self.record is not None
        checkpoints = CheckpointStore(self.manager.folder, self.manager.session_id)
        parameters = self.record.parameters
        timers = Timers(self.config, self.manager, checkpoints, self._put, self._account_values, parameters)
        self._timers = timers
        self._put(TradingStarted())
        self._begin_tasks(*timers.tasks())
        await self.stopping.event.wait()
        await self._end_tasks()
        if self.stopping.failure is None:
            await self._in_time(timers.checkpoint())
        return await self._end(self._account_values().get("portfolio_value"))

    def _begin_tasks(self, *work: Coroutine[Any, Any, None]) -> None:
        """Run each as a task until the session ends."""
        for job in work:
            task = asyncio.create_task(job)
            task.add_done_callback(self._check_task)
            self._tasks.append(task)

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        if self.loop is not None:
            await self.loop.end()

    def _check_task(self, task: "asyncio.Task[None]") -> None:
        """A task that ends with an error ends the run: it must not continue without that task."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fail(error)

    async def _end(self, value: float | None = None) -> int:
        """Save, close the session's record, and leave the stops. After a failed flush nothing more is written."""
        await self._end_tasks()
        failure = self.stopping.failure
        if self.manager.failure is not None:
            raise self.manager.failure
        reason = self.stopping.reason or "ended"
        status: Literal["completed", "crashed"] = "completed" if failure is None else "crashed"
        assert self.loop is not None
        self.loop.handle([RunEnding(self.manager.session_id, status, reason)])
        await self._in_time(self.manager.save())
        if self.record is not None:
            await self._recorded()
            self.record.finish(status, value, reason)
        held = len(self.state.positions)
        say(
            f"Stopped: {reason}. {held} positions keep their stops at IBKR. "
            f"Today's P&L: ${self.state.daily_pnl:.2f}."
        )
        if failure is not None:
            raise failure
        return 0

    async def _in_time(self, work: Coroutine[Any, Any, object]) -> None:
        """Wait for work on the disk. Raises DiskSilentError after END_TIMEOUT_S, so that the run can end."""
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await work
        except TimeoutError:
            raise DiskSilentError(self.manager.folder.path, END_TIMEOUT_S) from None

    def _account_values(self) -> dict[str, float]:
        """The account's values in IBKR's last answer, in US dollars; empty if they are not known."""
        values = self.loop.view.values if self.loop is not None else None
        dollars = values.in_dollars() if values is not None else None
        if dollars is None:
            return {}
        return {
            "portfolio_value": dollars.net_liquidation,
            "buying_power": dollars.buying_power,
            "cash": dollars.cash,
        }


async def take_pause_request(manager: StateManager, now: datetime) -> None:
    """Record the pause or unpause that was requested while no trader ran. now: session time."""
    try:
        request = read_pause_request(manager.folder)
    except CorruptFileError as error:
        kept = manager.folder.quarantine(PAUSE_REQUEST, error.reason)
        _log.error("%s It is kept as quarantine/%s; entries are paused until you say `unpause`.", error.what, kept)
        await manager.record_durably(Paused(time=now, reason=f"{PAUSE_REQUEST} was damaged"))
        return
    if request is None:
        return
    reason = plain(request.reason)
    event = Paused(time=now, reason=reason) if request.paused else Unpaused(time=now)
    await manager.record_durably(event)
    forget_pause_request(manager.folder)
    _log.warning("%s, as requested while no trader ran: %s.", event.kind(), reason)
