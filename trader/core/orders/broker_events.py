"""IBKR's reports on orders and executions into events. Decides nothing and sends nothing."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from state.domain.events import (
    BrokerErrorCounted,
    CommissionSeen,
    Event,
    ExecutionSeen,
    OrderAcknowledged,
    OrderChanged,
)
from state.domain.executions import is_new_execution, split_exec_id, trade_of_manual_execution
from state.domain.model import Order, RefusalKind, TraderState
from trader.broker.port import CANCELLED_STATUSES, BrokerExecution, BrokerOrder, CommissionFact, MessageFact
from trader.time_zones import EASTERN

# Message codes with which IBKR refuses an order. After any other code a comparison finds out what became of it.
REFUSALS = frozenset({103, 110, 200, 201, 203, 321, 388, 404, 434, 460})
CANCELLATION = 202


def order_events(state: TraderState, order: BrokerOrder, now: datetime) -> Iterator[Event]:
    """The events of an openOrder or orderStatus message; none for an order that the state does not have."""
    known = state.orders.get(order.order_ref)
    if known is None:
        return
    other = order.perm_id and order.perm_id != known.perm_id and order.perm_id not in known.other_perm_ids
    if other or (order.perm_id and known.status in ("intended", "unknown")):
        yield OrderAcknowledged(
            time=now, order_ref=known.order_ref, perm_id=order.perm_id, order_id=order.order_id or known.order_id
        )
    if order.status == known.broker_status:
        return
    if order.status in CANCELLED_STATUSES:
        yield _changed(known, "cancelled", order, now)
    elif order.status == "Inactive":
        yield _changed(known, "rejected", order, now, refusal="inactive")
    elif order.status != "Filled" and known.is_live:  # only executions record fills (f17)
        yield _changed(known, "working", order, now)


def execution_event(state: TraderState, execution: BrokerExecution, now: datetime) -> ExecutionSeen | None:
    """The event of an execution; None if it is known, or belongs to no known order or position."""
    if not is_new_execution(state, execution.exec_id):
        return None
    trade_id = ""
    if execution.order_ref not in state.orders:
        trade_id = trade_of_manual_execution(state, execution.symbol, execution.time)
        if not trade_id and split_exec_id(execution.exec_id)[0] not in state.executions:
            return None
    return ExecutionSeen(
        time=now,
        exec_id=execution.exec_id,
        order_ref=execution.order_ref,
        symbol=execution.symbol,
        con_id=execution.con_id,
        side=execution.side,
        shares=execution.shares,
        price=execution.price,
        executed_at=execution.time.astimezone(EASTERN),  # session time is US Eastern
        perm_id=execution.perm_id,
        trade_id=trade_id,
    )


def commission_event(state: TraderState, fact: CommissionFact, now: datetime) -> CommissionSeen | None:
    """The event of a commission of a known execution; None if it is recorded already."""
    execution = state.executions.get(split_exec_id(fact.exec_id)[0])
    if execution is None or execution.exec_id != fact.exec_id or execution.commission == fact.commission:
        return None
    return CommissionSeen(time=now, exec_id=fact.exec_id, commission=fact.commission)


def message_events(state: TraderState, fact: MessageFact, now: datetime) -> Iterator[Event]:
    """The events of an error about an own order. Only a code in REFUSALS ends it; others need a comparison."""
    order = find_order(state, fact.order_id)
    if order is None or not order.is_live:
        return
    if fact.code == CANCELLATION:
        yield OrderChanged(time=now, order_ref=order.order_ref, status="cancelled", text=fact.text)
    elif fact.code in REFUSALS:
        if order.status == "intended":
            text = f"{fact.code}: {fact.text}"
            yield OrderChanged(
                time=now,
                order_ref=order.order_ref,
                status="rejected",
                text=text,
                refusal="message",
                refusal_code=fact.code,
            )
        yield BrokerErrorCounted(time=now, text=f"{order.symbol}: {fact.code} {fact.text}")


def find_order(state: TraderState, order_id: int) -> Order | None:
    """The own order with this order id, or None. IB Gateway may reissue ids: the newest order counts (p03)."""
    found = [order for order in state.orders.values() if order.order_id == order_id]
    return found[-1] if found else None


def _changed(
    known: Order,
    status: Literal["working", "cancelled", "rejected"],
    order: BrokerOrder,
    now: datetime,
    refusal: RefusalKind | None = None,
) -> OrderChanged:
    return OrderChanged(
        time=now,
        order_ref=known.order_ref,
        status=status,
        broker_status=order.status,
        text=order.text,
        refusal=refusal,
    )
