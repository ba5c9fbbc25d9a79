"""Position accounting: which trade an execution belongs to. Each execution counts once (invariant 13).

A position is the sum of its list of executions (`state.domain.pnl`). So a correction, a late commission or a replay
never counts twice.
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
from state.domain.pnl import accounting, rebuild

# Execution times and the broker's clock are whole seconds. So an execution may seem up to this much later than the
# share count that already includes it.
_CLOCK_SLACK = timedelta(seconds=2)


def split_exec_id(exec_id: str) -> tuple[str, str]:
    """An IBKR execution id as (base, revision): a correction differs only after the last dot."""
    base, dot, revision = exec_id.rpartition(".")
    return (base, revision) if dot else (exec_id, "")


def is_new_execution(state: TraderState, exec_id: str) -> bool:
    """Whether this revision of an execution is not part of the state yet."""
    base, revision = split_exec_id(exec_id)
    known = state.executions.get(base)
    return known is None or (known.exec_id != exec_id and _is_older(split_exec_id(known.exec_id)[1], revision))


def _is_older(left: str, right: str) -> bool:
    """Whether revision `left` comes before `right`: `09` before `10`, and `9` too."""
    return (len(left), left) < (len(right), right)


def is_newer_revision(exec_id: str, known: str) -> bool:
    """Whether an execution id is a later revision than a known one of the same execution."""
    return _is_older(split_exec_id(known)[1], split_exec_id(exec_id)[1])


def apply_execution(state: TraderState, event: ExecutionSeen) -> None:
    """Add an execution, or replace the one that it corrects."""
    if not is_new_execution(state, event.exec_id):
        return
    base, _ = split_exec_id(event.exec_id)
    order = state.orders.get(event.order_ref)
    known = state.executions.get(base)
    position = _position_of(state, event, order, known)
    if position is None:
        return
    execution = Execution(
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
        commission=event.commission if event.commission is not None or known is None else known.commission,
    )
    if known is None:
        _add(state, position, base, execution)
    else:
        _replace(state, position, base, execution)
    if order is not None:
        _count_order_fill(state, order)


def _add(state: TraderState, position: Position, key: str, execution: Execution) -> None:
    """Add a new execution to a position."""
    state.lookup.add_execution(execution)
    if _retire_estimates(state, position, execution):
        state.executions[key] = execution
        position.fills.append(key)
        rebuild(state, position)
        return
    sums = accounting(state, position)
    state.executions[key] = execution
    sums.insert(key)
    sums.write_back(state)


def _replace(state: TraderState, position: Position, key: str, execution: Execution) -> None:
    """Put a corrected execution in the place of the one that it corrects."""
    known = state.executions[key]
    state.lookup.add_execution(execution, known)
    state.executions[key] = execution
    if known.order_ref != execution.order_ref:  # the correction names another order
        state.forget_lookup()
    rebuild(state, position)


def apply_commission(state: TraderState, event: CommissionSeen) -> None:
    """Add a commission to its execution; one for an unknown execution is ignored.

    Reports may repeat in any order, so the commission of an earlier revision is ignored once the correction has
    its own.
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
        sums = accounting(state, position)
        sums.recount(base)
        sums.write_back(state)


