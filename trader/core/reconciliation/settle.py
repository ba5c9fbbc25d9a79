"""Reconciliation in action: ask, decide, book, send, ask again, until books and IBKR agree and all is guarded.

The protection gate passes only on a complete answer that needs no event, no order and shows no violation. The
same code serves the start, a reconnect and the comparison that never stops while trading.
"""

import logging
import time
from collections.abc import Callable, Mapping

import msgspec

from state.domain.events import PositionVerified
from trader.broker.port import BrokerAnswer, BrokerSnapshot
from trader.clock import Clock
from trader.core.orders.closing import OrderDesk
from trader.core.orders.protection import Violation, violations
from trader.core.reconciliation.adoption import acceptance
from trader.core.reconciliation.plan import Plan, Row
from trader.core.reconciliation.reconcile import reconcile
from trader.core.strategy.ps60.setups import Setup

_log = logging.getLogger("trader.core.reconciliation")

CONFIRM_AFTER_S = 0.7  # an unexplained difference has to be seen twice, this far apart


class Outcome(msgspec.Struct):
    """What one comparison came to."""

    plan: Plan
    passed: bool = False  # the gate
    again: bool = False  # ask once more before concluding anything
    problems: list[Violation] = msgspec.field(default_factory=list)
    in_flight: frozenset[str] = frozenset()  # symbols with orders on their way: their picture may lag

    @property
    def guarded(self) -> bool:
        """Whether every position outside a conflict has its one right stop, and nothing is to be sent."""
        return self.plan.complete and not self.again and not self.plan.actions and not self.problems

    @property
    def unsettled(self) -> bool:
        """Whether the next answer may say more: worth asking at once."""
        waits = self.again or bool(self.in_flight) or bool(self.plan.actions) or bool(self.plan.events)
        return not self.passed and waits

    @property
    def doubtful(self) -> bool:
        """Whether entries have to close: something is wrong that no order on its way explains."""
        if self.passed:
            return False
        return not self.problems or any(problem.symbol not in self.in_flight for problem in self.problems)


class Settler:
    """Carries plans out, and remembers what it has to see twice."""

    def __init__(self, desk: OrderDesk, clock: Clock, setups: Mapping[str, Setup]) -> None:
        self.desk = desk
        self.setups = setups
        self._clock = clock
        self.mark: Callable[[str], None] = lambda _: None  # told at each step of a start, for its report
        self._suspected: tuple[tuple[Row, ...], float] | None = None

    def decide(self, answer: BrokerAnswer) -> Plan:
        """The plan alone; nothing is booked and nothing sent."""
        return reconcile(
            self.desk.state,
            answer,
            now=self._clock.now(),
            client_id=self.desk.client_id,
            setups=self.setups,
            in_flight=self.desk.in_flight(),
        )

    async def settle(self, answer: BrokerAnswer) -> Outcome:
        """Decide on an answer and carry the plan out: events durable first, then orders."""
        plan = self.decide(answer)
        self.mark("reconcile")
        if not isinstance(answer, BrokerSnapshot):
            return Outcome(plan)
        if plan.uncertain and not self._seen_twice(plan):
            return Outcome(plan, again=True)
        if not plan.uncertain:
            self._suspected = None
        if plan.events:
            await self.desk.manager.record_durably(*plan.events)
        await self.desk.carry_out(plan.actions)
        problems = violations(self.desk.state, answer, self.desk.client_id)
        passed = not plan.actions and not plan.conflicts and not problems
        if passed:
            self._verify()
        flying = {
            self.desk.state.orders[ref].symbol for ref in self.desk.in_flight() if ref in self.desk.state.orders
        }
        return Outcome(plan, passed=passed, problems=problems, in_flight=frozenset(flying))

    async def accept_broker(self, snapshot: BrokerSnapshot, symbols: list[str]) -> list[Row]:
        """The operator takes IBKR's count for symbols in conflict."""
        rows = []
        for symbol in symbols:
            holding = next((p for p in snapshot.positions if p.symbol == symbol and p.quantity), None)
            events = acceptance(self.desk.state, symbol, holding, self.setups.get(symbol), self._clock.now())
            await self.desk.manager.record_durably(*events)
            count = holding.quantity if holding is not None else 0
            text = f"IBKR's {count:+d} shares accepted on the operator's word; values are ESTIMATED"
            rows.append(Row(symbol, "adopted", text, "warning"))
        return rows

    def _seen_twice(self, plan: Plan) -> bool:
        """Whether the same unexplained difference stood in an earlier answer as well."""
        rows = tuple(row for row in plan.rows if row.decision in ("closed_unexplained", "count_corrected"))
        now = time.monotonic()
        if self._suspected is None or self._suspected[0] != rows:
            self._suspected = (rows, now)
            return False
        return now - self._suspected[1] >= CONFIRM_AFTER_S

    def _verify(self) -> None:
        for position in list(self.desk.state.positions.values()):
            recovery = "estimated" if position.estimated else "verified"
            if position.recovery != recovery:
                self.desk.manager.record(
                    PositionVerified(time=self._clock.now(), symbol=position.symbol, recovery=recovery)
                )
