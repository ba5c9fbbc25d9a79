"""Whole shares of an entry and of a partial, and the price of the initial stop."""

from __future__ import annotations

import math

from state.domain.model import Side
from trader.config.sections import SizeRules
from trader.core.numbers import TOLERANCE, check_price, is_price, round_to_tick

LEAST_RISK = 1e-6  # dollars a share; below it entry and stop are the same price


def size_entry(equity: float, entry: float, stop: float, buying_power: float, rules: SizeRules) -> int:
    """Whole shares to enter: `risk_per_trade_pct` of `equity` lost at the stop, within every bound.

    Dollars in, shares out. Bounds: `max_position_value`, `max_shares`, `buying_power`. 0 where that is less
    than one share, or any number is NaN, infinite or not positive.
    """
    if not all(is_price(x) for x in (equity, entry, stop, buying_power)):
        return 0
    risk_a_share = abs(entry - stop)
    if risk_a_share < LEAST_RISK:
        return 0
    by_risk = equity * rules.risk_per_trade_pct / 100 / risk_a_share
    by_value = min(rules.max_position_value, buying_power) / entry
    return min(math.floor(min(by_risk, by_value) + TOLERANCE), rules.max_shares)


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


def partial_shares(original: int, held: int, fraction: float) -> int:
    """Whole shares of a partial: `fraction` of the original count, rounded down, never more than are held.

    Rounding down leaves the odd share to the runner, and the last exit always closes what is held, so the
    shares of a trade add up (f18: 23 shares go 11, 5, 7). 0 for a position too small to divide.
    """
    if not math.isfinite(fraction) or fraction <= 0 or original <= 0 or held <= 0:
        return 0
    return min(math.floor(original * min(fraction, 1.0) + TOLERANCE), held)
