"""The protection gate in the engine: passed at start and after every reconnect, watched while trading."""

import asyncio
import logging
from collections.abc import Callable

from state.domain.events import AlertCleared, AlertRaised, EquityAnchored, EquityMarked
from trader.broker.port import BrokerAnswer, BrokerSnapshot, Unknown
from trader.core.engine import Engine
from trader.core.messages import Answer
from trader.core.reconciliation.plan import Row
from trader.core.reconciliation.settle import Outcome, Settler
from trader.errors import BrokerError

_log = logging.getLogger("trader.core.reconciliation")

PAUSE_S = 0.1
AGAIN_S = 0.8
LONGEST_PAUSE_S = 5.0
COMPARE_S = 2.0  # how often books and IBKR are compared while trading
COMPARE_GAP_S = 0.3
QUIET = frozenset({"matched", "foreign", "entry_working"})
IN_CONFLICT = "a symbol is in conflict with IBKR, see its alert"
UNKNOWN_KEY = "no-complete-answer"


class Gate:
    """Brings books and IBKR together through the settler, and opens or closes the entries."""

    def __init__(self, engine: Engine, settler: Settler, account: str) -> None:
        self.engine = engine
        self.settler = settler
        self.account = account
        self.last_snapshot: BrokerSnapshot | None = None
        self.mark: Callable[[str], None] = lambda _: None  # told at each step of a start, for its report
        self._told: set[Row] = set()
        self._marked_minute = ""

    async def pass_gate(self, reason: str) -> tuple[list[Row], BrokerSnapshot]:
        """Ask, settle and ask again until the gate passes, or symbols are in conflict. Returns what was decided.

        An incomplete answer is asked for again for as long as it takes: unknown is not flat (invariant 2).
        """
        rows: list[Row] = []
        pause_s = PAUSE_S
        while True:
            activity = self._activity()
            answer = await self._ask()
            self.mark("sync")
            self.engine.absorb_waiting()
            await self.engine.answer_requests()
            if activity != self._activity():
                continue  # something happened meanwhile: the answer may be older than the books
            try:
                outcome = await self.settler.settle(answer)
            except BrokerError as error:  # the line went before all was sent: ask again on the next one
                _log.warning("The comparison was cut short: %s", error.what)
                await asyncio.sleep(pause_s)
                continue
            self._merge(rows, outcome)
            if isinstance(answer, BrokerSnapshot) and self._may_go_on(outcome):
                self._note_money(answer)
                self.engine.connection_status.set(connected=True, ready=not outcome.plan.conflicts, reason=reason)
                return rows, answer
            if isinstance(answer, Unknown):
                self._tell_unknown(answer)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            await asyncio.sleep(AGAIN_S if outcome.again else pause_s)

    def _may_go_on(self, outcome: Outcome) -> bool:
        """The gate has passed; or only the operator can settle what is left; or nothing may be sent at all."""
        return outcome.passed or bool(outcome.plan.conflicts) or (self.settler.desk.dry_run and not outcome.again)

    async def compare(self) -> None:
        """Ask IBKR for everything, over and over, while trading; the answers take their turn in the queue."""
        while True:
            try:
                async with asyncio.timeout(COMPARE_S):  # wait_for of 3.11 can miss a cancel: the run would not end
                    await self.engine.compare_wanted.wait()
            except TimeoutError:
                pass
            else:
                await asyncio.sleep(COMPARE_GAP_S)  # what belongs together arrives together
            self.engine.compare_wanted.clear()
            if self.engine.broker.connected and not self.engine.line_lost.is_set():
                activity = self._activity()
                self.engine.inbox.put_nowait(Answer(await self._ask(), activity))

    async def take_answer(self, message: Answer) -> None:
        """Settle an answer that came while trading."""
        if message.activity != self._activity():
            self.engine.compare_wanted.set()
            return
        if not self.engine.broker.connected:
            return
        outcome = await self.settler.settle(message.answer)
        self._tell(outcome)
        if isinstance(message.answer, Unknown):
            self._tell_unknown(message.answer)
            return
        self._note_money(message.answer)
        if outcome.plan.events or outcome.plan.actions:
            self.engine.save_wanted.set()
        self._hold_for(outcome.plan.conflicts)
        if outcome.guarded:
            self.engine.connection_status.set(
                connected=True, ready=True, reason="books and IBKR agree, every position is guarded"
            )
        elif outcome.doubtful:
            text = "; ".join(f"{p.symbol}: {p.text}" for p in outcome.problems) or "a difference is being confirmed"
            self.engine.connection_status.set(connected=True, ready=False, reason=text)
        if outcome.unsettled:
            self.engine.compare_wanted.set()

    def _hold_for(self, conflicts: list[str]) -> None:
        """A conflict halts its symbol and closes the entries; what else is held is managed on."""
        if conflicts:
            self.engine.connection_status.hold_entries(IN_CONFLICT)
        else:
            self.engine.connection_status.release_entries(IN_CONFLICT)

    def _activity(self) -> int:
        """Changes with each fact that was booked and each order that was sent: an older answer is stale then."""
        return self.engine.activity + self.engine.desk.sends

    async def _ask(self) -> BrokerAnswer:
        try:
            return await self.engine.broker.snapshot(self.account)
        except BrokerError as error:
            return Unknown(("everything",), error.what)

    def _merge(self, rows: list[Row], outcome: Outcome) -> None:
        """The first complete comparison names every symbol; later ones add what is new."""
        if outcome.again:
            return
        if outcome.plan.complete:
            rows[:] = [row for row in rows if row.decision != "unknown"]
        known = {(row.symbol, row.decision) for row in rows}
        told = {row.symbol for row in rows}
        for row in outcome.plan.rows:
            stale = row.decision in QUIET and row.symbol in told
            if (row.symbol, row.decision) not in known and not stale:
                rows.append(row)
        self._told.update(outcome.plan.rows)

    def _tell(self, outcome: Outcome) -> None:
        """Say what is new, once."""
        if outcome.again:
            return
        state = self.engine.state
        for row in outcome.plan.rows:
            if (row.decision in QUIET and row.decision != "foreign") or row in self._told:
                continue
            self._told.add(row)
            _log.warning("RECONCILED %s: %s", row.symbol, row.text)
            if row.severity in ("warning", "conflict"):
                key = f"{row.symbol}:{row.decision}"
                self.engine.manager.record(
                    AlertRaised(time=self.engine.clock.now(), symbol=row.symbol, text=row.text, key=key)
                )
        if outcome.passed and any(alert.key == UNKNOWN_KEY for alert in state.alerts):
            self.engine.manager.record(AlertCleared(time=self.engine.clock.now(), key=UNKNOWN_KEY))

    def _tell_unknown(self, answer: Unknown) -> None:
        missing = ", ".join(answer.missing)
        text = f"IBKR gave no complete answer ({missing}): nothing is dropped, no entries"
        if not any(alert.key == UNKNOWN_KEY for alert in self.engine.state.alerts):
            _log.warning("%s. %s", text, answer.reason)
            self.engine.manager.record(AlertRaised(time=self.engine.clock.now(), text=text, key=UNKNOWN_KEY))
        self.engine.connection_status.set(connected=self.engine.broker.connected, ready=False, reason=text)

    def _note_money(self, snapshot: BrokerSnapshot) -> None:
        """Equity and buying power for sizing, the day's anchor, and a point of the curve each minute."""
        self.last_snapshot = snapshot
        engine, values = self.engine, snapshot.values
        engine.entries.equity, engine.entries.buying_power = values.net_liquidation, values.buying_power
        now = engine.clock.now()
        if engine.state.risk.start_equity is None:
            engine.manager.record(EquityAnchored(time=now, equity=values.net_liquidation))
        minute = f"{now:%H:%M}"
        if minute != self._marked_minute:
            self._marked_minute = minute
            event = EquityMarked(time=now, equity=values.net_liquidation, daily_pnl=engine.state.daily_pnl)
            engine.manager.record(event)
