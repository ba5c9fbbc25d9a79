"""Executions and completed orders of the day before, for the quirk `yesterday`. They are only answered.

A gateway has one trading day. So those of the day before are copies of today's, with ids of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time

from paper_gateway.execution_log import Execution
from paper_gateway.market import EASTERN, ContractInfo
from paper_gateway.market.trading_days import previous_trading_day
from paper_gateway.orders import Order, Status

PERM_ID_SHIFT = 1_000_000_000
EXEC_ID_BIT = 0x80000000


@dataclass(frozen=True, slots=True)
class Yesterday:
    """What the answers have besides today's."""

    executions: tuple[Execution, ...] = ()
    orders: tuple[Order, ...] = ()


def day_before(
    trading_date: date,
    executions: Iterable[Execution],
    completed: Iterable[Order],
    account: str,
    stock: ContractInfo,
) -> Yesterday:
    """Today's executions and completed orders as of the trading day before, and two orders without executions.

    account, stock: of these two, of which one was filled and one cancelled.
    """
    day = previous_trading_day(trading_date)
    orders: dict[int, Order] = {}
    return Yesterday(
        tuple(_execution(one, day, orders) for one in executions),
        (
            *(_order(one, day, orders) for one in completed),
            _invented(day, account, stock, 1, Status.FILLED),
            _invented(day, account, stock, 2, Status.CANCELLED),
        ),
    )


def _execution(one: Execution, day: date, orders: dict[int, Order]) -> Execution:
    instance, _, rest = one.exec_id.partition(".")
    return replace(
        one,
        exec_id=f"{int(instance, 16) ^ EXEC_ID_BIT:08x}.{rest}",
        order=_order(one.order, day, orders),
        time=_on(day, one.time),
    )


def _order(order: Order, day: date, known: dict[int, Order]) -> Order:
    """The copy of an order; the same for all its executions."""
    if order.perm_id not in known:
        known[order.perm_id] = replace(
            order,
            perm_id=order.perm_id - PERM_ID_SHIFT,
            parent=_order(order.parent, day, known) if order.parent else None,
            children=[],
            accepted_at=_on(day, order.accepted_at),
            completed_at=_on(day, order.completed_at) if order.completed_at else None,
        )
    return known[order.perm_id]


def _invented(day: date, account: str, stock: ContractInfo, number: int, status: Status) -> Order:
    filled = 100 if status is Status.FILLED else 0
    moment = datetime.combine(day, time(10, number), EASTERN)
    return Order(
        perm_id=PERM_ID_SHIFT + number,
        client_id=0,
        order_id=0,
        account=account,
        symbol=stock.symbol,
        con_id=stock.con_id,
        exchange="SMART",
        trading_class=stock.trading_class,
        action="BUY",
        quantity=100,
        order_type="LMT",
        limit_price=1.0,
        aux_price=None,
        tif="DAY",
        oca_group="",
        oca_type=3,
        order_ref=f"yesterday-{number}",
        outside_rth=False,
        trailing_percent=None,
        trail_stop=None,
        accepted_at=moment,
        status=status,
        filled=filled,
        shares_value=float(filled),
        completed_at=moment,
        completed_text=f"Filled Size: {filled}" if filled else "Cancelled by Trader",
    )


def _on(day: date, moment: datetime) -> datetime:
    return datetime.combine(day, moment.timetz())
