"""Executions into the books: which trade each one belongs to, each counted once (invariant 13).

A position is rebuilt from its list of executions (`state.domain.pnl`) whenever one joins or is corrected, so that a
correction, a late commission or a replay can never count something twice.
"""

from datetime import timedelta

from state.domain.events import CommissionSeen, ExecutionSeen, PositionAdjusted, PositionAdopted
from state.domain.model import (
    UNKNOWN_PATH,
    EntryPlan,
    Execution,
    ExitReason,
    Order,
    PivotAttempts,
    Position,
    Timestamp,
    TraderState,
    entry_action,
)
from state.domain.pnl import rebuild

# Executions carry whole seconds and the broker's clock is asked in whole seconds: how far an execution may seem
# to lie behind the share count that was already net of it.
_CLOCK_SLACK = timedelta(seconds=2)


def split_exec_id(exec_id: str) -> tuple[str, str]:
    """An IBKR execution id as (what stays, revision): a correction differs only after the last dot."""
    base, dot, revision = exec_id.rpartition(".")
    return (base, revision) if dot else (exec_id, "")


def is_new_execution(state: TraderState, exec_id: str) -> bool:
    """Whether this execution, in this revision, is not in the books yet."""
    base, revision = split_exec_id(exec_id)
    known = state.executions.get(base)
    return known is None or _is_older(split_exec_id(known.exec_id)[1], revision)


def _is_older(left: str, right: str) -> bool:
    """Whether revision `left` comes before `right`: `09` before `10`, and `9` too."""
    return (len(left), left) < (len(right), right)


def apply_execution(state: TraderState, event: ExecutionSeen) -> None:
    """Add an execution, or put a correction in the place of what it corrects."""
    if not is_new_execution(state, event.exec_id):
        return
    base, _ = split_exec_id(event.exec_id)
    order = state.orders.get(event.order_ref)
    known = state.executions.get(base)
    position = _position_of(state, event, order, known)
    if position is None:
        return
    state.executions[base] = Execution(
        exec_id=event.exec_id,
        trade_id=position.trade_id,
        order_ref=event.order_ref,
        symbol=event.symbol,
        side=event.side,
        shares=event.shares,
        price=event.price,
        time=event.executed_at,
        reason=known.reason if known else (order.reason if order else "closed_by_hand"),
        perm_id=event.perm_id,
        manual=order is None,
        commission=known.commission if known else None,
    )
    if known is None:
        _retire_estimate(state, position, event)
        position.fills.append(base)
    if order is not None:
        _count_order_fill(state, order)
    rebuild(state, position)


def apply_commission(state: TraderState, event: CommissionSeen) -> None:
    """A commission joins its execution; one for an execution that is not ours is ignored.

    So is the one of an earlier revision, once the correction has its own: reports may repeat in any order.
    """
    base, revision = split_exec_id(event.exec_id)
    execution = state.executions.get(base)
    if execution is None:
        return
    if execution.commission is not None and _is_older(revision, split_exec_id(execution.exec_id)[1]):
        return
    execution.commission = event.commission
    position = find_trade(state, execution.trade_id)
    if position is not None:
        rebuild(state, position)


def adjust_position(state: TraderState, event: PositionAdjusted, sequence: int) -> None:
    """Take IBKR's share count where no execution explains it; a later execution retires the estimate."""
    position = state.positions[event.symbol]
    difference = event.held - position.held
    if difference == 0:
        return
    opening = difference > 0
    _book_estimate(
        state,
        position,
        f"adjusted-{sequence}",
        shares=abs(difference),
        opening=opening,
        price=event.price,
        time=event.time,
        reason=event.reason,
    )
    rebuild(state, position)


def adopt_position(state: TraderState, event: PositionAdopted, sequence: int) -> None:
    """A position taken over whole: its shares enter the books at the average cost that IBKR tells."""
    source = event.position
    for flipped in [p for p in state.closed.values() if p.symbol == source.symbol and p.oversold]:
        _book_estimate(
            state,
            flipped,
            f"accepted-{sequence}",
            shares=flipped.oversold,
            opening=True,
            price=source.entry_price,
            time=event.time,
            reason="accepted_from_broker",
        )
        rebuild(state, flipped)
    state.positions[source.symbol] = source
    state.foreign.pop(source.symbol, None)
    source.fills, shares = [], source.held
    _book_estimate(
        state,
        source,
        f"adopted-{sequence}",
        shares=shares,
        opening=True,
        price=source.entry_price,
        time=source.entry_time,
        reason="adopted",
    )
    state.executions[f"adopted-{sequence}"].estimated = False  # IBKR's own average cost, not a guess
    rebuild(state, source)


