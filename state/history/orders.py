"""Every order from its intent to its last status, from the journal's records. Pure.

Only events are used, not the state. So the history of an order is complete also where another part of the journal
is damaged, or where the operator restored a checkpoint.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from state.domain import events as ev
from state.domain.apply import cancel_text
from state.domain.executions import split_exec_id
from state.domain.model import Order
from state.history.trades import Entry

_FINAL = ("filled", "cancelled", "rejected", "not_sent")


class OrderStep(msgspec.Struct, frozen=True):
    """One event of an order. time: the session's clock; recorded_at: real time, ISO 8601."""

    sequence: int
    time: datetime
    recorded_at: str
    what: str  # the event's name
    text: str


class OrderFill(msgspec.Struct, kw_only=True):
    """One execution in its last revision."""

    exec_id: str
    time: datetime
    shares: int
    price: float
    commission: float | None = None


class OrderHistory(msgspec.Struct, kw_only=True):
    """One own order. Times are of the session's clock; quantity and stop_price as last intended."""

    order_ref: str
    session_id: str
    symbol: str
    role: str
    action: str
    order_type: str
    quantity: int
    stop_price: float | None
    trade_id: str
    parent_ref: str
    reason: str
    order_id: int
    client_id: int
    perm_id: int
    con_id: int
    status: str
    broker_status: str
    filled: int
    mean_price: float | None
    commission: float
    intended_at: datetime
    acknowledged_at: datetime | None
    first_fill_at: datetime | None
    ended_at: datetime | None
    errors: list[str]
    recovered: bool  # rebuilt from IBKR's records, as its intent was lost
    fills: list[OrderFill]
    steps: list[OrderStep]


def order_histories(entries: Iterable[Entry]) -> list[OrderHistory]:
    """Every order in the records, in the order of their intents."""
    histories = _Histories()
    for entry in entries:
        histories.add(entry)
    for history in histories.by_ref.values():
        if history.fills:
            _count(history)
    return list(histories.by_ref.values())


class _Histories:
    """Takes the records in order and updates the order that each is about."""

    def __init__(self) -> None:
        self.by_ref: dict[str, OrderHistory] = {}
        self._fills: dict[str, tuple[OrderHistory, OrderFill]] = {}  # by execution id without the revision
        self._session_id = ""

    def add(self, entry: Entry) -> None:
        event = entry.event
        if isinstance(event, ev.SessionStarted):
            self._session_id = event.session_id
        elif isinstance(event, ev.OrderIntended | ev.OrderRecovered):
            self._begin(entry, event.order, recovered=isinstance(event, ev.OrderRecovered))
        elif isinstance(event, ev.CommissionSeen):
            self._commission(entry, event)
        elif isinstance(
            event,
            ev.OrderModifyIntended | ev.OrderAcknowledged | ev.OrderChanged | ev.OrderCancelSent | ev.ExecutionSeen,
        ) and (history := self.by_ref.get(event.order_ref)):
            if isinstance(event, ev.OrderModifyIntended):
                _modify(history, event)
            elif isinstance(event, ev.OrderAcknowledged):
                _acknowledge(history, event)
            elif isinstance(event, ev.OrderChanged):
                _change(history, event)
            elif isinstance(event, ev.OrderCancelSent):
                history.errors.append(cancel_text(event.reason))
            else:
                self._fill(history, event)
            _step(history, entry, _step_text(event))

    def _begin(self, entry: Entry, order: Order, *, recovered: bool) -> None:
        if order.order_ref in self.by_ref:  # announced again after the operator restored a checkpoint
            history = self.by_ref[order.order_ref]
        else:
            history = self.by_ref[order.order_ref] = _new_history(order, self._session_id, recovered=recovered)
        where = f" at {order.stop_price:.2f}" if order.stop_price is not None else ""
        _step(history, entry, f"{order.action} {order.quantity} {order.symbol} {order.order_type}{where}")

    def _fill(self, history: OrderHistory, event: ev.ExecutionSeen) -> None:
        base = split_exec_id(event.exec_id)[0]
        owner, known = self._fills.get(base, (None, None))
        if known is None or owner is not history:
            known = OrderFill(exec_id=event.exec_id, time=event.executed_at, shares=0, price=0.0)
            history.fills.append(known)
            self._fills[base] = history, known
        elif event.exec_id < known.exec_id:
            return  # an earlier revision, reported again
        history.filled += event.shares - known.shares
        known.exec_id, known.shares, known.price = event.exec_id, event.shares, event.price
        if event.commission is not None:
            known.commission = event.commission
        if history.status not in _FINAL and history.filled >= history.quantity:
            history.status, history.ended_at = "filled", event.executed_at
        elif history.filled >= history.quantity:
            history.status = "filled"  # only executions tell what filled, whatever status came before

    def _commission(self, entry: Entry, event: ev.CommissionSeen) -> None:
        base = split_exec_id(event.exec_id)[0]
        if base not in self._fills:
            return
        history, fill = self._fills[base]
        fill.commission = event.commission
        _step(history, entry, f"commission {event.commission:.2f} for {event.exec_id}")


