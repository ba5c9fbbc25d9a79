"""What IBKR tells about orders and executions, into events of the books. Decides nothing and sends nothing."""

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

# Codes that say that IBKR did not take the order (message codes of the TWS API); anything else is asked about.
REFUSALS = frozenset({103, 110, 200, 201, 203, 321, 388, 404, 434, 460})
CANCELLATION = 202


def order_events(state: TraderState, order: BrokerOrder, now: datetime) -> Iterator[Event]:
    """An openOrder or orderStatus of an order of ours; nothing for foreign ones."""
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
    elif order.status != "Filled" and known.is_live:  # what filled is known from executions alone (f17)
        yield _changed(known, "working", order, now)


def execution_event(state: TraderState, execution: BrokerExecution, now: datetime) -> ExecutionSeen | None:
    """An execution that the books do not hold and that concerns them, or None."""
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
        executed_at=execution.time.astimezone(EASTERN),  # the day is read in the exchange's time
        perm_id=execution.perm_id,
        trade_id=trade_id,
    )


def commission_event(state: TraderState, fact: CommissionFact, now: datetime) -> CommissionSeen | None:
    """A commission that joins an execution of the books, once."""
    execution = state.executions.get(split_exec_id(fact.exec_id)[0])
    if execution is None or execution.exec_id != fact.exec_id or execution.commission == fact.commission:
        return None
    return CommissionSeen(time=now, exec_id=fact.exec_id, commission=fact.commission)


def message_events(state: TraderState, fact: MessageFact, now: datetime) -> Iterator[Event]:
    """An error about an order of ours. Only a clear refusal ends it; anything else has to be asked about."""
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
    """Our live order under an order id. Ids may be reissued by the Gateway, so the newest one is meant (p03)."""
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
