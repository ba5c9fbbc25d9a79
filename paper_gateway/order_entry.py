"""Takes in orders: places, changes and cancels them, for clients and for manual orders as in TWS."""

from __future__ import annotations

from dataclasses import replace

from paper_gateway import validation
from paper_gateway.codes import REJECTED, refusal, wrapped
from paper_gateway.engine import Engine
from paper_gateway.errors import RequestRefused
from paper_gateway.events import OrderBound
from paper_gateway.market import ContractInfo
from paper_gateway.order_acceptance import Acceptance
from paper_gateway.order_changes import Change, Changes, check_changeable
from paper_gateway.order_store import OrderStore
from paper_gateway.orders import ContractRef, Order, Status, Ticket

MANUAL_CLIENT = 0
"""Manual orders in TWS have client id 0 and order id 0."""


class OrderEntry:
    """Validates the requests of clients and passes valid ones to the engine."""

    def __init__(self, engine: Engine) -> None:
        self.auto_bind = False  # whether client 0 asked that new manual orders are bound to it
        self._engine = engine
        self._quirks = engine.quirks
        self._order_store: OrderStore = engine.order_store
        self._contracts = engine.contracts
        self._acceptance = Acceptance(engine)
        self._changes = Changes(engine)

    def place(self, client_id: int, ticket: Ticket) -> None:
        """Place a new order; if the order id is in use, change that order. Raises RequestRefused."""
        if self._quirks.take("swallow-orders"):
            return
        if ticket.order_id <= 0:
            raise refusal(10149, f"Invalid order id: {ticket.order_id}")
        length = self._quirks.whole("ref-length")
        if length is not None:
            ticket = replace(ticket, order_ref=ticket.order_ref[:length])
        order = self._order_store.by_client(client_id, ticket.order_id)
        if order is None:
            self._place_new(client_id, ticket)
            return
        if order.manual:
            self._engine.exposure.touch(order, client_id, "change")
        try:
            self._change(order, client_id, ticket)
        except RequestRefused as refused:
            raise wrapped(refused) from None

    def what_if(self, ticket: Ticket) -> tuple[Order, float]:
        """The order that `ticket` would place, and the value in USD that it would open. Nothing is placed."""
        info, account, shares = self._checked(ticket)
        order = self._build(0, replace(ticket, parent_id=0), info, account, shares)
        order.status = Status.PRE_SUBMITTED
        return order, self._acceptance.opening_value(order)

    def cancel(self, client_id: int, order_id: int) -> None:
        """Cancel an order of this client. Raises RequestRefused 10147 or 10148."""
        order = self._order_store.by_client(client_id, order_id)
        if order is None:
            self._touch_others(client_id, order_id, "cancel refused")
        elif order.manual:
            self._engine.exposure.touch(order, client_id, "cancel")
        if self._quirks.on("swallow-cancels"):
            return
        if order is None:
            raise refusal(10147, f"OrderId {order_id} that needs to be cancelled is not found.")
        if order.done or order.status is Status.PENDING_CANCEL:
            state = order.status.value
            raise refusal(
                10148, f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {state}."
            )
        self._engine.cancel(order)

    def cancel_all(self, client_id: int) -> None:
        """Global cancel by a client: every open order of every client."""
        orders = self._order_store.listed()
        for order in orders:
            if order.client_id != client_id or order.manual:
                self._engine.exposure.touch(order, client_id, "cancel")
        if self._quirks.on("swallow-cancels"):
            return
        for order in orders:
            self._engine.cancel(order)

    def disconnected(self, client_id: int) -> None:
        """Remove the untransmitted orders of a client; its other orders stay, and lose the ids of ended parents."""
        for order in self._order_store.untransmitted_of(client_id):
            self._order_store.forget(order)
        for order in self._order_store.listed():
            if order.client_id == client_id and order.parent is not None and order.parent.done:
                order.parent_listed = False

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
        order = self._build(MANUAL_CLIENT, ticket, info, account, validation.check_terms(ticket, info.min_tick))
        order.manual = True
        self._order_store.add(order)
        self._acceptance.transmit(order)
        if self.auto_bind:
            self.bind_manual_orders()
        return order

    def _place_new(self, client_id: int, ticket: Ticket) -> None:
        if ticket.order_id < self._order_store.next_order_id(client_id):
            self._touch_others(client_id, ticket.order_id, "change refused")
            raise refusal(103)
        info, account, shares = self._checked(ticket)
        order = self._build(client_id, ticket, info, account, shares)
        if ticket.parent_id:
            parent = self._order_store.by_client(client_id, ticket.parent_id)
            order.parent = validation.check_parent(parent, account, info.symbol, ticket.order_type)
            if self._quirks.text("child-oca") != "off":
                order.oca_group, order.oca_type = str(order.parent.perm_id), 3
        code = self._acceptance.refusal_by_quirk(order)
        if code not in (None, REJECTED):
            raise refusal(code)
        if order.parent is not None:
            order.parent.children.append(order)
        self._order_store.add(order)
        if ticket.transmit:
            self._acceptance.transmit(order)

    def _change(self, order: Order, client_id: int, ticket: Ticket) -> None:
        check_changeable(order)
        info, account, shares = self._checked(ticket)
        parent = self._order_store.by_client(client_id, ticket.parent_id)
        self._changes.change(Change(order, ticket, info.symbol, account, shares, parent))
        if order.status is Status.HELD and ticket.transmit:
            self._acceptance.transmit(order)

    def _checked(self, ticket: Ticket) -> tuple[ContractInfo, str, int]:
        """The contract, the account and the size in shares. Raises RequestRefused for terms that are not valid."""
        if not ticket.contract.exchange:
            raise refusal(452, "Missing order exchange")
        info = self._contracts.resolve(ticket.contract)
        account = validation.check_account(ticket.account, self._engine.accounts.ids, invalid_code=435)
        return info, account, validation.check_terms(ticket, info.min_tick)

    def _build(self, client_id: int, ticket: Ticket, info: ContractInfo, account: str, shares: int) -> Order:
        tif = validation.kept_tif(ticket.tif)
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
            tif=tif,
            oca_group=ticket.oca_group,
            oca_type=ticket.oca_type or 3,
            order_ref=ticket.order_ref,
            outside_rth=ticket.outside_rth or tif == "IOC",  # TWS sets it for IOC by itself
            trailing_percent=ticket.trailing_percent,
            trail_stop=ticket.trail_stop_price,
            accepted_at=self._engine.now,
            raw=ticket.raw,
        )

    def _touch_others(self, client_id: int, order_id: int, what: str) -> None:
        """Note a refused request with an id that only another client's live order has."""
        if self._order_store.was_used(client_id, order_id):
            return
        for order in self._order_store.live():
            if order.order_id == order_id and order.client_id != client_id:
                self._engine.exposure.touch(order, client_id, what)
