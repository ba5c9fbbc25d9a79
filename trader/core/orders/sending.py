"""Intents and tickets: how an order is recorded and sent, and what is in flight.

Every order of this trader leaves through `send`: its intent is an event, and the SendOrders effect waits until that
event is durable (invariant 1).
"""

import math
from collections.abc import Sequence
from typing import Literal

from state.domain.events import Event, OrderIntended, OrderModifyIntended, SignalTaken
from state.domain.model import Action, Order, OrderReason, Position, Role
from trader.broker.port import OrderTicket
from trader.core.effects import SendCancel, SendOrders
from trader.core.messages import OrdersNotSent, OrdersSent
from trader.core.orders.order_ref import EPOCH_MS, closing_ref, make_token
from trader.core.turn import Turn
from trader.errors import BrokerError

UNANSWERED_S = 5.0  # real seconds after which IBKR's silence about a new order says something
CHANGING_S = 1.5  # real seconds for which IBKR's picture of a changed order may still be the old one


def in_flight(turn: Turn) -> set[str]:
    """OrderRefs whose absence or size at IBKR proves nothing yet: not answered, or changed a moment ago."""
    view, now = turn.view, turn.moment.real_s
    view.sent_at_s = {ref: at for ref, at in view.sent_at_s.items() if now - at < UNANSWERED_S}
    view.changed_at_s = {ref: at for ref, at in view.changed_at_s.items() if now - at < CHANGING_S}
    unanswered = {ref for ref in view.sent_at_s if _unanswered(turn, ref)}
    return unanswered | set(view.changed_at_s) | {partial.stop_ref for partial in view.partials.values()}


def _unanswered(turn: Turn, order_ref: str) -> bool:
    order = turn.state.orders.get(order_ref)
    return order is not None and order.status == "intended"


def send(turn: Turn, tickets: Sequence[OrderTicket], intents: Sequence[Event], text: str) -> None:
    """Record the intents and have the tickets written once they are durable. text: for the log."""
    if turn.settings.dry_run:
        _say_instead(turn, tickets[0].symbol, intents, text)
        return
    new = tuple(intent.order.order_ref for intent in intents if isinstance(intent, OrderIntended))
    view = turn.view
    view.activity += 1
    view.sent_at_s |= dict.fromkeys(new, math.inf)  # until it is written, IBKR cannot know of it
    view.changed_at_s |= {ticket.order_ref: math.inf for ticket in tickets if ticket.order_ref not in new}
    turn.record(*intents)
    turn.do(SendOrders(tuple(tickets), new, text))


def take_sent(turn: Turn, message: OrdersSent) -> None:
    """The orders are on the wire: from now on IBKR's silence about them counts."""
    view, now = turn.view, turn.moment.real_s
    view.activity += 1
    view.sent_at_s |= {ref: now for ref in message.new if ref in view.sent_at_s}
    view.changed_at_s |= {ref: now for ref in message.changed if ref in view.changed_at_s}


def take_not_sent(turn: Turn, message: OrdersNotSent) -> None:
    """The connection was down: the next comparison proves that the orders were never sent."""
    view = turn.view
    view.activity += 1
    for ref in (*message.new, *message.changed):
        view.sent_at_s.pop(ref, None)
        view.changed_at_s.pop(ref, None)
    for symbol, partial in list(view.partials.items()):
        if partial.stop_ref in message.changed:
            del view.partials[symbol]
    turn.log("error", f"{message.symbol}: {message.error}")
    turn.alert(message.symbol, message.error)
    view.comparison.wanted = True


def cancel(turn: Turn, order_id: int, order_ref: str, symbol: str) -> None:
    """Have an order of this client cancelled; a dry run cancels nothing."""
    if not turn.settings.dry_run:
        turn.view.changed_at_s[order_ref] = turn.moment.real_s
        turn.do(SendCancel(order_id, symbol))


def cancel_order(turn: Turn, order: Order, why: str) -> None:
    """Cancel one of our orders, and say why."""
    turn.log("info", f"{order.symbol}: cancelling {order.order_ref}: {why}.")
    cancel(turn, order.order_id, order.order_ref, order.symbol)


