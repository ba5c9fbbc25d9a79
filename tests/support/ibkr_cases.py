"""Helpers of the broker's tests on a real gateway: a connection, its next fact of a kind, orders to send."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec
from queued_broker import QueuedBroker

from paper_gateway.testing import RunningGateway
from trader.broker.port import (
    AccountValues,
    BrokerExecution,
    BrokerOrder,
    BrokerPosition,
    CommissionFact,
    ExecutionFact,
    OrderFact,
    OrderTicket,
)

CLIENT_ID = 2001
ACCOUNT = "DU1234567"
BOUND_S = 5.0
F = TypeVar("F")


@asynccontextmanager
async def connected(
    gateway: RunningGateway, client_id: int = CLIENT_ID, answer_timeout_s: float = 4.0
) -> AsyncIterator[QueuedBroker]:
    broker = QueuedBroker("127.0.0.1", gateway.port, client_id, answer_timeout_s=answer_timeout_s)
    await broker.connect()
    try:
        yield broker
    finally:
        await broker.disconnect()


async def fact(broker: QueuedBroker, kind: type[F], wanted: Callable[[F], bool] = lambda _: True) -> F:
    """The next fact of this kind that is wanted; those before it are passed over."""
    async with asyncio.timeout(BOUND_S):
        while True:
            found = await broker.queue.get()
            if isinstance(found, kind) and wanted(found):
                return found


async def order_fact(broker: QueuedBroker, order_ref: str, *statuses: str) -> BrokerOrder:
    """The next fact of this order with one of the statuses."""
    found = await fact(broker, OrderFact, lambda f: f.order.order_ref == order_ref and f.order.status in statuses)
    return found.order


class Complete(msgspec.Struct):
    """A snapshot of which every part is known."""

    account: str
    positions: tuple[BrokerPosition, ...]
    open_orders: tuple[BrokerOrder, ...]
    completed_orders: tuple[BrokerOrder, ...]
    executions: tuple[BrokerExecution, ...]
    values: AccountValues

    def quantity(self, symbol: str) -> int:
        return sum(p.quantity for p in self.positions if p.symbol == symbol)


async def complete(broker: QueuedBroker, account: str = ACCOUNT) -> Complete:
    answer = await broker.snapshot(account)
    assert answer.missing == (), answer
    return msgspec.convert(answer, Complete, from_attributes=True)


def ticket(order_id: int, ref: str, action: str = "BUY", **given: object) -> OrderTicket:
    values = {"symbol": "TSLA", "con_id": 0, "quantity": 100, "order_type": "MKT"} | given
    return OrderTicket(order_id=order_id, order_ref=ref, account=ACCOUNT, action=action, **values)  # type: ignore[arg-type]


def stop(order_id: int, ref: str, price: float, **given: object) -> OrderTicket:
    return ticket(order_id, ref, "SELL", order_type="STP", stop_price=price, tif="GTC", **given)


async def resting_stop(broker: QueuedBroker, ref: str = "stop-1") -> BrokerOrder:
    order_id = broker.free_order_id()
    broker.send([stop(order_id, ref, 300.0)])
    return await order_fact(broker, ref, "PreSubmitted")


async def bought(broker: QueuedBroker, ref: str = "entry-1") -> ExecutionFact:
    broker.send([ticket(broker.free_order_id(), ref)])
    execution = await fact(broker, ExecutionFact)
    await fact(broker, CommissionFact)
    return execution
