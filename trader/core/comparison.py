"""The comparison with IBKR: when IBKR is asked, and what follows from its answers.

IBKR is asked five questions; each answer arrives on its own. A comparison is decided when all have come, or, after
GRACE_S, on those that have, and again on each later one. What is missing decides nothing.

The same decision (`trader.core.reconciliation`) is made at a start, after a reconnect and while trading. The
protection gate passes only on five complete answers that need no order and show neither a conflict nor a violation.
"""

from datetime import timedelta

import msgspec

from state.domain.events import (
    AlertCleared,
    AlertRaised,
    Event,
    ExecutionSeen,
    PositionVerified,
)
from trader.broker.port import PART_NAMES, PARTS, BrokerExecution, BrokerSnapshot, Part, PartAnswer
from trader.core.account import note_account
from trader.core.connection_status import hold_entries, is_reachable, release_entries, set_status
from trader.core.effects import ArmTimer, AskBroker, RecoveryStep, RequestSave
from trader.core.messages import PartAnswered
from trader.core.orders.closing import carry_out
from trader.core.orders.doubts import conclude
from trader.core.orders.protection import Violation, is_covered, violations
from trader.core.orders.sending import in_flight
from trader.core.reconciliation.baseline import Baseline
from trader.core.reconciliation.dates import rows_of_date
from trader.core.reconciliation.draft import Draft
from trader.core.reconciliation.owners import (
    is_others_execution,
    others_by_symbol,
    without_others,
)
from trader.core.reconciliation.plan import Plan
from trader.core.reconciliation.reconcile import Given, reconcile
from trader.core.turn import Turn
from trader.core.view import Answer, Asked, note_execution

COMPARE_S = 30.0  # between two comparisons while trading, if nothing happens
FAILED_S = 5.0  # after a question that IBKR did not answer
COMPARE_GAP_S = 0.3  # from an event to its comparison: messages about one order arrive together
GRACE_S = 1.0  # for which a comparison waits for the last answers
CONFIRM_AFTER_S = 2.0  # what no execution or completed order explains counts if it is seen twice, this far apart
LISTED_S = 5.0  # real seconds after which an order is listed, if IBKR has it
YOUNG_S = 60.0  # real seconds for which an execution outranks a share count (invariant 16)
OVERLAP = timedelta(seconds=60)  # real time: executions are asked for from this long before the last answer
TIMER = "compare"
GRACE_TIMER = "compare-grace"
TIMER_SLACK_S = 0.01  # the event loop's clock may fire a timer this much early
ESSENTIAL: tuple[Part, ...] = ("positions", "open_orders", "executions")
ROUTINE = frozenset({"matched", "foreign", "entry_working"})  # decisions that are not worth a warning
IN_CONFLICT = "a symbol is in conflict with IBKR, see its alert"
UNKNOWN_KEY = "no-complete-answer"
NO_EXECUTIONS = "IBKR lists no execution of today, but has reported some before: the answer is not used."


