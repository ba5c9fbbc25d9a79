"""Takes in orders: places, modifies and cancels them, for clients and for manual orders as in TWS."""

from __future__ import annotations

from dataclasses import replace

from paper_gateway import validation
from paper_gateway.engine import Engine
from paper_gateway.errors import RequestRefused
from paper_gateway.events import OrderBound, OrderNotice
from paper_gateway.hours import next_open
from paper_gateway.market import ContractInfo
from paper_gateway.order_encoder import zoned
from paper_gateway.order_store import OrderStore
from paper_gateway.orders import DONE, ContractRef, Order, Status, Ticket

MANUAL_CLIENT = 0
"""Manual orders in TWS have client id 0 and order id 0."""


class OrderEntry:
    """Validates the requests of clients and passes valid ones to the engine."""

    def __init__(self, engine: Engine) -> None:
        self.auto_bind = False  # whether client 0 asked that new manual orders are bound to it
        self._engine = engine
        self._order_store: OrderStore = engine.order_store
        self._contracts = engine.contracts

    def place(self, client_id: int, ticket: Ticket) -> None:
        """Place a new order; if the order id is in use, modify that order. Raises RequestRefused."""
        if ticket.order_id <= 0:
            raise validation.validation_error(f"Order id {ticket.order_id} is not greater than 0.")
        info = self._contracts.resolve(ticket.contract)
        account = validation.check_account(ticket.account, self._engine.accounts.ids)
        shares = validation.check_terms(ticket, info.min_tick)
        existing = self._order_store.by_client(client_id, ticket.order_id)
        if existing is not None:
            validation.check_modifiable(existing, ticket, info.symbol)
            self._modify(existing, ticket, shares)
            return
        if ticket.order_id < self._order_store.next_order_id(client_id):
            raise RequestRefused(103, "Duplicate order id")
        order = self._new_order(client_id, ticket, info, account, shares)
        if ticket.transmit:
            self._transmit(order)

    def what_if(self, ticket: Ticket) -> tuple[Order, float]:
        """The order that `ticket` would place, and the value in USD that it would open. Nothing is placed."""
        info = self._contracts.resolve(ticket.contract)
        account = validation.check_account(ticket.account, self._engine.accounts.ids)
        shares = validation.check_terms(ticket, info.min_tick)
        order = self._build(0, replace(ticket, parent_id=0), info, account, shares)
        order.status = Status.PRE_SUBMITTED
        return order, self.opening_value(order)

    def cancel(self, client_id: int, order_id: int) -> None:
        """Cancel an order of this client. Raises RequestRefused 10147 or 10148."""
        order = self._order_store.by_client(client_id, order_id)
        if order is None:
            raise RequestRefused(10147, f"OrderId {order_id} that needs to be cancelled is not found.")
        if order.status in DONE:
            raise RequestRefused(
                10148, f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {order.status}."
            )
        self._engine.cancel(order)

    def cancel_all(self) -> None:
        """Global cancel: every live order of every client."""
        for order in self._order_store.live():
            self._engine.cancel(order)

    def drop_untransmitted(self, client_id: int) -> None:
        """Remove the untransmitted orders of a client that disconnected."""
        for order in self._order_store.untransmitted_of(client_id):
            self._order_store.forget(order)

    def bind_manual_orders(self) -> None:
        """Give live manual orders an order id of client 0."""
        for order in self._order_store.live():
            if order.client_id == MANUAL_CLIENT and order.order_id == 0:
                order.order_id = self._order_store.next_order_id(MANUAL_CLIENT)
                self._order_store.bind(order)
                self._engine.emit(OrderBound(order))

    def place_manual(
        self, symbol: str, action: str, shares: int, account: str, limit: float | None, stop: float | None
    ) -> Order:
        """Place an order as if it was entered in TWS. Raises RequestRefused."""
        info = self._contracts.info(symbol)
        ticket = Ticket(
            order_id=0,
            contract=ContractRef(symbol=symbol, sec_type="STK", exchange="SMART", currency="USD"),
            action=action,
            quantity=float(shares),
            order_type="STP" if stop else "LMT" if limit else "MKT",
            limit_price=limit,
            aux_price=stop,
            tif="DAY",
            oca_group="",
            oca_type=0,
            account=account,
            order_ref="",
            transmit=True,
            parent_id=0,
            outside_rth=False,
            trail_stop_price=None,
            trailing_percent=None,
            what_if=False,
        )
        account = validation.check_account(account or self._engine.accounts.ids[0], self._engine.accounts.ids)
        order = self._new_order(MANUAL_CLIENT, ticket, info, account, validation.check_terms(ticket, info.min_tick))
        self._transmit(order)
        if self.auto_bind:
            self.bind_manual_orders()
        return order

    def opening_value(self, order: Order) -> float:
        """The value in USD of the shares by which the order would increase the position."""
        held = self._engine.accounts.position(order.account, order.symbol).quantity
        closing = min(abs(held), order.remaining) if held * order.sign < 0 else 0
        touch = self._engine.touch(order.symbol)
        return (order.remaining - closing) * (order.limit_price or order.aux_price or touch.ask)

    def _new_order(self, client_id: int, ticket: Ticket, info: ContractInfo, account: str, shares: int) -> Order:
        order = self._build(client_id, ticket, info, account, shares)
        if ticket.parent_id:
            parent = self._order_store.by_client(client_id, ticket.parent_id)
            validation.check_parent(parent, account, info.symbol)
            assert parent is not None
            order.parent = parent
            parent.children.append(order)
            order.oca_group = ticket.oca_group or str(parent.perm_id)
            order.oca_type = ticket.oca_type or 3
        self._order_store.add(order)
        return order

    def _build(self, client_id: int, ticket: Ticket, info: ContractInfo, account: str, shares: int) -> Order:
        return Order(
            perm_id=self._order_store.new_perm_id(),
            client_id=client_id,
            order_id=ticket.order_id,
            account=account,
            symbol=info.symbol,
            con_id=info.con_id,
            exchange=ticket.contract.exchange,
            trading_class=info.trading_class,
            action=ticket.action,
            quantity=shares,
            order_type=ticket.order_type,
            limit_price=ticket.limit_price,
            aux_price=ticket.aux_price,
            tif=ticket.tif,
            oca_group=ticket.oca_group,
            oca_type=ticket.oca_type or 3,
            order_ref=ticket.order_ref,
            outside_rth=ticket.outside_rth,
            trailing_percent=ticket.trailing_percent,
            trail_stop=ticket.trail_stop_price,
            accepted_at=self._engine.now,
            raw=ticket.raw,
        )

    def _transmit(self, order: Order) -> None:
        """Accept and work the order, with the untransmitted orders of its bracket, parent first."""
        bracket = [order]
        if order.parent is not None:
            parent = order.parent
            bracket = [one for one in (parent, *parent.children) if one is order or one.status is Status.HELD]
        for member in bracket:
            refusal = self._refusal(member) if member.status is Status.HELD else None
            if refusal is not None:
                self._engine.reject(member, *refusal)
        for member in bracket:
            if member.status is Status.HELD:
                self._engine.accept(member)
        for member in bracket:
            self._warn_if_closed(member)
            self._engine.work(member)

    def _refusal(self, order: Order) -> tuple[int, str] | None:
        """The code and text with which the order is rejected: by control command, or for lack of buying power."""
        rejection = self._engine.faults.take_rejection(order)
        if rejection is not None:
            return rejection.code, rejection.text
        if order.parent is not None:
            return None
        figures = self._engine.accounts.figures(order.account, lambda symbol: self._engine.touch(symbol).last)
        working = sum(
            self.opening_value(other)
            for other in self._order_store.live()
            if other.account == order.account and other.parent is None and other is not order
        )
        needed = self.opening_value(order)
        if needed and needed > figures.buying_power - working:
            free = figures.buying_power - working
            return 201, (
                "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION "
                f"YOUR BUYING POWER [{free:.2f} USD] MUST EXCEED THE ORDER VALUE [{needed:.2f} USD]"
            )
        return None

    def _warn_if_closed(self, order: Order) -> None:
        if not order.live or self._engine.is_session(order):
            return
        info = self._contracts.info(order.symbol)
        opens = next_open(info.trading_hours if order.outside_rth else info.liquid_hours, self._engine.now)
        when = zoned(opens) if opens else "the next session"
        self._engine.emit(
            OrderNotice(
                order,
                399,
                f"Order Message:\n{order.action} {order.quantity} {order.symbol}\n"
                f"Warning: Your order will not be placed at the exchange until {when}",
            )
        )

    def _modify(self, order: Order, ticket: Ticket, shares: int) -> None:
        """Change size, prices, type and time in force. The permanent id and the fills stay."""
        if shares <= order.filled:
            raise validation.validation_error(
                f"The new size {shares} is not greater than the {order.filled} shares filled."
            )
        order.quantity = shares
        order.order_type = ticket.order_type
        order.limit_price = ticket.limit_price
        order.aux_price = ticket.aux_price
        order.trailing_percent = ticket.trailing_percent
        order.trail_stop = ticket.trail_stop_price or order.trail_stop
        order.tif = ticket.tif
        order.outside_rth = ticket.outside_rth
        order.order_ref = ticket.order_ref
        order.raw = ticket.raw
        if order.status is not Status.HELD:
            self._engine.modified(order)
        elif ticket.transmit:
            self._transmit(order)
