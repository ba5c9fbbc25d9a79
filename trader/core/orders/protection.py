"""Which orders have to be placed, changed or cancelled so that every managed position has exactly one live stop.

The stop's size is what is held and what the position's working entry may still add, less what pending exits will
close. So it also covers an entry that fills after the trader has ended (g01), and the closing orders together never
exceed what can be held (invariants 4 and 5).
"""

from collections.abc import Collection, Iterable

import msgspec

from state.domain.model import Position, TraderState, exit_action
from trader.broker.port import BrokerOrder, BrokerPosition
from trader.core.numbers import same_price
from trader.core.orders.actions import BrokerAction, CancelOrder, ModifyStop, PlaceStop, describe
from trader.core.orders.order_ref import OrderRef, parse_ref


def wanted_stop_size(state: TraderState, position: Position) -> int:
    """Shares that the stop has to cover: held, still to be entered, less what pending exits will close.

    So a working entry's stop keeps the size with which it was sent until the entry has ended.
    """
    live = state.live_orders(position.symbol)
    exits = sum(
        o.pending
        for o in live
        if o.role == "exit" and o.action == exit_action(position.side) and o.status != "inactive"
    )
    entering = sum(o.pending for o in live if o.role == "entry" and o.trade_id == position.trade_id)
    return max(0, position.held + entering - exits)


def stop_actions(
    state: TraderState,
    open_orders: Iterable[BrokerOrder],
    positions: Iterable[BrokerPosition] | None,
    client_id: int,
) -> list[BrokerAction]:
    """What to send so that the protection gate can pass. Only own orders of this client id are ever touched.

    positions: None if IBKR has not told them; then no order is cancelled because of a share count.
    """
    actions: list[BrokerAction] = []
    quantities = {p.symbol: p.quantity for p in positions} if positions is not None else None
    own = [
        (order, ref)
        for order in open_orders
        if not order.is_closed
        and order.status != "Inactive"
        and (ref := parse_ref(order.order_ref)) is not None
        and order.client_id == client_id
    ]
    symbols = {ref.symbol for _, ref in own} | set(state.positions)
    for symbol in sorted(symbols):
        orders = [(order, ref) for order, ref in own if ref.symbol == symbol]
        position = state.positions.get(symbol)
        if position is not None and (symbol not in state.halted or quantities is None):
            actions += _protect(state, position, orders)
        elif quantities is None:
            continue
        elif symbol in state.halted and (position is None or position.quantity != quantities.get(symbol, 0)):
            # a conflict; a symbol halted by a defect keeps its stop
            actions += _enlarging(symbol, orders, quantities.get(symbol, 0))
        elif position is None:
            actions += _orphans(state, symbol, orders, quantities.get(symbol, 0))
        else:
            actions += _protect(state, position, orders)
    return actions


class Violation(msgspec.Struct, frozen=True):
    """One reason why the protection gate does not pass."""

    symbol: str
    text: str


def violations(
    state: TraderState,
    open_orders: Collection[BrokerOrder],
    positions: Collection[BrokerPosition],
    client_id: int,
    unsettled: Collection[str] = (),
) -> list[Violation]:
    """Why the protection gate does not pass; empty if every managed position has exactly one correct stop.

    unsettled: symbols whose share count is not compared yet (invariant 16).
    """
    problems: list[Violation] = []
    quantities = {p.symbol: p.quantity for p in positions}
    for position in state.positions.values():
        if position.symbol in state.halted:
            continue
        at_broker = quantities.get(position.symbol, 0)
        if at_broker != position.quantity and position.symbol not in unsettled:
            text = f"the state holds {position.quantity:+d} shares, IBKR {at_broker:+d}"
            problems.append(Violation(position.symbol, text))
        if position.closing is not None and not is_covered(state, position):
            text = f"{position.closing.kind} of its stop is under way ({position.closing.step})"
            problems.append(Violation(position.symbol, text))
    listed = {order.order_ref for order in open_orders if order.is_working}
    for position in state.positions.values():
        stop = state.protective_stop(position)
        unlisted = stop is not None and stop.order_ref not in listed
        if unlisted and position.symbol not in state.halted and wanted_stop_size(state, position):
            problems.append(Violation(position.symbol, "IBKR does not list its stop"))
    for action in stop_actions(state, open_orders, positions, client_id):
        problems.append(Violation(action.symbol, describe(action)))
    return problems


