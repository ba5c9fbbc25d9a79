"""What has to be done at IBKR so that each position has exactly one stop: values. `carrying_out` sends."""

import msgspec

from state.domain.model import Action


class PlaceStop(msgspec.Struct, frozen=True):
    """Place a stop for a position without a live one."""

    symbol: str
    action: Action
    quantity: int
    stop_price: float


class ModifyStop(msgspec.Struct, frozen=True):
    """Change a stop to the size and price that the position needs. quantity: including what it has filled."""

    symbol: str
    order_ref: str
    order_id: int
    quantity: int
    stop_price: float


class CancelOrder(msgspec.Struct, frozen=True):
    """Cancel an own order that protects no position, or is one too many."""

    symbol: str
    order_ref: str
    order_id: int
    why: str


BrokerAction = PlaceStop | ModifyStop | CancelOrder


def describe(action: BrokerAction) -> str:
    """An action as text for the operator."""
    if isinstance(action, PlaceStop):
        return f"has no live stop: {action.action} {action.quantity} at {action.stop_price:.2f} is to be placed"
    if isinstance(action, ModifyStop):
        return f"its stop is to become {action.quantity} shares at {action.stop_price:.2f}"
    return f"the order {action.order_ref} is to be cancelled: {action.why}"
