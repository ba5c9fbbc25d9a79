"""The comparison with IBKR: when IBKR is asked, and what follows from its answer.

The same decision (`trader.core.reconciliation`) is made at a start, after a reconnect and while trading. The
protection gate passes only on a complete answer that needs no order and shows neither a conflict nor a violation.
"""

import msgspec

from state.domain.events import (
    AlertCleared,
    AlertRaised,
    EquityAnchored,
    EquityMarked,
    PositionVerified,
)
from trader.broker.port import BrokerAnswer, BrokerSnapshot, Unknown
from trader.core.connection_status import hold_entries, release_entries, set_status
from trader.core.effects import ArmTimer, AskBroker, RecoveryStep, RequestSave
from trader.core.messages import BrokerAnswered
from trader.core.orders.closing import carry_out
from trader.core.orders.protection import Violation, violations
from trader.core.orders.sending import in_flight
from trader.core.reconciliation.owners import others_by_symbol, without_others
from trader.core.reconciliation.plan import Plan
from trader.core.reconciliation.reconcile import reconcile
from trader.core.turn import Turn

COMPARE_S = 2.0  # between two comparisons while trading
COMPARE_GAP_S = 0.3  # from an event to its comparison: messages about one order arrive together
CONFIRM_AFTER_S = 0.7  # an unexplained difference counts if it is seen twice, this far apart
TIMER = "compare"
TIMER_SLACK_S = 0.01  # the event loop's clock may fire a timer this much early
ROUTINE = frozenset({"matched", "foreign", "entry_working"})  # decisions that are not worth a warning
UNEXPLAINED = ("closed_unexplained", "count_corrected")
IN_CONFLICT = "a symbol is in conflict with IBKR, see its alert"
UNKNOWN_KEY = "no-complete-answer"


class Outcome(msgspec.Struct):
    """The result of one comparison."""

    plan: Plan
    passed: bool = False  # the protection gate
    again: bool = False  # an unexplained difference was seen once: ask again before anything is concluded
    problems: list[Violation] = []
    in_flight: frozenset[str] = frozenset()  # symbols with orders in flight: IBKR's answer may be older

    @property
    def protected(self) -> bool:
        """Whether every position outside a conflict has exactly one correct stop and nothing is to be sent."""
        return self.plan.complete and not self.again and not self.plan.actions and not self.problems

    @property
    def unfinished(self) -> bool:
        """Whether the next answer is expected to differ, so that IBKR is asked again soon."""
        pending = self.again or bool(self.in_flight) or bool(self.plan.actions) or bool(self.plan.events)
        return not self.passed and pending

    @property
    def doubtful(self) -> bool:
        """Whether entries have to close: there is a problem that no order in flight explains."""
        if self.passed:
            return False
        return not self.problems or any(problem.symbol not in self.in_flight for problem in self.problems)

    @property
    def why_not_passed(self) -> str:
        """Why the protection gate has not passed, for the operator."""
        problems = "; ".join(f"{problem.symbol}: {problem.text}" for problem in self.problems)
        return problems or (IN_CONFLICT if self.plan.conflicts else "a difference is being confirmed")


def ask(turn: Turn) -> None:
    """Ask IBKR for a snapshot, unless an answer is outstanding."""
    comparison = turn.view.comparison
    if not comparison.asked:
        comparison.asked, comparison.wanted, comparison.due_s = True, False, float("inf")
        turn.do(AskBroker(turn.view.activity))


def schedule(turn: Turn) -> None:
    """Arm the timer of the next comparison: soon if something happened, else after COMPARE_S."""
    comparison = turn.view.comparison
    if comparison.asked:
        return
    after_s = COMPARE_GAP_S if comparison.wanted else COMPARE_S
    due_s = turn.moment.real_s + after_s
    if due_s < comparison.due_s:
        comparison.due_s = due_s
        turn.do(ArmTimer(TIMER, after_s))


def timer_fired(turn: Turn) -> None:
    """Ask IBKR if the comparison is due; not if it was asked meanwhile or the timer was armed again."""
    comparison = turn.view.comparison
    if comparison.asked or turn.moment.real_s < comparison.due_s - TIMER_SLACK_S:
        return
    comparison.due_s = float("inf")
    if turn.moment.connected and not turn.view.connection_lost:
        ask(turn)
    else:
        comparison.wanted = False


