"""The parts of a broker snapshot out of the rows of complete answers. Pure."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from trader.broker.ibkr.known_orders import KnownOrders
from trader.broker.port import BrokerExecution, BrokerOrder, BrokerPosition


def positions_of(account: str, rows: Sequence[BrokerPosition]) -> tuple[BrokerPosition, ...]:
    """The newest row of each contract; flat ones are left out."""
    newest = {row.con_id: row for row in rows if row.account == account}
    return tuple(row for row in newest.values() if row.quantity)


def executions_of(
    account: str, rows: Sequence[BrokerExecution], commissions: Mapping[str, float]
) -> tuple[BrokerExecution, ...]:
    """Each execution once, with the commission if it was reported, in time order."""
    once = {row.exec_id: row for row in rows if row.account == account}
    for exec_id, row in once.items():
        commission = commissions.get(exec_id, row.commission)
        if commission != row.commission:
            once[exec_id] = replace(row, commission=commission)
    return tuple(sorted(once.values(), key=lambda row: row.time))


def open_orders_of(
    account: str, rows: Sequence[tuple[int, int, int]], orders: KnownOrders
) -> tuple[BrokerOrder, ...]:
    """rows: (client id, order id, permId). orders: the newest description of each open order."""
    found: dict[tuple[int, int, int], BrokerOrder] = {}
    for key in rows:
        order = orders.find(*key)
        if order is not None and order.account == account and not order.is_closed:
            found[key] = order
    return tuple(found.values())


def completed_orders_of(account: str, rows: Sequence[BrokerOrder]) -> tuple[BrokerOrder, ...]:
    """Each completed order once."""
    return tuple({row.perm_id: row for row in rows if row.account == account}.values())
