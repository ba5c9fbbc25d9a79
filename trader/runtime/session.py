"""One trading session: take up the state, pass the gate, report, trade, and end in good order.

Entries are closed until the protection gate has passed; what is not needed to protect (scanner's file, bars,
history) comes after it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Literal

from state.domain.events import SessionEnded, SymbolReleased
from state.domain.model import HALTED_BY_DEFECT, TraderState
from state.errors import DiskError, DiskSilentError, StateError, SyncFailedError, TraderError
from state.manager import Begun, StateManager, mismatch
from state.storage.bars import BarStore
from state.storage.sessions import SessionStore
from trader.clock import Clock
from trader.config.sections import Config, RunOptions
from trader.core.engine import Engine
from trader.core.market_data import Market
from trader.core.operator import Operator, take_pause_request
from trader.core.orders.closing import OrderDesk
from trader.core.protection_gate import Gate
from trader.core.reconciliation.plan import Row
from trader.core.reconciliation.settle import Settler
from trader.core.strategy.ps60.setups import SetupList, load_setups
from trader.errors import ConflictError, ScannerError, UntrustedStateError
from trader.output import say
from trader.runtime import recovery_report as report
from trader.runtime.connect import Connected
from trader.runtime.connection import Line
from trader.runtime.control_socket import serve
from trader.runtime.session_record import SessionRecord
from trader.runtime.stopping import Stopping

_log = logging.getLogger("trader.runtime.app")

END_TIMEOUT_S = 10.0
"""How long the last writes of a run may take, each; real seconds."""


class TradingSession:
    """Assembles the parts around one state and one line, and runs them."""

    def __init__(
        self,
        config: Config,
        options: RunOptions,
        clock: Clock,
        manager: StateManager,
        sessions: SessionStore,
        line: Connected,
        stopping: Stopping,
    ) -> None:
        self.config = config
        self.options = options
        self.clock = clock
        self.manager = manager
        self.sessions = sessions
        self.line = line
        self.stopping = stopping
        self.timings_ms: dict[str, float] = {}
        self.desk = OrderDesk(
            manager, line.broker, clock, line.account, config.gateway.client_id, dry_run=options.dry_run
        )
        self.engine = Engine(config, clock, manager, line.broker, self.desk)
        self.record: SessionRecord | None = None
        self.operator: Operator | None = None
        self.pass_second: Callable[[], None] = lambda: None
        self._recording: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def state(self) -> TraderState:
        """The books."""
        return self.manager.state

    async def run(self, mark: Callable[[str], None]) -> int:
        """Trade until told to stop; the exit code. Errors that carry one are raised."""
        self._check_resume()
        begun = self._begin()
        setups, scanner_error = self._load_setups()
        self.record = SessionRecord(self.config, self.manager, self.sessions, self.line)
        symbols = [setup.symbol for setup in setups.setups]
        self._recording = asyncio.create_task(asyncio.to_thread(self.record.start, symbols, resumed=begun.resumed))
        gate = Gate(
            self.engine, Settler(self.desk, self.clock, {s.symbol: s for s in setups.setups}), self.line.account
        )
        market = Market(self.config, self.engine, setups, BarStore(self.manager.folder, self.state.trading_date))
        self.operator = Operator(self.engine, gate, market)
        self.engine.on_request = self.operator.take
        async with serve(self.manager.folder, self.engine.inbox.put_nowait):
            # Once the socket is there: who found no trader has left a wish, or asks again.
            await take_pause_request(self.manager, self.clock.now())
            return await self._recover_and_trade(gate, market, begun, scanner_error, mark)

    async def _recover_and_trade(
        self,
        gate: Gate,
        market: Market,
        begun: Begun,
        scanner_error: ScannerError | None,
        mark: Callable[[str], None],
    ) -> int:
        """The protection gate, the report, and then the engine. The operator is answered all the while."""
        say("\n".join(report.opening(self.manager.loaded, begun)))
        line = Line(self.line.broker, self.clock, self.engine, self.line.endpoint.speed)
        self._begin_tasks(line.heartbeat(), line.keep_up())
        gate.mark = gate.settler.mark = mark
        passing = asyncio.ensure_future(gate.pass_gate("the protection gate has passed"))
        if not await self.stopping.unless_asked(passing):
            return await self._end()
        rows, snapshot = passing.result()
        mark("gate")
        rows += await self._resolve_conflicts(gate, rows)
        say("\n".join((*report.validation(rows, snapshot), *report.closing(self.state, resumed=begun.resumed))))
        assert self.record is not None
        await self._recorded()
        self.record.set_initial_value(snapshot.values.net_liquidation)
        await self._keep_report(rows, begun)
        await self.manager.save()
        if scanner_error is not None and not self.state.positions:
            await self._end()
            raise scanner_error
        return await self._trade(gate, market)

    async def _recorded(self) -> None:
        """The session's file is written while books and IBKR are compared; its error comes up here."""
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
            why = f"it was of {session.trading_date}, and the state on disk is of {found.trading_date}"
        else:
            today = self.clock.trading_date().isoformat()
            why = mismatch(found, today, self.line.account, self.line.endpoint.identity)
        if why:
            raise UntrustedStateError(
                f"Session {wanted} cannot be resumed: {why}.",
                "See `sessions list`; only a session of today's state can be resumed.",
            )

    def _begin(self) -> Begun:
        """Take up the state of this date, account and gateway, or set it aside (invariant 8)."""
        begun = self.manager.begin(
            self.clock.trading_date().isoformat(),
            self.line.account,
            self.line.endpoint.identity,
            self.clock.now(),
            loop=asyncio.get_running_loop(),
            fresh=self.options.fresh,
        )
        if self.manager.loaded.doubtful:
            _log.warning("Events may be missing on disk; IBKR's own records take their place.")
        for symbol, reason in list(self.state.halted.items()):
            if reason.startswith(HALTED_BY_DEFECT):  # a new run may try again
                self.manager.record(SymbolReleased(time=self.clock.now(), symbol=symbol))
        return begun

    def _load_setups(self) -> tuple[SetupList, ScannerError | None]:
        """The scanner's setups. Without them nothing is entered; what is held is managed all the same."""
        try:
            setups = load_setups(self.config.files.scanner_dir, self.clock.trading_date(), self.config.universe)
        except ScannerError as error:
            _log.error("%s", error)
            return SetupList((), (), self.config.files.scanner_dir), error
        say(f"✓ Loaded {len(setups.setups)} setups from {setups.path.name}")
        for skipped in setups.skipped:
            say(f"⚠️  {skipped.symbol} skipped: {skipped.why}")
        return setups, None

    async def _resolve_conflicts(self, gate: Gate, rows: list[Row]) -> list[Row]:
        """A conflict refuses the start, unless the operator accepts what IBKR holds."""
        symbols = [row.symbol for row in rows if row.decision in ("conflict", "split_suspected")]
        if not symbols:
            return []
        snapshot = gate.last_snapshot
        if not self.options.accept_broker or snapshot is None:
            conflicts = [row for row in rows if row.decision == "conflict"]
            if not conflicts:
                return []  # a suspected split halts its symbol; the others are traded
            say("\n".join(report.row_line(row) for row in rows))
            await self.manager.save()
            await self._end()
            text = "; ".join(f"{row.symbol}: {row.text}" for row in conflicts)
            raise ConflictError(
                f"The books and IBKR contradict each other ({text}).",
                "Settle it in TWS, or start with --accept-broker to take IBKR's count.",
            )
        accepted = await gate.settler.accept_broker(snapshot, symbols)
        more, _ = await gate.pass_gate("the operator accepted IBKR's count")
        return [*accepted, *more]

    async def _keep_report(self, rows: list[Row], begun: Begun) -> None:
        """For later readers. The plan was carried out and said already, so a failure warns and no more."""
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

    async def _trade(self, gate: Gate, market: Market) -> int:
        """Run the engine and what belongs to it until the end is asked for."""
        from state.storage.checkpoints import CheckpointStore  # imported behind the gate: a restart protects first
        from trader.core.day import Day
        from trader.runtime.timers import Housekeeping

        await market.open()
        say(f"✓ Subscribed to {len(self.engine.monitors)} symbols")
        self.pass_second = Day(self.engine, self.stopping, self.options.duration_min).pass_second
        self.engine.on_answer = gate.take_answer
        self.engine.on_reconnect = self._reconnected(gate, market)
        self.engine.on_second = self._each_second
        self.engine.on_new_position = market.monitor
        assert self.record is not None
        checkpoints = CheckpointStore(self.manager.folder, self.manager.session_id)
        housekeeping = Housekeeping(
            self.config, self.engine, checkpoints, lambda: _values(gate), self.record.parameters
        )
        self._begin_tasks(
            self.engine.run(),
            gate.compare(),
            market.backfill(),
            market.mend_gaps(),
            market.keep_bars(),
            *housekeeping.tasks(),
        )
        await self.stopping.event.wait()
        await self._end_tasks()
        if self.stopping.failure is None:
            await self._in_time(housekeeping.checkpoint())
        return await self._end(_values(gate).get("portfolio_value"))

    def _begin_tasks(self, *work: Coroutine[Any, Any, None]) -> None:
        """Let work go on beside the rest until the session ends."""
        for job in work:
            task = asyncio.create_task(job)
            task.add_done_callback(self._check_task)
            self._tasks.append(task)

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _check_task(self, task: "asyncio.Task[None]") -> None:
        """A task that ends with an error ends the run: nothing goes on half alive."""
        if task.cancelled() or task.exception() is None:
            return
        error = task.exception()
        if isinstance(error, TraderError):
            self.stopping.fail(error)
        else:
            _log.error("An unexpected error ends the run; the stops stay at IBKR.", exc_info=error)
            self.stopping.fail(TraderError(f"An unexpected error ended the run: {error!r}.", "See trader.log."))

    def _reconnected(self, gate: Gate, market: Market) -> Callable[[], Coroutine[Any, Any, None]]:
        async def compare_again() -> None:
            """The same path as at the start: gate first, then the bars that were missed."""
            self.engine.connection_status.set(
                connected=True, ready=False, reason="reconnected; comparing books and IBKR"
            )
            rows, _ = await gate.pass_gate("reconnected, the protection gate has passed")
            for row in rows:
                _log.info("RECONNECTED %s: %s", row.symbol, row.text)
            self._begin_tasks(_reopen(market))  # history takes seconds; positions are managed meanwhile

        return compare_again

    async def _each_second(self) -> None:
        if self.operator is not None:
            await self.operator.go_on()
        self.pass_second()

    async def _end(self, value: float | None = None) -> int:
        """Final save, session closed, stops left. After a failed disk nothing is written any more."""
        await self._end_tasks()
        failure = self.stopping.failure
        if self.manager.failure is not None:
            raise self.manager.failure
        reason = self.stopping.reason or "ended"
        status: Literal["completed", "crashed"] = "completed" if failure is None else "crashed"
        self.engine.connection_status.set(connected=False, ready=False, reason=reason)
        self.manager.record(
            SessionEnded(time=self.clock.now(), session_id=self.manager.session_id, status=status, reason=reason)
        )
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
        """A disk that does not answer any more must not keep the run from ending. DiskSilentError."""
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                await work
        except TimeoutError:
            raise DiskSilentError(self.manager.folder.path, END_TIMEOUT_S) from None


async def _reopen(market: Market) -> None:
    """Watch what came to be held meanwhile, and fetch the bars that were missed."""
    await market.open()
    await market.backfill()


def _values(gate: Gate) -> dict[str, float]:
    """The account at the last complete answer."""
    snapshot = gate.last_snapshot
    if snapshot is None:
        return {}
    values = snapshot.values
    return {
        "portfolio_value": values.net_liquidation,
        "buying_power": values.buying_power,
        "cash": values.cash,
    }