def compare(turn: Turn, answer: BrokerAnswer) -> Outcome:
    """Decide on an answer: record its events and send its orders."""
    plan = reconcile(
        turn.state,
        answer,
        now=turn.moment.now,
        client_id=turn.settings.client_id,
        setups=turn.settings.setups,
        in_flight=in_flight(turn),
    )
    if turn.view.recovery is not None:
        turn.do(RecoveryStep("reconcile"))
    if not isinstance(answer, BrokerSnapshot):
        return Outcome(plan)
    turn.view.others = others_by_symbol(turn.state, answer, turn.settings.client_id)
    if plan.uncertain and not _seen_twice(turn, plan):
        return Outcome(plan, again=True)
    if not plan.uncertain:
        turn.view.comparison.suspected = ()
    turn.record(*plan.events)
    carry_out(turn, plan.actions)
    client_id = turn.settings.client_id
    problems = violations(turn.state, without_others(turn.state, answer, client_id), client_id)
    passed = not plan.actions and not plan.conflicts and not problems
    if passed:
        _verify(turn)
    state = turn.state
    symbols = {state.orders[ref].symbol for ref in in_flight(turn) if ref in state.orders}
    return Outcome(plan, passed=passed, problems=problems, in_flight=frozenset(symbols))


def _seen_twice(turn: Turn, plan: Plan) -> bool:
    """Whether an answer at least CONFIRM_AFTER_S ago showed the same unexplained difference."""
    comparison = turn.view.comparison
    rows = tuple(row for row in plan.rows if row.decision in UNEXPLAINED)
    if comparison.suspected != rows:
        comparison.suspected, comparison.suspected_at_s = rows, turn.moment.real_s
        return False
    return turn.moment.real_s - comparison.suspected_at_s >= CONFIRM_AFTER_S


def _verify(turn: Turn) -> None:
    """Mark every position as compared with IBKR."""
    for position in list(turn.state.positions.values()):
        recovery = "estimated" if position.estimated else "verified"
        if position.recovery != recovery:
            turn.record(PositionVerified(time=turn.moment.now, symbol=position.symbol, recovery=recovery))


def take_answer(turn: Turn, message: BrokerAnswered) -> None:
    """Take an answer that arrived while trading."""
    comparison = turn.view.comparison
    comparison.asked = False
    if message.activity != turn.view.activity:
        comparison.wanted = True
        return
    if not turn.moment.connected:
        return
    outcome = compare(turn, message.answer)
    _report(turn, outcome)
    if isinstance(message.answer, Unknown):
        report_unknown(turn, message.answer)
        return
    note_account(turn, message.answer)
    if outcome.plan.events or outcome.plan.actions:
        turn.do(RequestSave())
    if outcome.plan.conflicts:  # a conflict halts its symbol and closes the entries; other positions stay managed
        hold_entries(turn, IN_CONFLICT)
    else:
        release_entries(turn, IN_CONFLICT)
    if outcome.protected:
        reason = "the state and IBKR agree, every position is protected"
        set_status(turn, connected=True, ready=True, reason=reason)
    elif outcome.doubtful:
        set_status(turn, connected=True, ready=False, reason=outcome.why_not_passed)
    if outcome.unfinished:
        comparison.wanted = True


def _report(turn: Turn, outcome: Outcome) -> None:
    """Log each new row once."""
    if outcome.again:
        return
    reported = turn.view.comparison.reported
    for row in outcome.plan.rows:
        if (row.decision in ROUTINE and row.decision != "foreign") or row in reported:
            continue
        reported.add(row)
        turn.log("warning", f"RECONCILED {row.symbol}: {row.text}")
        if row.severity in ("warning", "conflict"):
            turn.alert(row.symbol, row.text, key=f"{row.symbol}:{row.decision}")
    if outcome.passed and any(alert.key == UNKNOWN_KEY for alert in turn.state.alerts):
        turn.record(AlertCleared(time=turn.moment.now, key=UNKNOWN_KEY))


def report_unknown(turn: Turn, answer: Unknown) -> None:
    """IBKR gave no complete answer: raise one alert, and close the entries."""
    missing = ", ".join(answer.missing)
    text = f"IBKR gave no complete answer ({missing}): nothing is dropped, no entries"
    if not any(alert.key == UNKNOWN_KEY for alert in turn.state.alerts):
        turn.log("warning", f"{text}. {answer.reason}")
        turn.record(AlertRaised(time=turn.moment.now, text=text, key=UNKNOWN_KEY))
    set_status(turn, connected=turn.moment.connected, ready=False, reason=text)


def note_account(turn: Turn, snapshot: BrokerSnapshot) -> None:
    """Keep equity and buying power for sizing; record the day's first equity, and one a minute for the curve."""
    view, now, values = turn.view, turn.moment.now, snapshot.values
    view.snapshot = snapshot
    view.equity, view.buying_power = values.net_liquidation, values.buying_power
    if turn.state.risk.start_equity is None:
        turn.record(EquityAnchored(time=now, equity=values.net_liquidation))
    minute = f"{now:%H:%M}"
    if minute != view.equity_minute:
        view.equity_minute = minute
        turn.record(EquityMarked(time=now, equity=values.net_liquidation, daily_pnl=turn.state.daily_pnl))