def trade_of_manual_execution(state: TraderState, symbol: str, executed_at: Timestamp) -> str:
    """Which of our trades an execution that is not ours changed.

    The open one; or one that was open at that time, was flipped, or whose closing rests on an estimate that this
    execution may settle. A hand that sells while the stop sells all makes a flip, not a foreign position.
    "" for an execution before our entry, or in a symbol of which we hold nothing.
    """
    ended = [p for p in state.closed.values() if p.symbol == symbol]
    for position in (state.positions.get(symbol), *reversed(ended)):
        if position is None or executed_at < position.entry_time:
            continue
        was_open = position.exit_time is not None and executed_at <= position.exit_time
        if position.held or position.oversold or was_open or _awaits(state, position, executed_at):
            return position.trade_id
    return ""


def _awaits(state: TraderState, position: Position, executed_at: Timestamp) -> bool:
    """Whether an estimate stands in for executions of that time."""
    return any(_stands_in_for(state.executions[key], executed_at) for key in position.fills)


def _stands_in_for(estimate: Execution, executed_at: Timestamp) -> bool:
    """An estimate says what happened before it was made; an execution after it is news."""
    return estimate.estimated and executed_at <= estimate.time + _CLOCK_SLACK


def find_trade(state: TraderState, trade_id: str) -> Position | None:
    """The position of a trade, open or closed."""
    if trade_id in state.closed:
        return state.closed[trade_id]
    return next((p for p in state.positions.values() if p.trade_id == trade_id), None)


def _position_of(
    state: TraderState, event: ExecutionSeen, order: Order | None, known: Execution | None
) -> Position | None:
    """The position that an execution changes; opened here by the first one of its trade.

    That may be an exit's: IBKR tells times in whole seconds, and an entry and its stop can fill within one.
    """
    trade_id = known.trade_id if known else (order.trade_id if order else event.trade_id)
    position = find_trade(state, trade_id)
    if position is not None or order is None:
        return position
    booked = next((e for e in state.executions.values() if e.order_ref == trade_id), None)
    if booked is not None:  # the entry met a position that was there, and joined it
        return find_trade(state, booked.trade_id)
    entry = state.orders.get(trade_id)
    if entry is None or entry.plan is None:
        return None
    occupant = state.positions.get(event.symbol)
    return occupant if occupant is not None else _open_position(state, event, entry, entry.plan)


def _open_position(state: TraderState, event: ExecutionSeen, order: Order, plan: EntryPlan) -> Position:
    stop = next((o for o in state.orders.values() if o.parent_ref == order.order_ref and o.role == "stop"), None)
    position = Position(
        trade_id=order.trade_id,
        symbol=event.symbol,
        con_id=event.con_id or order.con_id,
        side=plan.side,
        entry_price=event.price,
        entry_time=event.executed_at,
        shares=0,
        held=0,
        pivot=plan.pivot,
        target1=plan.target1,
        target2=plan.target2,
        target3=plan.target3,
        stop_price=stop.stop_price if stop is not None and stop.stop_price is not None else plan.stop_price,
        initial_stop=plan.stop_price,
        stop_ref=stop.order_ref if stop is not None else "",
        attempt=plan.attempt,
        path=plan.path,
        estimated=plan.path == UNKNOWN_PATH,
    )
    state.positions[event.symbol] = position
    _count_attempt(state, event.symbol, position)
    return position


def _count_attempt(state: TraderState, symbol: str, position: Position) -> None:
    """An attempt counts when its entry fills, under the scanner's pivot and never under a stop price."""
    for row in state.attempts:
        if (row.symbol, row.side, row.pivot) == (symbol, position.side, position.pivot):
            row.count += 1
            return
    state.attempts.append(PivotAttempts(symbol=symbol, side=position.side, pivot=position.pivot, count=1))


def _count_order_fill(state: TraderState, order: Order) -> None:
    order.filled = sum(e.shares for e in state.executions.values() if e.order_ref == order.order_ref)
    if order.filled >= order.quantity:
        order.status = "filled"


def _book_estimate(
    state: TraderState,
    position: Position,
    key: str,
    *,
    shares: int,
    opening: bool,
    price: float,
    time: Timestamp,
    reason: ExitReason,
) -> None:
    bought = (entry_action(position.side) == "BUY") == opening
    state.executions[key] = Execution(
        exec_id=key,
        trade_id=position.trade_id,
        order_ref="",
        symbol=position.symbol,
        side="BOT" if bought else "SLD",
        shares=shares,
        price=price,
        time=time,
        reason=reason,
        manual=True,
        estimated=True,
        commission=0.0,
    )
    position.fills.append(key)


def _retire_estimate(state: TraderState, position: Position, event: ExecutionSeen) -> None:
    """A real execution takes the place of the estimate that stood in for it: the position is already net of it.

    One that happened after the estimate was made is news, and retires nothing.
    """
    shares = event.shares
    for key in list(position.fills):
        estimate = state.executions[key]
        if estimate.side != event.side or shares == 0 or not _stands_in_for(estimate, event.executed_at):
            continue
        taken = min(shares, estimate.shares)
        estimate.shares -= taken
        shares -= taken
        if estimate.shares == 0:
            position.fills.remove(key)
            del state.executions[key]
