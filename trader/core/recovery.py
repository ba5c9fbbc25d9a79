"""The recovery, at a start and after a reconnect: entries stay closed until the protection gate has passed.

IBKR is asked again until it gives a complete answer: unknown is not flat (invariant 2).
"""

from datetime import datetime
from typing import Literal

from state.domain.events import Event
from trader.broker.port import BrokerSnapshot
from trader.core.account import note_account
from trader.core.comparison import (
    ROUTINE,
    Outcome,
    ask,
    clear_unknown,
    compare,
    forget_answers,
    is_stale,
    report_unknown,
)
from trader.core.connection_status import is_reachable, set_status
from trader.core.effects import ArmTimer, RecoveryFinished, RecoveryRefused, RecoveryStep
from trader.core.market_data import open_market
from trader.core.messages import Reconnected, RecoveryStarted
from trader.core.reconciliation.adoption import acceptance, guarding_stop
from trader.core.reconciliation.baseline import baseline
from trader.core.reconciliation.plan import Row
from trader.core.turn import Turn
from trader.core.view import Recovery

PAUSE_S = 0.1  # between two questions
AGAIN_S = 2.1  # before the question that confirms an unexplained difference
RESUMED_S = 1.0  # after which a change of a stop is sent again that IBKR does not show on the new connection
PATIENCE_S = 5.0  # for which a missing answer keeps a recovery from ending
LONGEST_PAUSE_S = 5.0
TIMER = "recover"


def start(turn: Turn, _: RecoveryStarted) -> None:
    """Compare the loaded state with IBKR."""
    for execution in turn.state.executions.values():
        if not execution.estimated:
            _note_time(turn, execution.symbol, execution.time)
    _begin(turn, "start", "the protection gate has passed")


def _note_time(turn: Turn, symbol: str, moment: datetime) -> None:
    known = turn.view.executed_at.get(symbol)
    turn.view.executed_at[symbol] = moment if known is None else max(known, moment)


def _begin(turn: Turn, kind: Literal["start", "reconnect"], reason: str) -> None:
    turn.view.phase = "recovering"
    turn.view.recovery = Recovery(kind, reason, PAUSE_S, since_s=turn.moment.real_s, before=baseline(turn.state))
    forget_answers(turn)
    for symbol, position in turn.state.positions.items():
        if position.closing is not None and position.closing.step == "change":
            turn.view.step_until_s[symbol] = turn.moment.real_s + RESUMED_S
    ask(turn)


def reconnected(turn: Turn, _: Reconnected) -> None:
    """As at a start: first the protection gate, then the bars that were missed."""
    turn.view.connection_lost = turn.view.outage = False
    recovery = turn.view.recovery
    if recovery is not None:  # interrupted: it goes on over the new connection
        recovery.pause_s, recovery.since_s = PAUSE_S, turn.moment.real_s
        forget_answers(turn)
        ask(turn)
        return
    if turn.view.phase != "trading":
        return
    _begin(turn, "reconnect", "reconnected, the protection gate has passed")
    set_status(turn, connected=True, ready=False, reason="reconnected; comparing the state with IBKR")


def timer_fired(turn: Turn) -> None:
    """Ask IBKR again after the pause."""
    if turn.view.recovery is not None and is_reachable(turn):
        ask(turn)


def decide(turn: Turn, recovery: Recovery) -> None:
    """Compare, and ask again until the protection gate passes or only the operator can decide.

    With an answer missing for PATIENCE_S the positions are managed without the gate: entries stay closed.
    """
    if is_stale(turn):
        ask(turn)  # something happened meanwhile: the answers are older than the state
        return
    outcome = compare(turn, recovery.before)
    _merge(turn, recovery, outcome)
    if outcome.plan.former_client_ids:
        turn.do(RecoveryRefused(tuple(recovery.rows)))
        return
    if _is_over(turn, recovery, outcome):
        note_account(turn, outcome.snapshot)
        if outcome.plan.complete:
            clear_unknown(turn)
            reason = recovery.reason if outcome.passed else outcome.why_not_passed
            set_status(turn, connected=True, ready=outcome.passed, reason=reason)
        else:
            report_unknown(turn)
        _finish(turn, recovery, outcome.snapshot)
        return
    if turn.view.comparison.failed:
        report_unknown(turn)
        recovery.pause_s = min(recovery.pause_s * 2, LONGEST_PAUSE_S)
    turn.do(ArmTimer(TIMER, AGAIN_S if outcome.again else recovery.pause_s))


def _is_over(turn: Turn, recovery: Recovery, outcome: Outcome) -> bool:
    """Whether the protection gate has passed, or only the operator can decide, or a dry run may send nothing.

    Or whether an answer has been missing for so long that positions are managed without it.
    """
    if outcome.passed or outcome.plan.conflicts:
        return True
    if outcome.plan.complete:
        return turn.settings.dry_run and not outcome.again
    waited_s = turn.moment.real_s - recovery.since_s
    done = not outcome.plan.actions and not outcome.plan.uncertain
    return waited_s >= PATIENCE_S and done and turn.view.executions_known


def _merge(turn: Turn, recovery: Recovery, outcome: Outcome) -> None:
    """Add new rows. The first complete comparison has a row for every symbol; later routine rows are left out."""
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
        client_id = turn.settings.client_id
        own = guarding_stop(snapshot.open_orders or (), holding, client_id) if holding is not None else None
        events: list[Event] = acceptance(turn.state, symbol, holding, own, turn.moment.now)
        turn.record(*events)
        count = holding.quantity if holding is not None else 0
        text = f"IBKR's {count:+d} shares accepted with --accept-broker; values are ESTIMATED"
        accepted.append(Row(symbol, "adopted", text, "warning"))
    turn.view.recovery = Recovery(
        "start",
        "the operator accepted IBKR's count",
        PAUSE_S,
        since_s=turn.moment.real_s,
        before=baseline(turn.state),
        accepted=[*recovery.rows, *accepted],
        snapshot=snapshot,
    )
    ask(turn)
    return True
