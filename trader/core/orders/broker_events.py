"""IBKR's reports on orders and executions into events. Decides nothing and sends nothing."""

from collections.abc import Iterator
from datetime import datetime

from state.domain.events import (
    CommissionSeen,
    Event,
    ExecutionSeen,
    OrderAcknowledged,
    OrderChanged,
    OrderModified,
)
from state.domain.executions import is_new_execution, split_exec_id, trade_of_manual_execution
from state.domain.model import Order, TraderState
from trader.broker.port import CANCELLED_STATUSES, BrokerExecution, BrokerOrder, CommissionFact
from trader.core.numbers import same_price
from trader.core.orders.order_life import OrderSignal, next_status
from trader.time_zones import EASTERN


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
    signal: OrderSignal = "acknowledged"
    if order.status in CANCELLED_STATUSES:
        signal = "cancelled"
    elif order.status == "Inactive":
        signal = "inactive"
    elif order.status == "Filled":  # only executions record fills (f17)
        return
    if known.is_live and order.status != known.broker_status:
        yield _changed(known, signal, order, now)


def terms_event(state: TraderState, order: BrokerOrder, now: datetime) -> OrderModified | None:
    """The event of an openOrder message that shows a stop with other terms than the state has; None if it does not.

    While a change is under way the former terms say nothing.
    """
    known = state.orders.get(order.order_ref)
    if known is None or known.role != "stop" or not known.is_live or order.is_closed or order.stop_price is None:
        return None
    if known.change is not None and not shows(order, known.change.quantity, known.change.stop_price):
        return None
    if known.change is None and known.stop_price is not None and shows(order, known.quantity, known.stop_price):
        return None
    wanted = known.change.stop_price if known.change is not None else order.stop_price
    return OrderModified(time=now, order_ref=known.order_ref, quantity=order.quantity, stop_price=wanted)


def shows(order: BrokerOrder, quantity: int, stop_price: float) -> bool:
    """Whether IBKR shows the stop with this size and price."""
    return order.quantity == quantity and same_price(order.stop_price, stop_price)


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


def find_order(state: TraderState, order_id: int) -> Order | None:
    """The own order with this order id, or None. IB Gateway may reissue ids: the newest order counts (p03)."""
    found = [order for order in state.orders.values() if order.order_id == order_id]
    return found[-1] if found else None


def _changed(known: Order, signal: OrderSignal, order: BrokerOrder, now: datetime) -> OrderChanged:
    status = next_status(known.status, signal)
    assert status != "intended"
    return OrderChanged(
        time=now,
        order_ref=known.order_ref,
        status=status,
        broker_status=order.status,
        text=order.text,
        refusal="inactive" if signal == "inactive" else None,
    )
