"""The orders that one connection has described, so that a message with ids alone can be reported as an order.

orderStatus carries neither orderRef nor contract. TWS may reissue order ids after its own restart, so an order id
counts only if the permId does not contradict it. The permId identifies an order permanently.
"""

from msgspec.structs import replace

from trader.broker.ibkr.translate import ticket_order
from trader.broker.port import BrokerOrder, OrderTicket


class KnownOrders:
    """Orders by permId, and by (client id, order id) until the permId is known."""

    def __init__(self) -> None:
        self._by_perm: dict[int, BrokerOrder] = {}
        self._by_id: dict[tuple[int, int], BrokerOrder] = {}

    def find(self, client_id: int, order_id: int, perm_id: int) -> BrokerOrder | None:
        """The order with these ids; None also if the order id now belongs to another permId."""
        if perm_id and perm_id in self._by_perm:
            return self._by_perm[perm_id]
        found = self._by_id.get((client_id, order_id)) if order_id > 0 else None
        if found is not None and perm_id and found.perm_id not in (0, perm_id):
            return None
        return found

    def keep(self, order: BrokerOrder) -> BrokerOrder:
        """Remember the newest description of an order."""
        if order.perm_id:
            self._by_perm[order.perm_id] = order
        if order.order_id > 0:
            self._by_id[order.client_id, order.order_id] = order
        return order

    def sent(self, ticket: OrderTicket, client_id: int) -> None:
        """A ticket is about to be written: a new order, or the change of a known one."""
        before = self.find(client_id, ticket.order_id, 0)
        if before is None or before.order_ref != ticket.order_ref:
            self.keep(ticket_order(ticket, client_id))

    def status(
        self, client_id: int, order_id: int, perm_id: int, status: str, filled: int, parent_id: int
    ) -> BrokerOrder | None:
        """The order after an orderStatus message; None if no message has described the order yet."""
        before = self.find(client_id, order_id, perm_id)
        if before is None:
            return None
        return self.keep(
            replace(
                before,
                status=status,
                filled=max(filled, before.filled),
                perm_id=perm_id or before.perm_id,
                parent_id=parent_id or before.parent_id,
            )
        )
