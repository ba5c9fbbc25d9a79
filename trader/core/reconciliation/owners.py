"""Whose orders and shares IBKR lists: this trader's, another trader's, or foreign (invariant 6).

Own: this strategy's orderRef, under this account and client id. The same kind of orderRef under another client id
belongs to another trader, or to this one under its former id: IBKR lets only that id change it.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from state.domain.executions import is_newer_revision, split_exec_id
from state.domain.model import TraderState
from trader.broker.port import BrokerExecution, BrokerOrder, BrokerPosition
from trader.core.orders.order_ref import parse_ref

OthersShares = Mapping[str, Mapping[int, int]]
"""Signed shares of other traders, by symbol and client id."""

MANUAL = 0  # the client id of manual orders in TWS; completed orders have it too, whoever sent them


def former_id_orders(state: TraderState, orders: Iterable[BrokerOrder], client_id: int) -> list[BrokerOrder]:
    """Live orders of this state that were sent under another client id."""
    return [
        order
        for order in orders
        if order.order_ref in state.orders and order.client_id not in (client_id, MANUAL) and not order.is_closed
    ]


def others_orders(state: TraderState, orders: Iterable[BrokerOrder], client_id: int) -> list[BrokerOrder]:
    """Live orders of other traders of this program."""
    return [
        order
        for order in orders
        if order.order_ref not in state.orders
        and order.client_id not in (client_id, MANUAL)
        and not order.is_closed
        and parse_ref(order.order_ref) is not None
    ]


def is_others_execution(known: Mapping[str, object], execution: BrokerExecution, client_id: int) -> bool:
    """Whether another trader's order filled. known: own orders by orderRef."""
    return (
        execution.order_ref not in known
        and execution.client_id not in (client_id, MANUAL)
        and parse_ref(execution.order_ref) is not None
    )


class OthersTrades:
    """Shares that other traders have bought and sold today, added up as their executions are reported."""

    def __init__(self) -> None:
        self._newest: dict[str, BrokerExecution] = {}  # by execution id without the revision
        self._shares: dict[str, dict[int, int]] = {}

    def take(self, execution: BrokerExecution) -> None:
        """An execution of another trader, which may be known. A correction takes the place of what it corrects."""
        base, _ = split_exec_id(execution.exec_id)
        known = self._newest.get(base)
        if known is not None:
            if not is_newer_revision(execution.exec_id, known.exec_id):
                return
            self._add(known, -1)
        self._newest[base] = execution
        self._add(execution, 1)

    def _add(self, execution: BrokerExecution, times: int) -> None:
        of_symbol = self._shares.setdefault(execution.symbol, {})
        signed = execution.shares if execution.side == "BOT" else -execution.shares
        of_symbol[execution.client_id] = of_symbol.get(execution.client_id, 0) + times * signed

    def shares(self) -> OthersShares:
        """Signed shares by symbol and client id; none that are zero."""
        held = {symbol: {who: n for who, n in of_symbol.items() if n} for symbol, of_symbol in self._shares.items()}
        return {symbol: of_symbol for symbol, of_symbol in held.items() if of_symbol}


def others_shares(state: TraderState, executions: Iterable[BrokerExecution], client_id: int) -> OthersShares:
    """Signed shares that other traders have bought today, by symbol and client id; none that are zero."""
    trades = OthersTrades()
    for execution in executions:
        if is_others_execution(state.orders, execution, client_id):
            trades.take(execution)
    return trades.shares()


def less_others(holding: BrokerPosition | None, others: OthersShares) -> BrokerPosition | None:
    """The holding without the shares of other traders."""
    if holding is None or holding.symbol not in others:
        return holding
    return replace(holding, quantity=holding.quantity - sum(others[holding.symbol].values()))


def without_others(
    positions: Iterable[BrokerPosition] | None, others: OthersShares
) -> tuple[BrokerPosition, ...] | None:
    """The positions without the shares of other traders; None if positions are not known."""
    if positions is None:
        return None
    own = (less_others(holding, others) for holding in positions)
    return tuple(holding for holding in own if holding is not None)


def others_by_symbol(
    state: TraderState, shares: OthersShares, open_orders: Iterable[BrokerOrder], client_id: int
) -> dict[str, list[int]]:
    """The client ids of other traders that hold shares or have a live order, by symbol."""
    found: dict[str, set[int]] = {symbol: set(of_symbol) for symbol, of_symbol in shares.items()}
    for order in others_orders(state, open_orders, client_id):
        found.setdefault(order.symbol, set()).add(order.client_id)
    return {symbol: sorted(ids) for symbol, ids in found.items()}
