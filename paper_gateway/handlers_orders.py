"""Client messages about orders: place, cancel, list open orders, list completed orders."""

from __future__ import annotations

from paper_gateway.accounts import LEVERAGE
from paper_gateway.errors import RequestRefused
from paper_gateway.execution_log import commission
from paper_gateway.handlers import Services, handles
from paper_gateway.order_decoder import decode_ticket
from paper_gateway.order_encoder import encode_completed, encode_open, encode_status
from paper_gateway.orders import Order, Ticket
from paper_gateway.session import Session
from paper_gateway.wire import Field, FieldReader, encode


@handles(3)
def place_order(services: Services, session: Session, reader: FieldReader) -> None:
    assert session.client_id is not None
    ticket = decode_ticket(reader, session.version)
    if ticket.what_if:
        _answer_what_if(services, session, ticket)
    else:
        services.brokerage.order_entry.place(session.client_id, ticket)


@handles(4)
def cancel_order(services: Services, session: Session, reader: FieldReader) -> None:
    assert session.client_id is not None
    reader.skip("version")
    reader.request_id = reader.whole("orderId")
    services.brokerage.order_entry.cancel(session.client_id, reader.request_id)


@handles(58)
def global_cancel(services: Services, session: Session, _: FieldReader) -> None:
    assert session.client_id is not None
    services.brokerage.order_entry.cancel_all(session.client_id)


@handles(5)
def open_orders(services: Services, session: Session, _: FieldReader) -> None:
    """The client's own open orders. A request of client 0 also binds the manual orders to it."""
    if session.client_id == 0:
        services.brokerage.order_entry.bind_manual_orders()
    own = [order for order in services.brokerage.order_store.listed() if order.client_id == session.client_id]
    _send_open(session, own)


@handles(16)
def all_open_orders(services: Services, session: Session, _: FieldReader) -> None:
    """Every open order, newest first. (The order of the real gateway's list is not by id either.)"""
    _send_open(session, services.brokerage.order_store.listed()[::-1])


@handles(15)
def auto_open_orders(services: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    wanted = reader.flag("autoBind")
    if session.client_id != 0:
        raise RequestRefused(327, "Only the default client (i.e 0) can auto bind orders.")
    services.brokerage.order_entry.auto_bind = wanted
    if wanted:
        services.brokerage.order_entry.bind_manual_orders()


@handles(99)
def completed_orders(services: Services, session: Session, reader: FieldReader) -> None:
    """Completed orders; with apiOnly, without the manual ones."""
    api_only = reader.flag("apiOnly")
    if services.brokerage.quirks.on("no-completed"):
        return
    for order in (*services.brokerage.yesterday.orders, *services.brokerage.order_store.completed()):
        if not api_only or order.raw:
            session.send("completed_orders", encode_completed(order, session.version))
    session.send("completed_orders", encode(102))


def _send_open(session: Session, orders: list[Order]) -> None:
    for order in orders:
        session.send("open_orders", encode_open(order, session.version), encode_status(order))
    session.send("open_orders", encode(53, 1))


def _answer_what_if(services: Services, session: Session, ticket: Ticket) -> None:
    """Answer with the margin and commission that the order would have. Nothing is placed."""
    order, opening_value = services.brokerage.order_entry.what_if(ticket)
    order.client_id = session.client_id or 0
    figures = services.brokerage.figures(order.account)
    change = opening_value / LEVERAGE
    fee = commission(order.quantity, order.limit_price or services.brokerage.last(order.symbol))
    state: dict[str, Field] = {
        "whatIf": True,
        "initMarginBefore": figures.margin,
        "maintMarginBefore": figures.margin,
        "equityBefore": figures.net_liquidation,
        "initMarginChange": change,
        "maintMarginChange": change,
        "equityChange": -fee,
        "initMarginAfter": figures.margin + change,
        "maintMarginAfter": figures.margin + change,
        "equityAfter": figures.net_liquidation - fee,
        "commission": fee,
        "commissionCurrency": "USD",
    }
    session.send("order_status", encode_open(order, session.version, state))