def _new_history(order: Order, session_id: str, *, recovered: bool) -> OrderHistory:
    return OrderHistory(
        order_ref=order.order_ref,
        session_id=session_id,
        symbol=order.symbol,
        role=order.role,
        action=order.action,
        order_type=order.order_type,
        quantity=order.quantity,
        stop_price=order.stop_price,
        trade_id=order.trade_id,
        parent_ref=order.parent_ref,
        reason=order.reason,
        order_id=order.order_id,
        client_id=order.client_id,
        perm_id=order.perm_id,
        con_id=order.con_id,
        status=order.status,
        broker_status=order.broker_status,
        filled=0,
        mean_price=None,
        commission=0.0,
        intended_at=order.intended_at,
        acknowledged_at=None,
        first_fill_at=None,
        ended_at=None,
        errors=[],
        recovered=recovered,
        fills=[],
        steps=[],
    )


def _modify(history: OrderHistory, event: ev.OrderModifyIntended) -> None:
    history.quantity, history.stop_price, history.reason = event.quantity, event.stop_price, event.reason


def _acknowledge(history: OrderHistory, event: ev.OrderAcknowledged) -> None:
    if history.perm_id not in (0, event.perm_id):
        history.errors.append(f"a second permId {event.perm_id} under one orderRef")
        return
    history.perm_id, history.order_id = event.perm_id, event.order_id or history.order_id
    history.acknowledged_at = history.acknowledged_at or event.time
    if history.status in ("intended", "unknown"):
        history.status = "working"


def _change(history: OrderHistory, event: ev.OrderChanged) -> None:
    history.broker_status = event.broker_status or history.broker_status
    if event.text:
        history.errors.append(event.text)
    if history.status == "filled" and history.filled >= history.quantity:
        return
    history.status = event.status
    history.ended_at = event.time if event.status in _FINAL else None


def _count(history: OrderHistory) -> None:
    history.filled = sum(fill.shares for fill in history.fills)
    value = sum(fill.shares * fill.price for fill in history.fills)
    history.mean_price = value / history.filled if history.filled else None
    history.commission = round(sum(fill.commission or 0.0 for fill in history.fills), 4)
    history.first_fill_at = min(fill.time for fill in history.fills)


def _step(history: OrderHistory, entry: Entry, text: str) -> None:
    event = entry.event
    history.steps.append(OrderStep(entry.sequence, event.time, entry.recorded_at, event.kind(), text))


def _step_text(
    event: ev.OrderModifyIntended | ev.OrderAcknowledged | ev.OrderChanged | ev.OrderCancelSent | ev.ExecutionSeen,
) -> str:
    if isinstance(event, ev.OrderModifyIntended):
        return f"to {event.quantity} shares, stop {event.stop_price:.2f} ({event.reason})"
    if isinstance(event, ev.OrderAcknowledged):
        return f"permId {event.perm_id}, order id {event.order_id}"
    if isinstance(event, ev.OrderChanged):
        return " ".join(part for part in (event.status, event.broker_status, event.text) if part)
    if isinstance(event, ev.OrderCancelSent):
        return cancel_text(event.reason)
    cost = f", commission {event.commission:.2f}" if event.commission is not None else ""
    return f"{event.side} {event.shares} at {event.price:.2f} ({event.exec_id}){cost}"
