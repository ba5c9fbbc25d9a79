"""What IBKR's orders and executions add to the state: the facts, before any decision about share counts.

Executions are recorded in order of time, so that a manual trade joins the position that was open then. An order
that is not open is looked for among executions and completed orders before it is recorded as cancelled or not sent.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import get_args

import msgspec
from msgspec.structs import replace

from state.domain.events import AlertRaised, OrderAcknowledged, OrderChanged, OrderRecovered
from state.domain.model import UNKNOWN_PATH, EntryPlan, Order, OrderReason, PartialReason, TraderState, sign
from trader.broker.port import BrokerExecution, BrokerOrder, BrokerSnapshot, CommissionFact
from trader.core.orders.broker_events import commission_event, execution_event
from trader.core.orders.order_life import OrderSignal, next_status
from trader.core.orders.order_ref import OrderRef, parse_ref
from trader.core.reconciliation.draft import Draft
from trader.core.reconciliation.owners import is_others_execution
from trader.core.sizing import ESTIMATED_RISK, estimated_targets
from trader.core.strategy.ps60.setups import Setup

PARTIALS: tuple[PartialReason, ...] = get_args(PartialReason)  # in the order in which they are taken


class Absences(msgspec.Struct, frozen=True):
    """What an order's absence among the open orders proves.

    in_flight: orderRefs sent so recently that it proves nothing yet. proven: whether it proves that the order is
    gone, where neither a completed order nor an execution does. unproven: takes the symbols of orders of which that
    is not known yet.
    """

    in_flight: Collection[str]
    proven: Callable[[str], bool]
    unproven: set[str]


def record_facts(
    draft: Draft,
    snapshot: BrokerSnapshot,
    setups: Mapping[str, Setup],
    absences: Absences,
    client_id: int,
) -> None:
    """Record every execution and order status that is in the snapshot and not in the state.

    setups: of the scanner, for the pivot and targets of an entry whose plan was lost.
    """
    _recover_unknown_orders(draft, snapshot, setups, client_id)
    unknown = [execution for execution in snapshot.executions or () if not _is_known(draft.state, execution)]
    for execution in sorted(unknown, key=lambda e: _when(draft.state, e)):
        _record_execution(draft, execution, client_id)
        _record_commission(draft, execution)
    if snapshot.open_orders is None:
        return
    _acknowledge_open(draft, snapshot.open_orders)
    if snapshot.executions is not None:
        _conclude_missing(draft, snapshot.open_orders, snapshot.completed_orders, absences)


def _when(state: TraderState, execution: BrokerExecution) -> tuple[datetime, bool, str]:
    """The order in which position accounting adds executions: one that comes last costs least."""
    position = state.positions.get(execution.symbol)
    opening = "SLD" if position is not None and position.side == "SHORT" else "BOT"
    return execution.time, execution.side != opening, execution.exec_id


def _is_known(state: TraderState, execution: BrokerExecution) -> bool:
    """Whether the state has this revision of an execution, with its commission."""
    known = state.executions.get(execution.exec_id.rpartition(".")[0])
    if known is None or known.exec_id != execution.exec_id:
        return False
    return execution.commission is None or known.commission == execution.commission


def _record_execution(draft: Draft, execution: BrokerExecution, client_id: int) -> None:
    if is_others_execution(draft.state.orders, execution, client_id):
        return
    event = execution_event(draft.state, execution, draft.now)
    if event is not None:
        draft.record(replace(event, commission=execution.commission))


def _record_commission(draft: Draft, execution: BrokerExecution) -> None:
    """Record the commission of an execution that was known without it."""
    if execution.commission is None:
        return
    event = commission_event(draft.state, CommissionFact(execution.exec_id, execution.commission), draft.now)
    if event is not None:
        draft.record(event)


class _Reported(msgspec.Struct):
    """What IBKR reports, by orderRef; and the prices of stops, by trade."""

    orders: dict[str, list[BrokerOrder]]
    executions: dict[str, list[BrokerExecution]]
    stop_prices: dict[str, float]


def _reported(snapshot: BrokerSnapshot) -> _Reported:
    found = _Reported({}, {}, {})
    for order in (*(snapshot.open_orders or ()), *(snapshot.completed_orders or ())):
        found.orders.setdefault(order.order_ref, []).append(order)
        ref = parse_ref(order.order_ref)
        if ref is not None and ref.role == "stop" and order.stop_price:
            found.stop_prices.setdefault(ref.trade_token, order.stop_price)
    for execution in snapshot.executions or ():
        found.executions.setdefault(execution.order_ref, []).append(execution)
    return found


def _recover_unknown_orders(
    draft: Draft, snapshot: BrokerSnapshot, setups: Mapping[str, Setup], client_id: int
) -> None:
    """Rebuild own orders that are at IBKR and not in the state, entries first.

    A completed order alone does not tell its client id. Without an execution it has changed nothing.
    """
    own = {order.order_ref for order in snapshot.open_orders or () if order.client_id == client_id}
    own |= {execution.order_ref for execution in snapshot.executions or () if execution.client_id == client_id}
    unknown = [ref for text in own if text not in draft.state.orders and (ref := parse_ref(text)) is not None]
    reported = _reported(snapshot) if unknown else _Reported({}, {}, {})
    for ref in sorted(unknown, key=lambda r: (r.role != "entry", r.text)):
        draft.record(
            OrderRecovered(time=draft.now, order=_rebuilt_order(ref, reported, draft, setups.get(ref.symbol)))
        )


def _rebuilt_order(ref: OrderRef, reported: _Reported, draft: Draft, setup: Setup | None) -> Order:
    orders, executions = reported.orders.get(ref.text, []), reported.executions.get(ref.text, [])
    if orders:
        first = orders[0]
        quantity, con_id, action = max(first.quantity, first.filled, 1), first.con_id, first.action
        order_type, stop_price = first.order_type, first.stop_price
    else:
        quantity, con_id = sum(e.shares for e in executions), executions[0].con_id
        action = "BUY" if executions[0].side == "BOT" else "SELL"
        order_type, stop_price = ("STP" if ref.role == "stop" else "MKT"), None
    source = orders[0] if orders else executions[0]
    return Order(
        order_ref=ref.text,
        role=ref.role,
        symbol=ref.symbol,
        con_id=con_id,
        action=action,
        quantity=quantity,
        order_type=order_type,
        trade_id=ref.trade_id,
        order_id=source.order_id,
        client_id=source.client_id,
        perm_id=source.perm_id,
        intended_at=draft.now,
        stop_price=stop_price,
        parent_ref=ref.trade_id if ref.role == "stop" else "",
        reason=_likely_reason(ref, draft),
        plan=_estimated_plan(ref, reported, setup) if ref.role == "entry" else None,
        status="working",
    )


def _likely_reason(ref: OrderRef, draft: Draft) -> OrderReason:
    """The likely reason of a rebuilt order. A trade's first exits are its partials, in order of their references.

    So no partial is taken a second time.
    """
    if ref.role != "exit":
        return "entry" if ref.role == "entry" else "stop_loss_hit"
    earlier = [o for o in draft.state.orders_of(ref.trade_id) if o.role == "exit"]
    return PARTIALS[len(earlier)] if len(earlier) < len(PARTIALS) else "exit"


def _estimated_plan(ref: OrderRef, reported: _Reported, setup: Setup | None) -> EntryPlan:
    """The likely plan of a rebuilt entry: the scanner's pivot and targets, and the stop as IBKR has it.

    Without a setup of the symbol, the pivot is the stop price and the targets are multiples of the risk.
    """
    price = next((e.price for e in reported.executions.get(ref.text, ())), 0.0)
    pivot = setup.pivot(ref.side) if setup is not None else 0.0
    known = reported.stop_prices.get(ref.trade_token)
    stop = known or pivot or price * (1 - ESTIMATED_RISK * sign(ref.side)) or 1.0
    price = price or stop
    estimated = estimated_targets(ref.side, price, stop)
    target1, target2, target3 = setup.targets(ref.side) if setup is not None else estimated
    return EntryPlan(
        side=ref.side,
        pivot=pivot or stop,
        target1=target1,
        target2=target2,
        target3=target3,
        stop_price=stop,
        attempt=ref.attempt,
        path=UNKNOWN_PATH,
    )


def _acknowledge_open(draft: Draft, open_orders: Iterable[BrokerOrder]) -> None:
    by_ref: dict[str, list[BrokerOrder]] = {}
    for order in open_orders:
        if order.order_ref in draft.state.orders:
            by_ref.setdefault(order.order_ref, []).append(order)
    for ref, found in by_ref.items():
        known = draft.state.orders[ref]
        for order in found:
            other_perm = order.perm_id and order.perm_id != known.perm_id
            new_perm = other_perm and (order.perm_id not in known.other_perm_ids or len(found) == 1)
            if new_perm or known.status in ("intended", "unknown"):
                draft.record(
                    OrderAcknowledged(time=draft.now, order_ref=ref, perm_id=order.perm_id, order_id=order.order_id)
                )
        working = [order for order in found if order.status != "Inactive"]
        if not known.is_live and working:
            draft.record(
                OrderChanged(
                    time=draft.now,
                    order_ref=ref,
                    status="working",
                    broker_status=found[0].status,
                    text="IBKR lists it among the open orders",
                )
            )
        known = draft.state.orders[ref]
        if len({order.perm_id for order in found}) > 1:
            draft.record(
                AlertRaised(
                    time=draft.now,
                    symbol=known.symbol,
                    key=f"two-perm-ids-{ref}",
                    text=f"Two live orders carry the reference {ref}: permIds "
                    f"{', '.join(str(order.perm_id) for order in found)}.",
                )
            )


def _conclude_missing(
    draft: Draft,
    open_orders: Iterable[BrokerOrder],
    completed_orders: Iterable[BrokerOrder] | None,
    absences: Absences,
) -> None:
    """Own live orders that are not open at IBKR: filled, cancelled, or never sent."""
    open_refs = {order.order_ref for order in open_orders}
    completed = {order.order_ref: order for order in completed_orders or ()}
    for order in draft.state.live_orders():
        ref = order.order_ref
        if ref in open_refs or ref in absences.in_flight:
            continue
        done = completed.get(ref)
        if done is None and not absences.proven(ref):
            absences.unproven.add(order.symbol)
            continue
        if done is not None and done.status == "Filled" and order.filled < order.quantity:
            continue  # filled, but the executions have not arrived yet: nothing is concluded
        if done is None and not order.perm_id and not order.filled:
            signal: OrderSignal = "never_listed"
            text = "never reached IBKR: not among its open orders, completed orders or executions"
        else:
            signal, text = "not_listed", "no longer at IBKR"
            if done is not None:
                text = done.text or f"IBKR: {done.status}"
        status = next_status(order.status, signal)
        assert status != "intended"
        draft.record(
            OrderChanged(
                time=draft.now,
                order_ref=ref,
                status=status,
                broker_status=done.status if done is not None else "",
                text=text,
            )
        )
