"""The decision: state and IBKR compared, symbol by symbol. A pure function; it sends nothing and writes nothing.

The same function decides at a start, after every reconnect, and while trading. `docs/RECOVERY.md` has the table.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from state.domain.model import Order, TraderState
from trader.broker.port import BrokerAnswer, BrokerSnapshot, Unknown
from trader.core.orders.actions import BrokerAction, ExitAtMarket, ModifyStop, PlaceStop, describe
from trader.core.orders.protection import stop_actions
from trader.core.reconciliation.draft import Draft
from trader.core.reconciliation.orders import record_facts
from trader.core.reconciliation.owners import former_id_orders, others_orders, others_shares, without_others
from trader.core.reconciliation.plan import Plan, Row
from trader.core.reconciliation.positions import compare_symbols
from trader.core.strategy.ps60.setups import Setup


def reconcile(
    state: TraderState,
    answer: BrokerAnswer,
    *,
    now: datetime,
    client_id: int,
    setups: Mapping[str, Setup],
    in_flight: Collection[str] = (),
) -> Plan:
    """Decide which events to record and which orders to send. `state` is not changed.

    in_flight: orderRefs sent moments ago; their absence at IBKR proves nothing yet.
    """
    if isinstance(answer, Unknown):
        return _unknown(state, answer)
    former = _former_id_rows(state, answer, client_id)
    if former:
        ids = sorted({order.client_id for order in former_id_orders(state, answer.open_orders, client_id)})
        return Plan(complete=True, rows=former, former_client_ids=ids)
    draft = Draft(state, now)
    plan = Plan(complete=True)
    record_facts(draft, answer, setups, in_flight, client_id)
    compare_symbols(state, draft, answer, plan, others_shares(draft.state, answer.executions, client_id))
    _order_rows(state, draft.state, plan)
    plan.events = draft.events
    plan.actions = [
        action
        for action in stop_actions(draft.state, without_others(draft.state, answer, client_id), client_id)
        if not _too_early(action, draft.state, in_flight)
    ]
    _action_rows(plan)
    plan.rows += _other_trader_rows(draft.state, answer, client_id)
    return plan


def _too_early(action: BrokerAction, state: TraderState, in_flight: Collection[str]) -> bool:
    """Whether an order of the action's symbol is in flight: then IBKR's answer may be older than the order."""
    return any(
        ref in in_flight and state.orders[ref].symbol == action.symbol for ref in in_flight if ref in state.orders
    )


def _unknown(state: TraderState, answer: Unknown) -> Plan:
    """No complete answer: nothing is changed (invariant 2)."""
    missing = ", ".join(answer.missing) or "everything"
    rows = [
        Row(
            symbol,
            "unknown",
            f"{position.side} {position.held} shares kept as the state has them: no complete answer from IBKR "
            f"({missing})",
            "unknown",
        )
        for symbol, position in state.positions.items()
    ]
    if not rows:
        rows = [Row("", "unknown", f"no complete answer from IBKR ({missing}): {answer.reason}", "unknown")]
    return Plan(complete=False, rows=rows)


def _order_rows(before: TraderState, after: TraderState, plan: Plan) -> None:
    """A row for each entry that was not closed before: what became of it."""
    for ref, order in after.orders.items():
        was = before.orders.get(ref)
        if order.role != "entry" or (was is not None and was.status == order.status and not order.is_live):
            continue
        row = _entry_row(order)
        if row is not None:
            plan.rows.append(row)


def _entry_row(order: Order) -> Row | None:
    name = f"entry {order.action} {order.quantity} ({order.order_ref})"
    if order.status == "working":
        return Row(order.symbol, "entry_working", f"{name} is still working at IBKR: taken over", "info")
    if order.status == "not_sent":
        return Row(order.symbol, "entry_not_sent", f"{name} never reached IBKR: closed as not sent", "info")
    if order.status in ("cancelled", "rejected"):
        return Row(order.symbol, "entry_ended", f"{name}: {order.status}, {order.filled} filled", "info")
    return None


def _action_rows(plan: Plan) -> None:
    for action in plan.actions:
        if isinstance(action, PlaceStop):
            plan.rows.append(Row(action.symbol, "stop_missing", describe(action), "warning"))
        elif isinstance(action, ModifyStop):
            plan.rows.append(Row(action.symbol, "stop_corrected", describe(action), "info"))
        elif isinstance(action, ExitAtMarket):
            plan.rows.append(Row(action.symbol, "unprotectable", describe(action), "warning"))
        else:
            plan.rows.append(Row(action.symbol, "orphan_cancelled", describe(action), "warning"))


def _former_id_rows(state: TraderState, snapshot: BrokerSnapshot, client_id: int) -> list[Row]:
    return [
        Row(
            order.symbol,
            "former_client_id",
            f"order {order.order_ref} belongs to client id {order.client_id}, and this is client id {client_id}",
            "conflict",
        )
        for order in former_id_orders(state, snapshot.open_orders, client_id)
    ]


def _other_trader_rows(state: TraderState, snapshot: BrokerSnapshot, client_id: int) -> list[Row]:
    """Orders of other traders of this program: shown, counted as protection, never touched."""
    return [
        Row(
            order.symbol,
            "other_trader",
            f"{order.action} {order.remaining} ({order.order_ref}) is of the trader with client id "
            f"{order.client_id}",
            "info",
        )
        for order in others_orders(state, snapshot.open_orders, client_id)
    ]
