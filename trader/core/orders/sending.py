"""Intents and tickets: how an order is recorded and sent, and which orders are in flight.

Every order goes through `send`: its intent is an event, and the SendOrders effect waits until that event is durable
(invariant 1).
"""

import math
from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from state.domain.events import Event, OrderIntended, OrderModifyIntended, SignalTaken
from state.domain.model import Action, Order, OrderReason, Position, Role
from trader.broker.port import OrderTicket
from trader.core.effects import SendCancel, SendOrders
from trader.core.messages import OrdersNotSent, OrdersSent
from trader.core.orders.codes import PARENT_UNKNOWN, VALIDATION
from trader.core.orders.order_ref import EPOCH_MS, closing_ref, make_token
from trader.core.turn import Turn
from trader.errors import BrokerError

UNANSWERED_S = 2.0  # real seconds for which IBKR may not list a new order yet
CHANGING_S = 1.5  # real seconds for which IBKR may still report a changed order as it was before


def in_flight(turn: Turn) -> set[str]:
    """OrderRefs whose absence or size at IBKR proves nothing yet: not acknowledged, or changed a moment ago."""
    view, now = turn.view, turn.moment.real_s
    view.sent_at_s = {ref: at for ref, at in view.sent_at_s.items() if _unanswered(turn, ref)}
    view.changed_at_s = {ref: at for ref, at in view.changed_at_s.items() if now - at < CHANGING_S}
    unanswered = {ref for ref, at in view.sent_at_s.items() if now - at < UNANSWERED_S}
    changing = {
        position.closing.order_ref
        for symbol, position in turn.state.positions.items()
        if position.closing is not None and now - view.step_began_s.get(symbol, -math.inf) < UNANSWERED_S
    }
    return (unanswered | set(view.changed_at_s) | changing) - set(view.doubts) - {""}


def notice_silence(turn: Turn) -> None:
    """Have IBKR asked about orders that it has not answered in time."""
    now = turn.moment.real_s
    silent = (ref for ref, at in turn.view.sent_at_s.items() if now - at >= UNANSWERED_S)
    if any(_unanswered(turn, ref) for ref in silent):
        turn.view.comparison.wanted = True


def _unanswered(turn: Turn, order_ref: str) -> bool:
    order = turn.state.orders.get(order_ref)
    return order is not None and order.status == "intended"


def send(turn: Turn, tickets: Sequence[OrderTicket], intents: Sequence[Event], text: str) -> None:
    """Record the intents and have the tickets written once they are durable. text: for the log."""
    if turn.settings.dry_run:
        _log_dry_run(turn, tickets[0].symbol, intents, text)
        return
    new = tuple(intent.order.order_ref for intent in intents if isinstance(intent, OrderIntended))
    view = turn.view
    view.activity += 1
    view.sent_at_s |= dict.fromkeys(new, math.inf)  # in flight at least until it is written
    view.changed_at_s |= {ticket.order_ref: math.inf for ticket in tickets if ticket.order_ref not in new}
    turn.record(*intents)
    turn.do(SendOrders(tuple(tickets), new, text))


def take_sent(turn: Turn, message: OrdersSent) -> None:
    """The orders were written: the time in which IBKR has to acknowledge them starts."""
    view, now = turn.view, turn.moment.real_s
    view.activity += 1
    view.sent_at_s |= {ref: now for ref in message.new if ref in view.sent_at_s}
    view.changed_at_s |= {ref: now for ref in message.changed if ref in view.changed_at_s}


def take_not_sent(turn: Turn, message: OrdersNotSent) -> None:
    """There was no connection: the next comparison records that the orders were not sent."""
    view = turn.view
    view.activity += 1
    for ref in (*message.new, *message.changed):
        view.sent_at_s.pop(ref, None)
        view.changed_at_s.pop(ref, None)
    turn.log("error", f"{message.symbol}: {message.error}")
    turn.alert(message.symbol, message.error)
    view.comparison.wanted = True


def cancel(turn: Turn, order_id: int, order_ref: str, symbol: str) -> None:
    """Cancel an order of this client; a dry run cancels nothing."""
    if not turn.settings.dry_run:
        turn.view.changed_at_s[order_ref] = turn.moment.real_s
        turn.do(SendCancel(order_id, symbol))


def cancel_order(turn: Turn, order: Order, why: str) -> None:
    """Cancel an own order. why: for the log."""
    turn.log("info", f"{order.symbol}: cancelling {order.order_ref}: {why}.")
    cancel(turn, order.order_id, order.order_ref, order.symbol)


def next_token(turn: Turn) -> str:
    """The unique part of an order reference, not used by an earlier run or another order of this one.

    It counts real milliseconds and not session time, which a replayed day repeats. The two random characters of the
    run make it unique if the computer's clock was set back.
    """
    turn.view.last_token = max(turn.view.last_token + 1, turn.moment.wall_ms - EPOCH_MS)
    return make_token(turn.view.last_token, turn.settings.run_name)


def next_order_id(turn: Turn) -> int:
    """An order id above every one that the state or IBKR has used. Raises BrokerError if there is none."""
    if turn.moment.free_order_id == 0:
        raise BrokerError(turn.moment.no_order_id or "There is no connection to IBKR.", "The trader tries again.")
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
    """An order of this trader with its intent's time, type and client id filled in."""
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
    """A new stop or exit of a position. Raises BrokerError if there is no order id."""
    ref = closing_ref(position.trade_id, role, position.symbol, position.side, position.attempt, next_token(turn))
    order_id = next_order_id(turn)
    return new_order(
        turn, ref, role, position.symbol, position.con_id, position.trade_id, order_id, quantity, action, reason
    )


def ticket(turn: Turn, order: Order, *, parent_id: int = 0, transmit: bool = True) -> OrderTicket:
    """The ticket of a new order."""
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
    """The intent to change a stop. quantity: including what it has filled."""
    return OrderModifyIntended(
        time=turn.moment.now,
        order_ref=stop.order_ref,
        quantity=quantity,
        stop_price=price,
        reason=reason,
        closing=closing,
        awaited=True,
    )


def send_modified(turn: Turn, stop: Order, change: OrderModifyIntended, text: str) -> None:
    """Send the change of a stop, built from the order as IBKR reported it last.

    IBKR refuses a change that names another group, parent or time in force than it holds (codes 10326, 10327,
    10341, 462). The parent is left out once it was refused as unknown (135, or 321).
    """
    reported = turn.view.reported.get(stop.order_ref)
    parent = turn.state.orders.get(stop.parent_ref)
    parent_id = parent.order_id if parent is not None and parent.is_live else 0
    changed = replace(
        ticket(turn, stop, parent_id=parent_id),
        quantity=change.quantity,
        stop_price=change.stop_price,
    )
    if reported is not None:
        unknown_parent = turn.view.refused.get(stop.order_ref) in (PARENT_UNKNOWN, VALIDATION)
        changed = replace(
            changed,
            order_id=reported.order_id or stop.order_id,
            tif=reported.tif or changed.tif,
            parent_id=0 if unknown_parent else reported.parent_id,
            oca_group=reported.oca_group,
            oca_type=reported.oca_type,
        )
    send(turn, [changed], [change], text)


def _log_dry_run(turn: Turn, symbol: str, intents: Sequence[Event], text: str) -> None:
    """Log what a dry run would send. Once: it is decided again at each price, since nothing is ever sent."""
    logged = turn.view.dry_run_logged.setdefault(symbol, set())
    if isinstance(intents[-1], SignalTaken) or text not in logged:
        turn.log("info", f"Dry run, not sent. {text}.")
    logged.add(text)