class TurnDraft(Draft):
    """Records in the turn: what IBKR reports becomes a part of the state at once."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(turn.state, turn.moment.now)
        self._turn = turn

    def apply(self, event: Event) -> None:
        self._turn.record(event)
        if isinstance(event, ExecutionSeen):
            note_execution(self._turn.view, event)


class Outcome(msgspec.Struct):
    """The result of one comparison."""

    plan: Plan
    snapshot: BrokerSnapshot
    passed: bool = False  # the protection gate
    problems: list[Violation] = []
    in_flight: frozenset[str] = frozenset()  # symbols with orders in flight: IBKR's answer may be older

    @property
    def again(self) -> bool:
        """Whether a difference was seen once that has to be seen a second time."""
        return bool(self.plan.uncertain)

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
        if self.passed or not self.plan.complete:
            return False
        return not self.problems or any(problem.symbol not in self.in_flight for problem in self.problems)

    @property
    def why_not_passed(self) -> str:
        """Why the protection gate has not passed, for the operator."""
        problems = "; ".join(f"{problem.symbol}: {problem.text}" for problem in self.problems)
        return problems or (IN_CONFLICT if self.plan.conflicts else "a difference is being confirmed")


# Asking


def ask(turn: Turn) -> None:
    """Ask IBKR for each part that is not asked for already."""
    comparison = turn.view.comparison
    comparison.wanted, comparison.due_s = False, float("inf")
    if comparison.decided or not comparison.asked:
        comparison.began_s, comparison.decided = turn.moment.real_s, False
    new = [part for part in PARTS if part not in comparison.asked]
    for part in new:
        _ask_part(turn, part)
    if new:
        turn.do(ArmTimer(GRACE_TIMER, GRACE_S))


def _ask_part(turn: Turn, part: Part) -> None:
    comparison, now = turn.view.comparison, turn.moment.now
    since = None
    if part == "executions" and comparison.executions_since is not None:
        since = comparison.executions_since - OVERLAP * turn.moment.speed
    comparison.asked[part] = Asked(turn.view.activity, turn.moment.real_s, now, since is None)
    turn.do(AskBroker(part, turn.view.activity, since))


def forget_answers(turn: Turn) -> None:
    """The connection is new: no earlier answer counts, and all executions of the day are asked for."""
    comparison = turn.view.comparison
    comparison.asked.clear()
    comparison.answers.clear()
    comparison.failed.clear()
    comparison.executions_since = None
    turn.view.executions_known = turn.view.orders_known = False
    turn.view.step_until_s.clear()  # steps that waited meanwhile begin their wait anew
    turn.view.step_began_s.clear()


def schedule(turn: Turn) -> None:
    """Arm the timer of the next comparison: soon if something happened, else after COMPARE_S."""
    comparison = turn.view.comparison
    if comparison.asked and not comparison.wanted:
        return
    after_s = COMPARE_GAP_S if comparison.wanted else FAILED_S if comparison.failed else COMPARE_S
    due_s = turn.moment.real_s + after_s
    if due_s < comparison.due_s:
        comparison.due_s = due_s
        turn.do(ArmTimer(TIMER, after_s))


def timer_fired(turn: Turn) -> None:
    """Ask IBKR if the comparison is due; not if it was asked meanwhile or the timer was armed again."""
    comparison = turn.view.comparison
    if turn.moment.real_s < comparison.due_s - TIMER_SLACK_S:
        return
    comparison.due_s = float("inf")
    if comparison.asked and turn.moment.real_s - comparison.began_s < GRACE_S:
        comparison.wanted = True  # first the answers that are on their way
    elif is_reachable(turn):
        ask(turn)
    else:
        comparison.wanted = False


# Answers


def grace_fired(turn: Turn) -> bool:
    """Whether a comparison still waits for answers and is to be decided on those that have come."""
    comparison = turn.view.comparison
    return bool(comparison.asked) and turn.moment.real_s - comparison.began_s >= GRACE_S - TIMER_SLACK_S


def take_part(turn: Turn, message: PartAnswered) -> bool:
    """Keep an answer; True if the comparison is to be decided now.

    An answer about positions or orders that is older than what has happened since is asked for again. Rows of other
    trading dates are left out.
    """
    comparison, part = turn.view.comparison, message.part
    asked = comparison.asked.pop(part, None)
    if asked is None or message.activity != asked.activity:
        return False  # of an earlier connection
    rows = message.rows if message.rows is None else _rows_of_today(turn, part, message.rows)
    error = message.error
    if part == "executions" and asked.whole and rows == () and _knows_executions(turn):
        rows, error = None, NO_EXECUTIONS
    if rows is None:
        comparison.failed[part] = error
        comparison.answers.pop(part, None)
    else:
        comparison.failed.pop(part, None)
        comparison.answers[part] = Answer(rows, asked.activity, turn.moment.real_s)
        if part == "executions":
            comparison.executions_since = asked.at
            turn.view.executions_known = True
            _note_others(turn, rows)
    if comparison.asked:
        return turn.moment.real_s - comparison.began_s >= GRACE_S
    return True


def _rows_of_today(turn: Turn, part: Part, rows: PartAnswer) -> PartAnswer:
    """The answer without rows of other trading dates. Says once that there are some."""
    kept, told = rows_of_date(rows, turn.state.trading_date), turn.view.comparison.other_dates
    if len(kept) < len(rows) and part not in told:
        told.add(part)
        turn.log("info", f"IBKR lists {len(rows) - len(kept)} {PART_NAMES[part]} of other dates: left out.")
    return kept


def _knows_executions(turn: Turn) -> bool:
    """Whether IBKR has told an execution today: an answer without any contradicts that, and proves nothing."""
    return any(execution.perm_id for execution in reversed(turn.state.executions.values()))


def is_stale(turn: Turn) -> bool:
    """Whether something has happened since IBKR was asked for an essential part that it has answered."""
    answers = turn.view.comparison.answers
    return any(part in answers and answers[part].activity != turn.view.activity for part in ESSENTIAL)


def snapshot_of(turn: Turn) -> BrokerSnapshot:
    """The answers that are as new as the state."""
    answers = turn.view.comparison.answers
    fresh = {
        part: answer.rows
        for part, answer in answers.items()
        if part not in ESSENTIAL or answer.activity == turn.view.activity
    }
    values = fresh.get("account")
    return BrokerSnapshot(
        account=turn.settings.account,
        taken_at=turn.moment.now,
        positions=fresh.get("positions"),  # type: ignore[arg-type]  # a part's rows are of its type
        open_orders=fresh.get("open_orders"),  # type: ignore[arg-type]
        completed_orders=fresh.get("completed_orders"),  # type: ignore[arg-type]
        executions=fresh.get("executions"),  # type: ignore[arg-type]
        values=values[0] if values else None,  # type: ignore[arg-type]
    )


def compare(turn: Turn, before: Baseline | None = None) -> Outcome:
    """Decide on the answers: record what follows and send its orders."""
    view, client_id = turn.view, turn.settings.client_id
    snapshot = snapshot_of(turn)
    others = view.others_trades.shares()
    given = Given(
        client_id=client_id,
        setups=turn.settings.setups,
        in_flight=in_flight(turn),
        others=others,
        young=_young(turn),
        confirmed=lambda row: _seen_before(turn, (row.symbol, row.decision, row.text)),
        absent=lambda ref: _is_absent(turn, ref, completed_known=snapshot.completed_orders is not None),
    )
    view.comparison.suspected_now = set()
    view.comparison.decided = True
    if snapshot.open_orders is not None:
        view.orders_known = True
        conclude(turn, snapshot.open_orders)
    plan = reconcile(TurnDraft(turn), snapshot, given, before)
    _forget_suspicions(turn)
    if view.recovery is not None:
        turn.do(RecoveryStep("reconcile"))
    view.others = others_by_symbol(turn.state, others, snapshot.open_orders or (), client_id)
    view.unsettled = plan.unsettled
    if snapshot.positions is not None and not plan.unsettled:
        view.executions_known = True  # the counts agree, so no execution is missing
    if plan.uncertain or plan.conflicts:
        view.comparison.executions_since = None  # ask for all of the day's executions
    carry_out(turn, plan.actions)
    outcome = Outcome(plan, snapshot)
    if snapshot.open_orders is not None and snapshot.positions is not None:
        positions = without_others(snapshot.positions, others) or ()
        outcome.problems = violations(turn.state, snapshot.open_orders, positions, client_id, plan.unsettled)
    nothing_open = not (plan.actions or plan.conflicts or outcome.problems or plan.former_client_ids)
    outcome.passed = plan.complete and not plan.uncertain and nothing_open
    if outcome.passed:
        _verify(turn)
    state = turn.state
    naked = {p.symbol for p in state.positions.values() if not is_covered(state, p)}
    sent = {state.orders[ref].symbol for ref in in_flight(turn) if ref in state.orders}
    outcome.in_flight = frozenset(sent - naked)
    return outcome


def _note_others(turn: Turn, executions: PartAnswer) -> None:
    """Add the executions of other traders: later answers hold only newer ones."""
    for execution in executions:
        if isinstance(execution, BrokerExecution) and is_others_execution(
            turn.state.orders, execution, turn.settings.client_id
        ):
            turn.view.others_trades.take(execution)


def _young(turn: Turn) -> frozenset[str]:
    """Symbols with an execution so young that IBKR's share count may be older than it."""
    now, speed = turn.moment.now, turn.moment.speed
    newest = turn.view.executed_at
    return frozenset(symbol for symbol, at in newest.items() if (now - at).total_seconds() / speed < YOUNG_S)


