"""The only place that sends orders: writes tickets to the socket, and reports to the engine if they were sent."""

import logging
from collections.abc import Callable

from trader.broker.port import Broker
from trader.core.effects import SendCancel, SendOrders
from trader.core.messages import Message, OrdersNotSent, OrdersSent
from trader.errors import BrokerError

_log = logging.getLogger("trader.orders")


class OrderSender:
    """Its methods are called once the intents are durable (invariant 1). put: takes messages for the engine."""

    def __init__(self, broker: Broker, put: Callable[[Message], None]) -> None:
        self._broker = broker
        self._put = put

    def send(self, effect: SendOrders) -> None:
        """Write the tickets in one write; `OrdersSent` or `OrdersNotSent` follows."""
        changed = tuple(ticket.order_ref for ticket in effect.tickets if ticket.order_ref not in effect.new)
        _log.info("%s.", effect.text)
        try:
            self._broker.send(list(effect.tickets))
        except BrokerError as error:
            self._put(OrdersNotSent(effect.tickets[0].symbol, effect.new, changed, str(error)))
        else:
            self._put(OrdersSent(effect.new, changed))

    def cancel(self, effect: SendCancel) -> None:
        """Ask IBKR to cancel. Without a connection the next comparison finds that the order is still live."""
        try:
            self._broker.cancel(effect.order_id)
        except BrokerError as error:
            _log.warning("%s: order %d was not cancelled: %s", effect.symbol, effect.order_id, error)