def adjust_position(state: TraderState, event: PositionAdjusted, sequence: int) -> None:
    """Take IBKR's share count where no execution explains the difference.

    An estimated execution is added for the difference. A real one that is reported later replaces it.
    """
    position = state.positions[event.symbol]
    difference = event.held - position.held
    if difference == 0:
        return
    opening = difference > 0
    _add_estimate(
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
    """Take over a position of the account: one execution for all its shares, at IBKR's average cost."""
    source = event.position
    for number, oversold in enumerate(state.lookup.reversed_trades(source.symbol)):
        _add_estimate(
            state,
            oversold,
            f"accepted-{sequence}-{number}" if number else f"accepted-{sequence}",
            shares=oversold.oversold,
            opening=True,
            price=source.entry_price,
            time=event.time,
            reason="accepted_from_broker",
        )
        rebuild(state, oversold)
    state.positions[source.symbol] = source
    state.foreign.pop(source.symbol, None)
    source.fills, shares = [], source.held
    _add_estimate(
        state,
        source,
        f"adopted-{sequence}",
        shares=shares,
        opening=True,
        price=source.entry_price,
        time=source.entry_time,
        reason="adopted",
    )
    state.executions[f"adopted-{sequence}"].estimated = False  # the price is IBKR's average cost
    rebuild(state, source)


def trade_of_manual_execution(state: TraderState, symbol: str, executed_at: Timestamp) -> str:
    """The trade that a manual execution changed, "" if it changed none.

    That is the open trade; or one that was open at that time, was reversed, or has an estimated execution that this
    one may replace. A manual sell that fills together with the stop reverses the position: it belongs to that
    trade and is a conflict, not a foreign position. An execution before the entry belongs to no trade.
    """
    ended = state.lookup.closed_around(symbol, executed_at)
    for position in (state.positions.get(symbol), *reversed(ended)):
        if position is None or executed_at < position.entry_time:
            continue
        was_open = position.exit_time is not None and executed_at <= position.exit_time
        if position.held or position.oversold or was_open or _has_estimate(state, position, executed_at):
            return position.trade_id
    return ""


def _has_estimate(state: TraderState, position: Position, executed_at: Timestamp) -> bool:
    """Whether an estimated execution may cover one of that time."""
    estimates = accounting(state, position).estimates if position.pnl_estimated else ()
    return any(_covers(state.executions[key], executed_at) for key in estimates)


def _covers(estimate: Execution, executed_at: Timestamp) -> bool:
    """Whether `estimate` is an estimated execution that was made at `executed_at` or later."""
    return estimate.estimated and executed_at <= estimate.time + _CLOCK_SLACK


def find_trade(state: TraderState, trade_id: str) -> Position | None:
    """The position of a trade, open or closed."""
    if trade_id in state.closed:
        return state.closed[trade_id]
    return next((p for p in state.positions.values() if p.trade_id == trade_id), None)


def _position_of(
    state: TraderState, event: ExecutionSeen, order: Order | None, known: Execution | None
) -> Position | None:
    """The position that an execution changes; the first execution of a trade opens it.

    The first one may be an exit's: IBKR's times are whole seconds, and an entry and its stop can fill within one.
    """
    trade_id = known.trade_id if known else (order.trade_id if order else event.trade_id)
    position = find_trade(state, trade_id)
    if position is not None or order is None:
        return position
    joined = state.lookup.first_trade(trade_id)
    if joined is not None:  # the entry's earlier fills were added to a position that was open already
        return find_trade(state, joined)
    entry = state.orders.get(trade_id)
    if entry is None or entry.plan is None:
        return None
    occupant = state.positions.get(event.symbol)
    return occupant if occupant is not None else _open_position(state, event, entry, entry.plan)


def _open_position(state: TraderState, event: ExecutionSeen, order: Order, plan: EntryPlan) -> Position:
    orders = state.orders_of(order.trade_id)
    stop = next((o for o in orders if o.parent_ref == order.order_ref and o.role == "stop"), None)
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
    """Count an attempt at the scanner's pivot. It counts when the entry fills, not when it is sent."""
    for row in state.attempts:
        if (row.symbol, row.side, row.pivot) == (symbol, position.side, position.pivot):
            row.count += 1
            return
    state.attempts.append(PivotAttempts(symbol=symbol, side=position.side, pivot=position.pivot, count=1))


def _count_order_fill(state: TraderState, order: Order) -> None:
    order.filled = state.lookup.filled(order.order_ref)
    if order.filled >= order.quantity:
        order.status = "filled"
        state.lookup.note_status(order)


def _add_estimate(
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
    """Add an execution that no order of IBKR's explains. opening: it adds shares to the position."""
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


def _retire_estimates(state: TraderState, position: Position, execution: Execution) -> bool:
    """Take the shares of a real execution off the estimates that cover it: the position counts them already.

    Returns whether there were any.
    """
    if not position.pnl_estimated:
        return False
    shares = execution.shares
    for key in accounting(state, position).estimates:
        estimate = state.executions[key]
        if estimate.side != execution.side or shares == 0 or not _covers(estimate, execution.time):
            continue
        taken = min(shares, estimate.shares)
        estimate.shares -= taken
        shares -= taken
        if estimate.shares == 0:
            position.fills.remove(key)
            del state.executions[key]
    return shares < execution.shares
