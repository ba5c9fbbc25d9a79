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


class OrderLife(msgspec.Struct, kw_only=True):
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


def order_lives(entries: Iterable[Entry]) -> list[OrderLife]:
    """Every order in the records, in the order of their intents."""
    lives = _Lives()
    for entry in entries:
        lives.add(entry)
    return list(lives.by_ref.values())


class _Lives:
    """Takes the records in order and updates the order that each is about."""

    def __init__(self) -> None:
        self.by_ref: dict[str, OrderLife] = {}
        self._by_exec: dict[str, OrderLife] = {}
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
        ) and (life := self.by_ref.get(event.order_ref)):
            if isinstance(event, ev.OrderModifyIntended):
                _modify(life, event)
            elif isinstance(event, ev.OrderAcknowledged):
                _acknowledge(life, event)
            elif isinstance(event, ev.OrderChanged):
                _change(life, event)
            elif isinstance(event, ev.OrderCancelSent):
                life.errors.append(cancel_text(event.reason))
            else:
                self._fill(life, event)
            _step(life, entry, _step_text(event))

    def _begin(self, entry: Entry, order: Order, *, recovered: bool) -> None:
        if order.order_ref in self.by_ref:  # announced again after the operator restored a checkpoint
            life = self.by_ref[order.order_ref]
        else:
            life = self.by_ref[order.order_ref] = _life(order, self._session_id, recovered=recovered)
        where = f" at {order.stop_price:.2f}" if order.stop_price is not None else ""
        _step(life, entry, f"{order.action} {order.quantity} {order.symbol} {order.order_type}{where}")

    def _fill(self, life: OrderLife, event: ev.ExecutionSeen) -> None:
        base = split_exec_id(event.exec_id)[0]
        known = next((fill for fill in life.fills if split_exec_id(fill.exec_id)[0] == base), None)
        if known is None:
            known = OrderFill(exec_id=event.exec_id, time=event.executed_at, shares=0, price=0.0)
            life.fills.append(known)
        elif event.exec_id < known.exec_id:
            return  # an earlier revision, reported again
        known.exec_id, known.shares, known.price = event.exec_id, event.shares, event.price
        self._by_exec[base] = life
        _count(life)
        if life.status not in _FINAL and life.filled >= life.quantity:
            life.status, life.ended_at = "filled", event.executed_at
        elif life.filled >= life.quantity:
            life.status = "filled"  # only executions tell what filled, whatever status came before

    def _commission(self, entry: Entry, event: ev.CommissionSeen) -> None:
        base = split_exec_id(event.exec_id)[0]
        life = self._by_exec.get(base)
        if life is None:
            return
        for fill in life.fills:
            if split_exec_id(fill.exec_id)[0] == base:
                fill.commission = event.commission
        _count(life)
        _step(life, entry, f"commission {event.commission:.2f} for {event.exec_id}")


def _life(order: Order, session_id: str, *, recovered: bool) -> OrderLife:
    return OrderLife(
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


def _modify(life: OrderLife, event: ev.OrderModifyIntended) -> None:
    life.quantity, life.stop_price, life.reason = event.quantity, event.stop_price, event.reason


def _acknowledge(life: OrderLife, event: ev.OrderAcknowledged) -> None:
    if life.perm_id not in (0, event.perm_id):
        life.errors.append(f"a second permId {event.perm_id} under one orderRef")
        return
    life.perm_id, life.order_id = event.perm_id, event.order_id or life.order_id
    life.acknowledged_at = life.acknowledged_at or event.time
    if life.status in ("intended", "unknown"):
        life.status = "working"


def _change(life: OrderLife, event: ev.OrderChanged) -> None:
    life.broker_status = event.broker_status or life.broker_status
    if event.text:
        life.errors.append(event.text)
    if life.status == "filled" and life.filled >= life.quantity:
        return
    life.status = event.status
    life.ended_at = event.time if event.status in _FINAL else None


def _count(life: OrderLife) -> None:
    life.filled = sum(fill.shares for fill in life.fills)
    value = sum(fill.shares * fill.price for fill in life.fills)
    life.mean_price = value / life.filled if life.filled else None
    life.commission = round(sum(fill.commission or 0.0 for fill in life.fills), 4)
    life.first_fill_at = min(fill.time for fill in life.fills)


def _step(life: OrderLife, entry: Entry, text: str) -> None:
    event = entry.event
    life.steps.append(OrderStep(entry.sequence, event.time, entry.recorded_at, event.kind(), text))


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
    return f"{event.side} {event.shares} at {event.price:.2f} ({event.exec_id})"
