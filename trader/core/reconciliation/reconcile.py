"""The decision: state and IBKR compared, symbol by symbol. `docs/RECOVERY.md` has the table.

The same function decides at a start, after every reconnect, and while trading. Its events go into the draft: into
the turn, or into a copy of the state where nothing may change. It sends nothing.
"""

from collections.abc import Callable, Collection, Mapping

import msgspec

from state.domain.model import Order, TraderState
from trader.broker.port import PART_NAMES, BrokerOrder, BrokerSnapshot
from trader.core.orders.actions import BrokerAction, ModifyStop, PlaceStop, describe
from trader.core.orders.protection import stop_actions
from trader.core.reconciliation.baseline import Baseline, baseline
from trader.core.reconciliation.draft import Draft
from trader.core.reconciliation.orders import Absences, record_facts
from trader.core.reconciliation.owners import OthersShares, former_id_orders, others_orders, without_others
from trader.core.reconciliation.plan import Plan, Row
from trader.core.reconciliation.positions import Counts, compare_symbols
from trader.core.strategy.ps60.setups import Setup


def always(_: object) -> bool:
    """A difference that is acted upon at once."""
    return True


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison needs besides the state and IBKR's answer.

    in_flight: orderRefs sent moments ago; their absence at IBKR proves nothing yet. others: shares of other
    traders. young: symbols with an execution of the last minute. confirmed: whether a difference that no execution
    explains may be acted upon. absent: whether an order that is not listed, without other evidence, is gone.
    """

    client_id: int
    setups: Mapping[str, Setup]
    in_flight: Collection[str] = ()
    others: OthersShares = {}
    young: frozenset[str] = frozenset()
    confirmed: Callable[[Row], bool] = always
    absent: Callable[[str], bool] = always


def reconcile(draft: Draft, snapshot: BrokerSnapshot, given: Given, before: Baseline | None = None) -> Plan:
    """Record what follows from the answer, and decide which orders to send. What is missing decides nothing.

    before: what was known at the beginning, for the rows; default: the draft's state as it is now.
    """
    state, client_id = draft.state, given.client_id
    former = _former_id_rows(state, snapshot.open_orders or (), client_id)
    if former:
        ids = sorted({order.client_id for order in former_id_orders(state, snapshot.open_orders or (), client_id)})
        return Plan(complete=True, rows=former, former_client_ids=ids)
    before = before or baseline(state)
    plan = Plan(complete=not snapshot.missing)
    record_facts(draft, snapshot, given.setups, Absences(given.in_flight, given.absent, plan.uncertain), client_id)
    if snapshot.positions is not None and snapshot.executions is not None:
        counts = Counts(given.others, given.young, given.confirmed, before.new_executions(state))
        compare_symbols(before, draft, snapshot.positions, plan, counts)
    else:
        plan.rows += _unknown_rows(state, snapshot)
    _order_rows(before, state, plan)
    if snapshot.open_orders is not None and snapshot.executions is not None:
        quantities = without_others(snapshot.positions, given.others)
        plan.actions = [
            action
            for action in stop_actions(state, snapshot.open_orders, quantities, client_id)
            if action.symbol not in plan.uncertain and not _too_early(action, state, given.in_flight)
        ]
    plan.events = draft.events
    _action_rows(plan)
    plan.rows += _other_trader_rows(state, snapshot.open_orders or (), client_id)
    return plan


def _too_early(action: BrokerAction, state: TraderState, in_flight: Collection[str]) -> bool:
    """Whether an order of the action's symbol is in flight: then IBKR's answer may be older than the order."""
    return any(
        ref in in_flight and state.orders[ref].symbol == action.symbol for ref in in_flight if ref in state.orders
    )


def _unknown_rows(state: TraderState, snapshot: BrokerSnapshot) -> list[Row]:
    """Share counts cannot be compared: nothing is changed (invariant 2)."""
    missing = ", ".join(PART_NAMES[part] for part in snapshot.missing)
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
    return rows or [Row("", "unknown", f"no complete answer from IBKR ({missing})", "unknown")]


def _order_rows(before: Baseline, after: TraderState, plan: Plan) -> None:
    """A row for each entry that was not closed before: what became of it."""
    live = [order.order_ref for order in after.live_orders()]
    for ref in dict.fromkeys((*before.entries, *live, *before.new_orders(after))):
        order = after.orders[ref]
        if order.role != "entry" or (before.entries.get(ref) == order.status and not order.is_live):
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
        else:
            plan.rows.append(Row(action.symbol, "orphan_cancelled", describe(action), "warning"))


def _former_id_rows(state: TraderState, orders: Collection[BrokerOrder], client_id: int) -> list[Row]:
    return [
        Row(
            order.symbol,
            "former_client_id",
            f"order {order.order_ref} belongs to client id {order.client_id}, and this is client id {client_id}",
            "conflict",
        )
        for order in former_id_orders(state, orders, client_id)
    ]


def _other_trader_rows(state: TraderState, orders: Collection[BrokerOrder], client_id: int) -> list[Row]:
    """Orders of other traders of this program: shown, counted as protection, never touched."""
    return [
        Row(
            order.symbol,
            "other_trader",
            f"{order.action} {order.remaining} ({order.order_ref}) is of the trader with client id "
            f"{order.client_id}",
            "info",
        )
        for order in others_orders(state, orders, client_id)
    ]
