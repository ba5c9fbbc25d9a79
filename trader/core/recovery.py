"""The recovery, at a start and after a reconnect: entries stay closed until the protection gate has passed.

IBKR is asked again until it gives a complete answer: unknown is not flat (invariant 2).
"""

from state.domain.events import Event
from trader.broker.port import BrokerSnapshot, Unknown
from trader.core.comparison import ROUTINE, Outcome, ask, compare, note_account, report_unknown
from trader.core.connection_status import set_status
from trader.core.effects import ArmTimer, RecoveryFinished, RecoveryRefused, RecoveryStep
from trader.core.market_data import open_market
from trader.core.messages import BrokerAnswered, Reconnected, RecoveryStarted
from trader.core.reconciliation.adoption import acceptance
from trader.core.reconciliation.plan import Row
from trader.core.turn import Turn
from trader.core.view import Recovery

PAUSE_S = 0.1  # between two questions
AGAIN_S = 0.8  # before the question that confirms an unexplained difference
LONGEST_PAUSE_S = 5.0
TIMER = "recover"


def start(turn: Turn, _: RecoveryStarted) -> None:
    """Compare the loaded state with IBKR."""
    turn.view.phase = "recovering"
    turn.view.recovery = Recovery("start", "the protection gate has passed", PAUSE_S)
    ask(turn)


def reconnected(turn: Turn, _: Reconnected) -> None:
    """As at a start: first the protection gate, then the bars that were missed."""
    turn.view.connection_lost = False
    if turn.view.recovery is not None:
        turn.view.recovery.pause_s = PAUSE_S
        return
    if turn.view.phase != "trading":
        return
    set_status(turn, connected=True, ready=False, reason="reconnected; comparing the state with IBKR")
    turn.view.phase = "recovering"
    turn.view.recovery = Recovery("reconnect", "reconnected, the protection gate has passed", PAUSE_S)
    ask(turn)


def timer_fired(turn: Turn) -> None:
    """Ask IBKR again after the pause."""
    if turn.view.recovery is not None:
        ask(turn)


def take_answer(turn: Turn, recovery: Recovery, message: BrokerAnswered) -> None:
    """Compare, and ask again until the protection gate passes or only the operator can decide."""
    turn.view.comparison.asked = False
    answer = message.answer
    if message.activity != turn.view.activity:
        ask(turn)  # something happened meanwhile: the answer may be older than the state
        return
    outcome = compare(turn, answer)
    _merge(turn, recovery, outcome)
    if outcome.plan.former_client_ids:
        turn.do(RecoveryRefused(tuple(recovery.rows)))
        return
    if isinstance(answer, BrokerSnapshot) and _is_over(turn, outcome):
        note_account(turn, answer)
        reason = recovery.reason if outcome.passed else outcome.why_not_passed
        set_status(turn, connected=True, ready=outcome.passed, reason=reason)
        _finish(turn, recovery, answer)
        return
    if isinstance(answer, Unknown):
        report_unknown(turn, answer)
        recovery.pause_s = min(recovery.pause_s * 2, LONGEST_PAUSE_S)
    turn.do(ArmTimer(TIMER, AGAIN_S if outcome.again else recovery.pause_s))


def _is_over(turn: Turn, outcome: Outcome) -> bool:
    """Whether the protection gate has passed, or only the operator can decide, or a dry run may send nothing."""
    return outcome.passed or bool(outcome.plan.conflicts) or (turn.settings.dry_run and not outcome.again)


def _merge(turn: Turn, recovery: Recovery, outcome: Outcome) -> None:
    """Add new rows. The first complete comparison has a row for every symbol; later routine rows are left out."""
    if outcome.again:
        return
    rows = recovery.rows
    if outcome.plan.complete:
        rows[:] = [row for row in rows if row.decision != "unknown"]
    known = {(row.symbol, row.decision) for row in rows}
    symbols = {row.symbol for row in rows}
    for row in outcome.plan.rows:
        redundant = row.decision in ROUTINE and row.symbol in symbols
        if (row.symbol, row.decision) not in known and not redundant:
            rows.append(row)
    turn.view.comparison.reported.update(outcome.plan.rows)


def _finish(turn: Turn, recovery: Recovery, snapshot: BrokerSnapshot) -> None:
    turn.view.recovery = None
    if recovery.kind == "reconnect":
        for row in recovery.rows:
            turn.log("info", f"RECONNECTED {row.symbol}: {row.text}")
        turn.view.phase = "trading"
        open_market(turn)  # monitor new positions, and fetch the bars that were missed
        return
    shown = recovery.snapshot or snapshot
    first = recovery.snapshot is None
    if first:
        turn.do(RecoveryStep("gate"))
        if _accept_conflicts(turn, recovery, snapshot):
            return
    turn.view.phase = "recovered"
    rows = (*recovery.accepted, *recovery.rows)
    if first and any(row.decision == "conflict" for row in rows):
        turn.do(RecoveryRefused(rows))
    else:  # a suspected split halts its symbol; the others are traded
        turn.do(RecoveryFinished(rows, shown))


def _accept_conflicts(turn: Turn, recovery: Recovery, snapshot: BrokerSnapshot) -> bool:
    """With --accept-broker: take IBKR's count for symbols in conflict, and compare again. False if none is."""
    symbols = [row.symbol for row in recovery.rows if row.decision in ("conflict", "split_suspected")]
    if not symbols or not turn.settings.accept_broker:
        return False
    accepted = []
    for symbol in symbols:
        holding = snapshot.position(symbol)
        setup = turn.settings.setups.get(symbol)
        events: list[Event] = acceptance(turn.state, symbol, holding, setup, turn.moment.now)
        turn.record(*events)
        count = holding.quantity if holding is not None else 0
        text = f"IBKR's {count:+d} shares accepted with --accept-broker; values are ESTIMATED"
        accepted.append(Row(symbol, "adopted", text, "warning"))
    turn.view.recovery = Recovery(
        "start",
        "the operator accepted IBKR's count",
        PAUSE_S,
        accepted=[*recovery.rows, *accepted],
        snapshot=snapshot,
    )
    ask(turn)
    return True
