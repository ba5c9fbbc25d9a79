"""One trade, derived from its executions: shares, average prices, partials, exit and P&L.

Nothing is carried forward from an earlier derivation, so the same executions give the same trade, in whatever
order and however often they were told.
"""

from dataclasses import dataclass

from state.domain.model import Execution, Partial, Position, Timestamp, TraderState, entry_action, sign


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
    opening = "BOT" if entry_action(position.side) == "BUY" else "SLD"
    _sort_fills(state, position, opening)
    fills = [fill for key in position.fills if (fill := state.executions[key]).shares]
    for fill in fills:
        pnl = ledger.add(fill.shares if fill.side == "BOT" else -fill.shares, fill.price, fill.commission or 0.0)
        if fill.side == opening:
            position.entry_time = position.entry_time if entered else fill.time
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


def _sort_fills(state: TraderState, position: Position, opening: str) -> None:
    """Average cost depends on the order, so it is the order in which they happened, not the one of arrival.

    Within one second (IBKR tells no finer) what opens comes first, since only what is held can be closed.
    """

    def when(key: str) -> tuple[Timestamp, bool, str]:
        fill = state.executions[key]
        return fill.time, fill.side != opening, key

    position.fills.sort(key=when)


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
    closings = sorted(closings, key=lambda closing: closing.time)
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
            state.halt_causes[position.symbol] = "two_trades"
        return
    if state.positions.get(position.symbol) is position:
        del state.positions[position.symbol]
    state.closed[position.trade_id] = position
