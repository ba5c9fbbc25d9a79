"""The only place that sends orders: writes what the core decided to the socket, and tells what became of it."""

import logging
from collections.abc import Callable

from trader.broker.port import Broker
from trader.core.effects import SendCancel, SendOrders
from trader.core.messages import Message, OrdersNotSent, OrdersSent
from trader.errors import BrokerError

_log = logging.getLogger("trader.orders")


class OrderSender:
    """Called once the intents are durable (invariant 1)."""

    def __init__(self, broker: Broker, tell: Callable[[Message], None]) -> None:
        self._broker = broker
        self._tell = tell

    def send(self, effect: SendOrders) -> None:
        """Write the tickets in one go; `OrdersSent` or `OrdersNotSent` follows."""
        changed = tuple(ticket.order_ref for ticket in effect.tickets if ticket.order_ref not in effect.new)
        _log.info("%s.", effect.text)
        try:
            self._broker.send(list(effect.tickets))
        except BrokerError as error:
            self._tell(OrdersNotSent(effect.tickets[0].symbol, effect.new, changed, str(error)))
        else:
            self._tell(OrdersSent(effect.new, changed))

    def cancel(self, effect: SendCancel) -> None:
        """Ask for a cancel; without a connection the next comparison sees that the order is still there."""
        try:
            self._broker.cancel(effect.order_id)
        except BrokerError as error:
            _log.warning("%s: order %d was not cancelled: %s", effect.symbol, effect.order_id, error)