def _is_absent(turn: Turn, ref: str, *, completed_known: bool) -> bool:
    """Whether an order that IBKR lists nowhere is gone: it was sent long ago, or a list before showed the same."""
    order = turn.state.orders[ref]
    age_s = (turn.moment.now - order.intended_at).total_seconds() / turn.moment.speed
    seen_before = _seen_before(turn, ("absent", ref))
    return seen_before or (completed_known and age_s >= LISTED_S)


def _seen_before(turn: Turn, what: tuple[str, ...]) -> bool:
    """Whether an answer at least CONFIRM_AFTER_S ago showed the same, and each one since."""
    comparison = turn.view.comparison
    comparison.suspected_now.add(what)
    since_s = comparison.suspected.setdefault(what, turn.moment.real_s)
    return turn.moment.real_s - since_s >= CONFIRM_AFTER_S


def _forget_suspicions(turn: Turn) -> None:
    """What this answer did not show again is forgotten."""
    comparison = turn.view.comparison
    comparison.suspected = {
        what: since for what, since in comparison.suspected.items() if what in comparison.suspected_now
    }


def _verify(turn: Turn) -> None:
    """Mark every position as compared with IBKR."""
    for position in list(turn.state.positions.values()):
        recovery = "estimated" if position.estimated else "verified"
        if position.recovery != recovery:
            turn.record(PositionVerified(time=turn.moment.now, symbol=position.symbol, recovery=recovery))


