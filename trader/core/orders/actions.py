"""What may have to be done at IBKR so that a position has its one stop: values; the desk alone sends them."""

import msgspec

from state.domain.model import Action


class PlaceStop(msgspec.Struct, frozen=True):
    """Guard a position that has no live stop."""

    symbol: str
    action: Action
    quantity: int
    stop_price: float


class ModifyStop(msgspec.Struct, frozen=True):
    """Bring a stop to the size and price that the position wants. `quantity` counts what it filled already."""

    symbol: str
    order_ref: str
    order_id: int
    quantity: int
    stop_price: float


class CancelOrder(msgspec.Struct, frozen=True):
    """Take back an order of ours that guards nothing, or too much."""

    symbol: str
    order_ref: str
    order_id: int
    why: str


class ExitAtMarket(msgspec.Struct, frozen=True):
    """Leave a position that cannot be guarded."""

    symbol: str
    action: Action
    quantity: int
    why: str


BrokerAction = PlaceStop | ModifyStop | CancelOrder | ExitAtMarket


def describe(action: BrokerAction) -> str:
    """An action in words."""
    if isinstance(action, PlaceStop):
        return f"has no live stop: {action.action} {action.quantity} at {action.stop_price:.2f} is to be placed"
    if isinstance(action, ModifyStop):
        return f"its stop is to become {action.quantity} shares at {action.stop_price:.2f}"
    if isinstance(action, ExitAtMarket):
        return f"out at the market, {action.action} {action.quantity}: {action.why}"
    return f"the order {action.order_ref} is to be cancelled: {action.why}"