def next_token(turn: Turn) -> str:
    """The part of an order reference that no earlier run, and no other order of this one, can have used.

    It counts real milliseconds, never the session's clock, which a replayed day repeats; the run's two random
    characters guard against a system clock that was set back.
    """
    turn.view.last_token = max(turn.view.last_token + 1, turn.moment.wall_ms - EPOCH_MS)
    return make_token(turn.view.last_token, turn.settings.run_name)


def next_order_id(turn: Turn) -> int:
    """An order id above everything that this account's state or IBKR has used. Raises BrokerError without one."""
    if turn.moment.free_order_id == 0:
        raise BrokerError(turn.moment.no_order_id or "There is no connection to IBKR.", "It is tried again.")
    return max(turn.moment.free_order_id, turn.state.order_id_high + 1)


def new_order(
    turn: Turn,
    ref: str,
    role: Role,
    symbol: str,
    con_id: int,
    trade_id: str,
    order_id: int,
    quantity: int,
    action: Action,
    reason: OrderReason,
) -> Order:
    """An order as it is intended now."""
    return Order(
        order_ref=ref,
        role=role,
        symbol=symbol,
        con_id=con_id,
        action=action,
        quantity=quantity,
        order_type="STP" if role == "stop" else "MKT",
        trade_id=trade_id,
        order_id=order_id,
        client_id=turn.settings.client_id,
        intended_at=turn.moment.now,
        reason=reason,
    )


def closing_order(
    turn: Turn,
    position: Position,
    role: Literal["stop", "exit"],
    quantity: int,
    action: Action,
    reason: OrderReason,
) -> Order:
    """A new stop or exit of a position. Raises BrokerError where no order id is to be had."""
    ref = closing_ref(position.trade_id, role, position.symbol, position.side, position.attempt, next_token(turn))
    order_id = next_order_id(turn)
    return new_order(
        turn, ref, role, position.symbol, position.con_id, position.trade_id, order_id, quantity, action, reason
    )


def ticket(turn: Turn, order: Order, *, parent_id: int = 0, transmit: bool = True) -> OrderTicket:
    """A new order as it is sent."""
    return OrderTicket(
        order_id=order.order_id,
        order_ref=order.order_ref,
        account=turn.settings.account,
        symbol=order.symbol,
        con_id=order.con_id,
        action=order.action,
        quantity=order.quantity,
        order_type="STP" if order.role == "stop" else "MKT",
        stop_price=order.stop_price,
        tif="GTC" if order.role == "stop" else "DAY",
        parent_id=parent_id,
        transmit=transmit,
    )


def modified(
    turn: Turn, stop: Order, quantity: int, price: float, reason: OrderReason, *, closing: bool = False
) -> OrderModifyIntended:
    """The intent to change a stop. quantity: shares that it filled already included."""
    return OrderModifyIntended(
        time=turn.moment.now,
        order_ref=stop.order_ref,
        quantity=quantity,
        stop_price=price,
        reason=reason,
        closing=closing,
    )


def send_modified(turn: Turn, stop: Order, change: OrderModifyIntended, text: str, order_id: int = 0) -> None:
    """Send the change of a stop. order_id: where IBKR lists it under another one than the state."""
    parent = turn.state.orders.get(stop.parent_ref)
    changed = OrderTicket(
        order_id=order_id or stop.order_id,
        order_ref=stop.order_ref,
        account=turn.settings.account,
        symbol=stop.symbol,
        con_id=stop.con_id,
        action=stop.action,
        quantity=change.quantity,
        order_type="STP",
        stop_price=change.stop_price,
        tif="GTC",
        parent_id=parent.order_id if parent is not None and parent.is_live else 0,
    )
    send(turn, [changed], [change], text)


def _say_instead(turn: Turn, symbol: str, intents: Sequence[Event], text: str) -> None:
    """What a dry run would send; once, though it is due again with each price for as long as it is not done."""
    if isinstance(intents[-1], SignalTaken) or turn.view.dry_run_said.get(symbol) != text:
        turn.log("info", f"Dry run, not sent. {text}.")
    turn.view.dry_run_said[symbol] = text