def _protect(
    state: TraderState, position: Position, orders: list[tuple[BrokerOrder, OrderRef]]
) -> list[BrokerAction]:
    if position.closing is not None:
        return []  # what is under way goes on by itself
    closing = exit_action(position.side)
    size = wanted_stop_size(state, position)
    stops = [order for order, ref in orders if ref.role == "stop" and order.action == closing and order.is_working]
    keep = _best_stop(state, position, stops)
    actions: list[BrokerAction] = [
        CancelOrder(position.symbol, order.order_ref, order.order_id, "a second stop for the same shares")
        for order in stops
        if order is not keep
    ]
    actions += _wrong_side(position, orders, closing)
    if size == 0:
        return actions
    if keep is None and not _is_awaited(state, position, orders):
        actions.append(PlaceStop(position.symbol, closing, size, position.stop_price))
    elif keep is None:
        return actions
    elif keep.remaining != size or not same_price(keep.stop_price, position.stop_price):
        actions.append(
            ModifyStop(position.symbol, keep.order_ref, keep.order_id, keep.filled + size, position.stop_price)
        )
    return actions


def _is_awaited(state: TraderState, position: Position, orders: list[tuple[BrokerOrder, OrderRef]]) -> bool:
    """Whether the state has a live stop that IBKR does not list yet, or that is not proven to be gone."""
    stop = state.protective_stop(position)
    return stop is not None and not any(
        order.order_ref == stop.order_ref and order.action != exit_action(position.side) for order, _ in orders
    )


def is_covered(state: TraderState, position: Position) -> bool:
    """Whether live orders of the state close all that is held: the stop, and exits at the market."""
    return wanted_stop_size(state, position) == 0 or state.protective_stop(position) is not None


def _best_stop(state: TraderState, position: Position, stops: list[BrokerOrder]) -> BrokerOrder | None:
    """The stop of the state (by permId, if two carry its orderRef), or else the nearest to the wanted price."""
    known = state.orders.get(position.stop_ref)
    named = [order for order in stops if order.order_ref == position.stop_ref]
    for order in named:
        if known is not None and order.perm_id == known.perm_id:
            return order
    return min(named or stops, key=lambda o: abs((o.stop_price or 0.0) - position.stop_price), default=None)


def _wrong_side(
    position: Position, orders: list[tuple[BrokerOrder, OrderRef]], closing: str
) -> Iterable[BrokerAction]:
    """Cancel own stops and exits that would enlarge the position."""
    return [
        CancelOrder(position.symbol, order.order_ref, order.order_id, "it is on the wrong side of the position")
        for order, ref in orders
        if ref.role != "entry" and order.action != closing
    ]


def _orphans(
    state: TraderState, symbol: str, orders: list[tuple[BrokerOrder, OrderRef]], quantity: int
) -> Iterable[BrokerAction]:
    """Without a position only a working entry with its stop is kept; other own orders are cancelled.

    A stop of an earlier date is kept as well while the account holds the shares that it closes: that position is no
    longer managed, but keeps its stop. quantity: signed shares of the account.
    """
    stops = {ref.trade_token for _, ref in orders if ref.role == "stop"}
    entries = {ref.trade_token for _, ref in orders if ref.role == "entry"}
    for order, ref in orders:
        if not order.is_working:
            continue
        if ref.role == "entry" and ref.trade_token not in stops:
            yield CancelOrder(symbol, order.order_ref, order.order_id, "an entry without its stop")
        elif ref.role == "stop" and ref.trade_token not in entries:
            signed = -order.remaining if order.action == "SELL" else order.remaining
            if not _ended(state, order, ref) and quantity * signed < 0 and abs(signed) <= abs(quantity):
                quantity += signed
                continue
            yield CancelOrder(symbol, order.order_ref, order.order_id, "it protects no position")
        elif ref.role == "exit":
            yield CancelOrder(symbol, order.order_ref, order.order_id, "there is no position to close")


def _ended(state: TraderState, order: BrokerOrder, ref: OrderRef) -> bool:
    """Whether the order's trade is in the state and closed: then shares still held belong to another trade."""
    known = state.orders.get(order.order_ref)
    return (known.trade_id if known is not None else ref.trade_id) in state.closed


def _enlarging(symbol: str, orders: list[tuple[BrokerOrder, OrderRef]], quantity: int) -> Iterable[BrokerAction]:
    """In a halted symbol cancel only orders that would enlarge the account's position."""
    for order, _ in orders:
        grows = (order.action == "BUY") == (quantity > 0)
        if quantity and grows and order.is_working:
            yield CancelOrder(symbol, order.order_ref, order.order_id, "it would enlarge a position in conflict")
