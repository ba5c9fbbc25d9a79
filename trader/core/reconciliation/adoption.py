"""Takes over a position of the account on the operator's command: `adopt SYM` and `--accept-broker`."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from state.domain.events import Event, PositionAdjusted, PositionAdopted, SymbolReleased
from state.domain.model import ADOPTED_PATH, Position, Side, TraderState, exit_action, sign
from trader.broker.port import BrokerOrder, BrokerPosition
from trader.core.orders.order_ref import parse_ref
from trader.core.sizing import ESTIMATED_RISK, estimated_targets


class Terms(msgspec.Struct, frozen=True):
    """How a position is to be adopted. Without a stop one is chosen; without targets no partial is taken."""

    stop: float | None = None
    targets: tuple[float, ...] = ()


def guarding_stop(orders: Iterable[BrokerOrder], holding: BrokerPosition, client_id: int) -> BrokerOrder | None:
    """An own live stop that closes the holding, of an earlier day or a lost state; the largest one."""
    closing = exit_action("LONG" if holding.quantity > 0 else "SHORT")
    stops = [
        order
        for order in orders
        if order.is_working
        and order.symbol == holding.symbol
        and order.client_id == client_id
        and order.action == closing
        and order.stop_price is not None
        and (ref := parse_ref(order.order_ref)) is not None
        and ref.role == "stop"
    ]
    return max(stops, key=lambda order: order.remaining, default=None)


def chosen_stop(holding: BrokerPosition, price: float | None, terms: Terms, own: BrokerOrder | None) -> float:
    """The stop's price: as given; of the own stop that guards it; else 1 % beyond the worse of cost and price."""
    if terms.stop is not None:
        return terms.stop
    if own is not None and own.stop_price is not None:
        return own.stop_price
    side: Side = "LONG" if holding.quantity > 0 else "SHORT"
    worse = min(holding.avg_cost, price or holding.avg_cost)
    if side == "SHORT":
        worse = max(holding.avg_cost, price or holding.avg_cost)
    return round(worse * (1 - sign(side) * ESTIMATED_RISK), 2)


def triggers_at_once(holding: BrokerPosition, stop: float, price: float) -> bool:
    """Whether a stop would execute at this price, so that the position would be sold or bought back."""
    return price <= stop if holding.quantity > 0 else price >= stop


def adoption(
    symbol: str, holding: BrokerPosition, stop: float, terms: Terms, own: BrokerOrder | None, now: datetime
) -> PositionAdopted:
    """The event of a managed position with IBKR's shares and average cost. own: the stop that it takes over."""
    side: Side = "LONG" if holding.quantity > 0 else "SHORT"
    cost = holding.avg_cost
    estimated = tuple(round(target, 2) for target in estimated_targets(side, cost, stop))
    targets = (*terms.targets, *estimated[len(terms.targets) :])
    return PositionAdopted(
        time=now,
        position=Position(
            trade_id=f"adopted-{symbol}-{now:%Y%m%dT%H%M%S}",
            symbol=symbol,
            con_id=holding.con_id,
            side=side,
            entry_price=cost,
            entry_time=now,
            shares=abs(holding.quantity),
            held=abs(holding.quantity),
            pivot=stop,
            target1=targets[0],
            target2=targets[1],
            target3=targets[2],
            stop_price=stop,
            initial_stop=stop,
            stop_ref=own.order_ref if own is not None else "",
            path=ADOPTED_PATH,
            recovery="adopted",
            estimated=True,
            targets_given=bool(terms.targets),
        ),
    )


def acceptance(
    state: TraderState, symbol: str, holding: BrokerPosition | None, own: BrokerOrder | None, now: datetime
) -> list[Event]:
    """The operator accepts IBKR's count of a symbol in conflict: the trade ends, and IBKR's position is adopted."""
    events: list[Event] = []
    position = state.positions.get(symbol)
    if position is not None:
        events.append(
            PositionAdjusted(
                time=now, symbol=symbol, held=0, price=position.entry_price, reason="accepted_from_broker"
            )
        )
    if holding is not None and holding.quantity:
        terms = Terms()
        events.append(adoption(symbol, holding, chosen_stop(holding, None, terms, own), terms, own, now))
    if symbol in state.halted:
        events.append(SymbolReleased(time=now, symbol=symbol))
    return events