def decide(turn: Turn) -> None:
    """Decide while trading, on the answers that have come."""
    comparison = turn.view.comparison
    if not is_reachable(turn):
        return
    if is_stale(turn):
        comparison.wanted = True
    outcome = compare(turn)
    _report(turn, outcome)
    note_account(turn, outcome.snapshot)
    if outcome.plan.events or outcome.plan.actions:
        turn.do(RequestSave())
    if outcome.plan.conflicts:  # a conflict halts its symbol and closes the entries; other positions stay managed
        hold_entries(turn, IN_CONFLICT)
    elif outcome.plan.complete:
        release_entries(turn, IN_CONFLICT)
    if outcome.unfinished:
        comparison.wanted = True
    if comparison.failed:
        report_unknown(turn)
    elif outcome.protected:
        reason = "the state and IBKR agree, every position is protected"
        set_status(turn, connected=True, ready=True, reason=reason)
    elif outcome.doubtful:
        set_status(turn, connected=True, ready=False, reason=outcome.why_not_passed)


def _report(turn: Turn, outcome: Outcome) -> None:
    """Log each new row once."""
    reported = turn.view.comparison.reported
    for row in outcome.plan.rows:
        if (row.decision in ROUTINE and row.decision != "foreign") or row.decision == "unknown" or row in reported:
            continue
        reported.add(row)
        turn.log("warning", f"RECONCILED {row.symbol}: {row.text}")
        if row.severity in ("warning", "conflict"):
            turn.alert(row.symbol, row.text, key=f"{row.symbol}:{row.decision}")
    if outcome.passed:
        clear_unknown(turn)


def clear_unknown(turn: Turn) -> None:
    """All answers are complete again."""
    if any(alert.key == UNKNOWN_KEY for alert in turn.state.alerts):
        turn.record(AlertCleared(time=turn.moment.now, key=UNKNOWN_KEY))


def report_unknown(turn: Turn) -> None:
    """IBKR gave no complete answer: raise one alert, and close the entries."""
    failed = turn.view.comparison.failed
    missing = ", ".join(PART_NAMES[part] for part in PARTS if part in failed)
    text = f"IBKR gave no complete answer ({missing}): nothing is dropped, no entries"
    if not any(alert.key == UNKNOWN_KEY and alert.text == text for alert in turn.state.alerts):
        turn.log("warning", f"{text}. {' '.join(dict.fromkeys(failed.values()))}")
        turn.record(AlertRaised(time=turn.moment.now, text=text, key=UNKNOWN_KEY))
    set_status(turn, connected=turn.moment.connected, ready=False, reason=text)
