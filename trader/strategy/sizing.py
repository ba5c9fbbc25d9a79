"""Whole shares, the initial stop's price, and prices on the instrument's tick grid."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from state.model import Side
from trader.config_sections import SizeRules
from trader.errors import MarketDataError

# A share more or less than the exact quotient by the error of binary fractions: 0.3 / 0.1 is 2.9999….
_ROUNDING_ERROR = 1e-9
_ROUNDINGS = {"down": ROUND_FLOOR, "up": ROUND_CEILING, "nearest": ROUND_HALF_EVEN}


def size_entry(equity: float, entry: float, stop: float, buying_power: float, rules: SizeRules) -> int:
    """Whole shares to enter: `risk_per_trade_pct` of `equity` lost at the stop, within every bound.

    Dollars in, shares out. Bounds: `max_position_value`, `max_shares`, `buying_power`. 0 where that is less
    than one share, or any number is NaN, infinite or not positive.
    """
    if not all(math.isfinite(x) and x > 0 for x in (equity, entry, stop, buying_power)):
        return 0
    risk_a_share = abs(entry - stop)
    if risk_a_share < 1e-6:
        return 0
    by_risk = equity * rules.risk_per_trade_pct / 100 / risk_a_share
    by_value = min(rules.max_position_value, buying_power) / entry
    return min(math.floor(min(by_risk, by_value) + _ROUNDING_ERROR), rules.max_shares)


def stop_price(side: Side, pivot: float, entry: float, rules: SizeRules, min_tick: float) -> float:
    """The initial stop: at the pivot, but not nearer to `entry` than `min_stop_pct` of it.

    Rounded to the tick away from the entry, so never nearer than that; the size follows from the rounded
    price, so the rounding does not add to the risk. Raises MarketDataError for a price that is no price, and
    where no positive stop is left.
    """
    check_price("pivot", pivot)
    check_price("entry price", entry)
    distance = entry * rules.min_stop_pct / 100
    if side == "LONG":
        stop = round_to_tick(min(pivot, entry - distance), min_tick, "down")
    else:
        stop = round_to_tick(max(pivot, entry + distance), min_tick, "up")
    check_price("stop", stop)
    return stop


def round_to_tick(price: float, min_tick: float, way: str = "nearest") -> float:
    """`price` on the grid of `min_tick` dollars; `way` is "down", "up" or "nearest". Decimal inside, so that
    a price that is on the grid stays where it is. Raises MarketDataError for NaN or a tick of 0."""
    if not math.isfinite(price) or not math.isfinite(min_tick) or min_tick <= 0:
        message = f"The price {price} cannot be rounded to a tick of {min_tick}."
        raise MarketDataError(message, "The symbol is left alone until its data are sound.")
    tick = Decimal(repr(min_tick))
    # Ten digits: what arithmetic on binary fractions adds (100.10000000000001) is not a price.
    exact = Decimal(repr(round(price, 10)))
    return float((exact / tick).to_integral_value(rounding=_ROUNDINGS[way]) * tick)


def partial_shares(original: int, held: int, fraction: float) -> int:
    """Whole shares of a partial: `fraction` of the original count, rounded down, never more than are held.

    Rounding down leaves the odd share to the runner, and the last exit always closes what is held, so the
    shares of a trade add up (f18: 23 shares go 11, 5, 7). 0 for a position too small to divide.
    """
    if not math.isfinite(fraction) or fraction <= 0 or original <= 0 or held <= 0:
        return 0
    return min(math.floor(original * min(fraction, 1.0) + _ROUNDING_ERROR), held)


def check_price(name: str, price: float) -> None:
    """Raises MarketDataError unless `price` is a positive, finite number (f20)."""
    if not math.isfinite(price) or price <= 0:
        message = f"The {name} is {price}, which is no price."
        raise MarketDataError(message, "The symbol is left alone until its data are sound.")
