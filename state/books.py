"""Executions into positions: every count, average and P&L is derived from the executions, each counted once.

A position is rebuilt from its list of executions whenever one joins or is corrected, so that a correction, a
late commission or a replay can never count something twice (invariant 13).
"""

from dataclasses import dataclass

from state.events import CommissionSeen, ExecutionSeen, PositionAdjusted, PositionAdopted
from state.model import (
    UNKNOWN_PATH,
    Execution,
    Order,
    Partial,
    PivotAttempts,
    Position,
    Timestamp,
    TraderState,
    entry_action,
    sign,
)


def split_exec_id(exec_id: str) -> tuple[str, str]:
    """An IBKR execution id as (what stays, revision): a correction differs only after the last dot."""
    base, dot, revision = exec_id.rpartition(".")
    return (base, revision) if dot else (exec_id, "")


def is_news(state: TraderState, exec_id: str) -> bool:
    """Whether this execution, in this revision, is not in the books yet."""
    base, revision = split_exec_id(exec_id)
    known = state.executions.get(base)
    return known is None or split_exec_id(known.exec_id)[1] < revision


def book_execution(state: TraderState, event: ExecutionSeen) -> None:
    """Add an execution, or put a correction in the place of what it corrects."""
    if not is_news(state, event.exec_id):
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
        by_hand=order is None,
        commission=known.commission if known else None,
    )
    if known is None:
        _retire_estimate(state, position, event)
        position.fills.append(base)
    if order is not None:
        _count_order_fill(state, order)
    rebuild(state, position)


def book_commission(state: TraderState, event: CommissionSeen) -> None:
    """A commission joins its execution; one for an execution that is not ours is ignored."""
    execution = state.executions.get(split_exec_id(event.exec_id)[0])
    if execution is None:
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


def trade_by_hand(state: TraderState, symbol: str, executed_at: Timestamp) -> str:
    """Which of our trades an execution that is not ours changed: the open one, or one that was flipped.

    "" for an execution before our entry, or in a symbol of which we hold nothing.
    """
    position = state.positions.get(symbol)
    if position is None:
        position = next((p for p in state.closed.values() if p.symbol == symbol and p.oversold), None)
    if position is None or executed_at < position.entry_time:
        return ""
    return position.trade_id


def find_trade(state: TraderState, trade_id: str) -> Position | None:
    """The position of a trade, open or closed."""
    if trade_id in state.closed:
        return state.closed[trade_id]
    return next((p for p in state.positions.values() if p.trade_id == trade_id), None)


def _position_of(
    state: TraderState, event: ExecutionSeen, order: Order | None, known: Execution | None
) -> Position | None:
    trade_id = known.trade_id if known else (order.trade_id if order else event.trade_id)
    position = find_trade(state, trade_id)
    if position is None and order is not None and order.role == "entry" and order.plan is not None:
        occupant = state.positions.get(event.symbol)
        position = occupant if occupant is not None else _open_position(state, event, order)
    return position


def _open_position(state: TraderState, event: ExecutionSeen, order: Order) -> Position:
    plan = order.plan
    assert plan is not None  # the caller asked
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
    reason: str,
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
        by_hand=True,
        estimated=True,
        commission=0.0,
    )
    position.fills.append(key)


def _retire_estimate(state: TraderState, position: Position, event: ExecutionSeen) -> None:
    """A real execution takes the place of the estimate that stood in for it: the position is already net of it."""
    shares = event.shares
    for key in list(position.fills):
        estimate = state.executions[key]
        if not estimate.estimated or estimate.side != event.side or shares == 0:
            continue
        taken = min(shares, estimate.shares)
        estimate.shares -= taken
        shares -= taken
        if estimate.shares == 0:
            position.fills.remove(key)
            del state.executions[key]


@dataclass(slots=True)
class _Ledger:
    """The running average-cost account of one trade while its executions are walked through.

    Signed throughout: shares sold beyond what was held open a lot on the other side, so that a flip has its
    true P&L too. This is how IBKR counts `realizedPNL`, commissions included.
    """

    quantity: int = 0
    basis: float = 0.0  # signed cost of what is held, commissions included
    realized: float = 0.0
    commissions: float = 0.0

    def add(self, quantity: int, price: float, commission: float) -> float:
        """Book one execution of signed `quantity`; returns the P&L that it realized."""
        self.commissions += commission
        closing = 0
        if self.quantity * quantity < 0:
            closing = max(quantity, -self.quantity) if quantity < 0 else min(quantity, -self.quantity)
        pnl = 0.0
        if closing:
            cost = self.basis * abs(closing / self.quantity)
            pnl = -closing * price - cost - commission * abs(closing / quantity)
            self.basis -= cost
            self.quantity += closing
        rest = quantity - closing
        if rest:
            self.basis += rest * price + commission * abs(rest / quantity)
            self.quantity += rest
        self.realized += pnl
        return pnl


def rebuild(state: TraderState, position: Position) -> None:
    """Derive a position from its executions and put it among the open or the closed ones."""
    ledger = _Ledger()
    closings: dict[str, Partial] = {}
    entered, entry_value = 0, 0.0
    fills = [state.executions[key] for key in position.fills]
    for fill in fills:
        if fill.shares == 0:
            continue
        pnl = ledger.add(fill.shares if fill.side == "BOT" else -fill.shares, fill.price, fill.commission or 0.0)
        if (fill.side == "BOT") == (entry_action(position.side) == "BUY"):
            entered += fill.shares
            entry_value += fill.shares * fill.price
        else:
            _add_closing(closings, fill, pnl)
    held = ledger.quantity * sign(position.side)
    position.held, position.shares, position.oversold = max(0, held), entered, max(0, -held)
    position.realized_pnl, position.commissions = ledger.realized, ledger.commissions
    position.pnl_estimated = any(fill.estimated for fill in fills)
    if entered:
        position.entry_price = entry_value / entered
    _name_exit(position, list(closings.values()))
    _file_away(state, position)


def _add_closing(closings: dict[str, Partial], fill: Execution, pnl: float) -> None:
    """Executions of one closing order count as one partial or exit."""
    key = fill.order_ref or fill.exec_id
    known = closings.get(key)
    if known is None:
        closings[key] = Partial(
            time=fill.time,
            price=fill.price,
            shares=fill.shares,
            reason=fill.reason,
            pnl=pnl,
            order_ref=fill.order_ref,
            estimated=fill.estimated,
        )
        return
    total = known.shares + fill.shares
    known.price = (known.price * known.shares + fill.price * fill.shares) / total
    known.shares, known.pnl, known.time, known.reason = total, known.pnl + pnl, fill.time, fill.reason


def _name_exit(position: Position, closings: list[Partial]) -> None:
    """The last closing of a position that is flat is its exit; all others are partials."""
    if position.held == 0 and closings:
        last = closings.pop()
        position.exit_price, position.exit_time, position.exit_reason = last.price, last.time, last.reason
    else:
        position.exit_price, position.exit_time, position.exit_reason = None, None, ""
    position.partials_taken = closings


def _file_away(state: TraderState, position: Position) -> None:
    """Open positions are found by symbol, closed ones by trade; a late fill opens a closed one again."""
    if position.held > 0:
        state.closed.pop(position.trade_id, None)
        occupant = state.positions.setdefault(position.symbol, position)
        if occupant is not position:
            state.closed[position.trade_id] = position
            state.halted[position.symbol] = "two trades hold shares of this symbol at once"
        return
    if state.positions.get(position.symbol) is position:
        del state.positions[position.symbol]
    state.closed[position.trade_id] = position
