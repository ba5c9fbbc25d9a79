"""All orders of the day, found by permanent id, by client and order id, or by symbol; also issues the ids."""

from __future__ import annotations

from paper_gateway.orders import Order, Status


class OrderStore:
    """Keeps every order of the day. Live orders are indexed by symbol, so that a tick looks at few of them."""

    def __init__(self, first_perm_id: int) -> None:
        self.orders: dict[int, Order] = {}
        self._by_client: dict[tuple[int, int], list[Order]] = {}
        self._live: dict[str, dict[int, Order]] = {}
        self._parked: dict[int, Order] = {}
        self._next_perm_id = first_perm_id
        self._next_order_id: dict[int, int] = {}

    def new_perm_id(self) -> int:
        self._next_perm_id += 1
        return self._next_perm_id

    def next_order_id(self, client_id: int) -> int:
        """The next valid id of a client. It is kept when the client disconnects."""
        return self._next_order_id.get(client_id, 1)

    def note_order_id(self, client_id: int, order_id: int) -> None:
        self._next_order_id[client_id] = max(self.next_order_id(client_id), order_id + 1)

    def roll_back_ids(self, count: int) -> None:
        """Lower every client's next valid id, as a nightly restart of the real gateway can do.

        Orders that are done lose their ids, so that a reissued id places a new order. Live orders keep
        theirs, so that a reissued id modifies them.
        """
        for client_id, next_id in self._next_order_id.items():
            self._next_order_id[client_id] = max(1, next_id - count)
        self._by_client = {
            (client_id, order_id): orders
            for (client_id, order_id), orders in self._by_client.items()
            if order_id < self.next_order_id(client_id) or not all(order.done for order in orders)
        }

    def add(self, order: Order) -> None:
        self.orders[order.perm_id] = order
        self.bind(order)
        self.index(order)

    def bind(self, order: Order) -> None:
        """Index the order by client id and order id. Manual orders have order id 0 and are not indexed."""
        if order.order_id:
            self._by_client.setdefault((order.client_id, order.order_id), []).append(order)
            self.note_order_id(order.client_id, order.order_id)

    def index(self, order: Order) -> None:
        """Update the indexes of live and of parked orders after a change of the order's status."""
        live = self._live.setdefault(order.symbol, {})
        if order.live:
            live[order.perm_id] = order
        else:
            live.pop(order.perm_id, None)
        if order.parked:
            self._parked[order.perm_id] = order
        else:
            self._parked.pop(order.perm_id, None)

    def purge(self, order: Order) -> None:
        """Remove an ended order from the table that order ids are looked up in, as TWS does after a while.

        Its children are reported without a parent from then on.
        """
        if not order.done:
            return
        self._unbind(order)
        for child in order.children:
            child.parent_listed = False

    def forget(self, order: Order) -> None:
        """Remove an order that was never transmitted. Its id is not issued again."""
        if order.parent:
            order.parent.children.remove(order)
        self.orders.pop(order.perm_id, None)
        self._unbind(order)

    def by_client(self, client_id: int, order_id: int) -> Order | None:
        """The order with this id. Of two with one id (see the quirk `outage-duplicates`) the newest that lives."""
        orders = self._by_client.get((client_id, order_id), [])
        return next((one for one in reversed(orders) if not one.done), orders[-1] if orders else None)

    def was_used(self, client_id: int, order_id: int) -> bool:
        """Whether an order of this client ever had the id."""
        return any((one.client_id, one.order_id) == (client_id, order_id) for one in self.orders.values())

    def _unbind(self, order: Order) -> None:
        key = (order.client_id, order.order_id)
        left = [one for one in self._by_client.get(key, []) if one is not order]
        if left:
            self._by_client[key] = left
        else:
            self._by_client.pop(key, None)

    def live(self, symbol: str | None = None) -> list[Order]:
        """Live orders, oldest first. A copy, because fills change the index."""
        if symbol is not None:
            return list(self._live.get(symbol, {}).values())
        return sorted((one for live in self._live.values() for one in live.values()), key=lambda one: one.perm_id)

    def parked(self) -> list[Order]:
        """Inactive orders that have not ended, oldest first."""
        return list(self._parked.values())

    def listed(self) -> list[Order]:
        """The orders in an answer to an open orders request, oldest first."""
        return sorted((*self.live(), *self.parked()), key=lambda one: one.perm_id)

    def completed(self) -> list[Order]:
        return [order for order in self.orders.values() if order.completed_at is not None]

    def untransmitted_of(self, client_id: int) -> list[Order]:
        """Orders of a client that are not transmitted yet."""
        return [
            order for order in self.orders.values() if order.client_id == client_id and order.status is Status.HELD
        ]

    def oca_members(self, order: Order) -> list[Order]:
        """The other live orders of the order's one-cancels-all group."""
        if not order.oca_group:
            return []
        return [
            other
            for other in self.live()
            if other is not order and other.oca_group == order.oca_group and other.account == order.account
        ]

    def find(self, reference: str) -> Order | None:
        """An order by its permId or, newest first, by its orderRef."""
        if reference.isascii() and reference.isdigit() and int(reference) in self.orders:
            return self.orders[int(reference)]
        matching = [order for order in self.orders.values() if order.order_ref == reference]
        return next((one for one in reversed(matching) if one.live), matching[-1] if matching else None)
