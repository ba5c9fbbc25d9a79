"""Cash, positions and figures such as net liquidation, by account."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from paper_gateway.execution_log import Execution

LEVERAGE = 4.0
"""Day-trading buying power of a Reg T margin account is four times its equity."""


@dataclass(slots=True)
class Position:
    """Signed shares and their average cost in USD a share, commissions included, as IBKR reports them."""

    quantity: int = 0
    average_cost: float = 0.0


@dataclass(frozen=True, slots=True)
class OpeningPosition:
    """A position that an account holds when the gateway starts."""

    account: str
    symbol: str
    quantity: int
    average_cost: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of an account at one moment, in USD."""

    cash: float
    gross_value: float
    net_liquidation: float
    buying_power: float
    realized_pnl: float
    unrealized_pnl: float
    stock_value: float

    @property
    def margin(self) -> float:
        return self.gross_value / LEVERAGE


class Accounts:
    """Applies executions to cash and positions. All of it can be recomputed from the opening positions."""

    def __init__(self, ids: Iterable[str], cash: float, opening: Iterable[OpeningPosition]) -> None:
        self.ids = tuple(ids)
        self._opening_cash = cash
        self.opening = tuple(opening)
        self._reset()

    def _reset(self) -> None:
        self.cash = dict.fromkeys(self.ids, self._opening_cash)
        self.realized = dict.fromkeys(self.ids, 0.0)
        self.positions: dict[tuple[str, str], Position] = {
            (one.account, one.symbol): Position(one.quantity, one.average_cost) for one in self.opening
        }

    def position(self, account: str, symbol: str) -> Position:
        return self.positions.get((account, symbol), Position())

    def held(self, account: str | None = None) -> list[tuple[str, str, Position]]:
        """(account, symbol, position) of every symbol held today. TWS lists positions of 0 shares, too."""
        return [(acct, symbol, one) for (acct, symbol), one in self.positions.items() if account in (None, acct)]

    def apply(self, execution: Execution) -> None:
        """Apply an execution, and set its realized_pnl."""
        order = execution.order
        key = (order.account, order.symbol)
        position = self.positions.setdefault(key, Position())
        self.cash[order.account] -= execution.signed_shares * execution.price + execution.commission
        execution.realized_pnl = apply_fill(
            position, execution.signed_shares, execution.price, execution.commission
        )
        self.realized[order.account] += execution.realized_pnl or 0.0

    def rebuild(self, executions: Iterable[Execution]) -> None:
        """Start again from the opening positions and apply all executions. For corrections."""
        self._reset()
        for execution in executions:
            if not execution.superseded:
                self.apply(execution)

    def figures(self, account: str, price_of: Callable[[str], float]) -> Figures:
        """The account's figures at the prices that price_of returns."""
        gross = value = unrealized = 0.0
        for _, symbol, one in self.held(account):
            if one.quantity:
                worth = one.quantity * price_of(symbol)
                value += worth
                gross += abs(worth)
                unrealized += worth - one.quantity * one.average_cost
        equity = self.cash[account] + value
        return Figures(
            cash=self.cash[account],
            gross_value=gross,
            net_liquidation=equity,
            buying_power=max(0.0, LEVERAGE * equity - gross),
            realized_pnl=self.realized[account],
            unrealized_pnl=unrealized,
            stock_value=value,
        )


def apply_fill(position: Position, signed_shares: int, price: float, commission: float) -> float | None:
    """Apply a fill to a position by average cost; returns the realized P&L, or None if nothing was closed.

    The commission is added to the cost of opened shares and subtracted from the P&L of closed ones. A fill
    that reverses the position splits the commission by shares.
    """
    held = position.quantity
    closing = min(abs(held), abs(signed_shares)) if held * signed_shares < 0 else 0
    opening = abs(signed_shares) - closing
    closing_fee = commission * closing / abs(signed_shares)
    realized: float | None = None
    if closing:
        side = 1 if held > 0 else -1
        realized = side * closing * (price - position.average_cost) - closing_fee
    if opening:
        side = 1 if signed_shares > 0 else -1
        kept = abs(held) if not closing else 0
        cost = kept * position.average_cost + opening * price + side * (commission - closing_fee)
        position.average_cost = cost / (kept + opening)
    position.quantity = held + signed_shares
    if position.quantity == 0:
        position.average_cost = 0.0
    return realized
