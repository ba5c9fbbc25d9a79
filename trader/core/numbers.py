"""Prices and limits as numbers: valid prices, the tick grid, and comparisons that tolerate binary fractions."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Literal

from trader.errors import MarketDataError

# Far below any tick or share, far above the error of a few operations on binary fractions:
# 100.3 - 100.0 is 0.2999…97, and 0.3 / 0.1 is 2.9999….
TOLERANCE = 1e-9

PRICE_TOLERANCE = 0.005  # half a cent: IBKR returns prices as binary fractions

Way = Literal["down", "up", "nearest"]
_ROUNDINGS = {"down": ROUND_FLOOR, "up": ROUND_CEILING, "nearest": ROUND_HALF_EVEN}


def at_least(value: float, limit: float) -> bool:
    """Whether `value` reaches `limit`; False if either is NaN (f20)."""
    return value >= limit - TOLERANCE


def is_price(price: float | None) -> bool:
    """Whether `price` is a positive, finite number."""
    return price is not None and math.isfinite(price) and price > 0


def check_price(name: str, price: float) -> None:
    """Raises MarketDataError unless `price` is a positive, finite number (f20)."""
    if not is_price(price):
        message = f"The {name} is {price}, which is not a positive number."
        raise MarketDataError(message, "The symbol is not traded until its data are valid.")


def round_to_tick(price: float, min_tick: float, way: Way = "nearest") -> float:
    """`price` on the grid of `min_tick` dollars. Computed in Decimal, so that a price on the grid does not move.

    Raises MarketDataError for NaN or a tick of 0.
    """
    if not math.isfinite(price) or not math.isfinite(min_tick) or min_tick <= 0:
        message = f"The price {price} cannot be rounded to a tick of {min_tick}."
        raise MarketDataError(message, "The symbol is not traded until its data are valid.")
    tick = Decimal(repr(min_tick))
    # Ten digits remove what arithmetic on binary fractions adds (100.10000000000001).
    exact = Decimal(repr(round(price, 10)))
    return float((exact / tick).to_integral_value(rounding=_ROUNDINGS[way]) * tick)


def same_price(left: float | None, right: float) -> bool:
    """Whether two prices are equal to the half cent."""
    return left is not None and abs(left - right) < PRICE_TOLERANCE
