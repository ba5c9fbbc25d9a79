"""Position accounting: one trade's shares, average prices, partials, exit and P&L from its executions.

Each rebuild starts from nothing. So the same executions give the same trade, in whatever order they arrived.
"""

from dataclasses import dataclass

from state.domain.model import Execution, Partial, Position, Timestamp, TraderState, entry_action, sign


@dataclass(slots=True)
class _AverageCost:
    """Shares and cost of one trade while its executions are added, by average cost.

    Quantities are signed: shares sold beyond what was held open a lot on the other side, so that a reversal has
    its true P&L too. IBKR computes `realizedPNL` in this way, commissions included.
    """

    quantity: int = 0
    basis: float = 0.0  # signed cost of what is held, commissions included
    realized: float = 0.0
    commissions: float = 0.0

    def add(self, quantity: int, price: float, commission: float) -> float:
        """Add one execution of signed `quantity`; returns the P&L that it realized."""
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
    """Derive a position from its executions, and move it to the open or the closed ones."""
    cost = _AverageCost()
    closings: dict[str, Partial] = {}
    entered, entry_value = 0, 0.0
    opening = "BOT" if entry_action(position.side) == "BUY" else "SLD"
    _sort_fills(state, position, opening)
    fills = [fill for key in position.fills if (fill := state.executions[key]).shares]
    for fill in fills:
        pnl = cost.add(fill.shares if fill.side == "BOT" else -fill.shares, fill.price, fill.commission or 0.0)
        if fill.side == opening:
            position.entry_time = position.entry_time if entered else fill.time
            entered += fill.shares
            entry_value += fill.shares * fill.price
        else:
            _add_closing(closings, fill, pnl)
    held = cost.quantity * sign(position.side)
    position.held, position.shares, position.oversold = max(0, held), entered, max(0, -held)
    position.realized_pnl, position.commissions = cost.realized, cost.commissions
    position.pnl_estimated = any(fill.estimated for fill in fills)
    if entered:
        position.entry_price = entry_value / entered
    _set_exit(position, list(closings.values()))
    _place(state, position)


def _sort_fills(state: TraderState, position: Position, opening: str) -> None:
    """Sort by execution time: average cost depends on the order, and arrival may differ from it.

    IBKR's times are whole seconds. Within one second the opening fills come first, as only held shares can close.
    """

    def when(key: str) -> tuple[Timestamp, bool, str]:
        fill = state.executions[key]
        return fill.time, fill.side != opening, key

    position.fills.sort(key=when)


def _add_closing(closings: dict[str, Partial], fill: Execution, pnl: float) -> None:
    """Add a closing fill; all fills of one order make one partial or exit."""
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


def _set_exit(position: Position, closings: list[Partial]) -> None:
    """Set the exit and the partials. The last closing of a flat position is its exit."""
    closings = sorted(closings, key=lambda closing: closing.time)
    if position.held == 0 and closings:
        last = closings.pop()
        position.exit_price, position.exit_time, position.exit_reason = last.price, last.time, last.reason
    else:
        position.exit_price, position.exit_time, position.exit_reason = None, None, ""
    position.partials_taken = closings


def _place(state: TraderState, position: Position) -> None:
    """Keep an open position by its symbol, a closed one by its trade. A late fill can open a closed one again."""
    if position.held > 0:
        state.closed.pop(position.trade_id, None)
        occupant = state.positions.setdefault(position.symbol, position)
        if occupant is not position:
            state.closed[position.trade_id] = position
            state.halted[position.symbol] = "two trades hold shares of this symbol at once"
            state.halt_causes[position.symbol] = "two_trades"
        return
    if state.positions.get(position.symbol) is position:
        del state.positions[position.symbol]
    state.closed[position.trade_id] = position
