"""The shares of an entry and of a partial, and the price of the initial stop."""

from __future__ import annotations

import math

from state.domain.model import Side, sign
from trader.config.sections import SizeRules
from trader.core.numbers import TOLERANCE, check_price, is_price, round_to_tick

LEAST_RISK = 1e-6  # dollars a share; below it entry and stop are the same price
ESTIMATED_RISK = 0.01  # of the price: the distance of a stop that has to be estimated


def size_entry(equity: float, entry: float, stop: float, buying_power: float, rules: SizeRules) -> int:
    """Whole shares to enter, so that `risk_per_trade_pct` of `equity` is lost at the stop.

    Amounts and prices in dollars. Limited by `max_position_value`, `max_shares` and `buying_power`. 0 if the result
    is less than one share, or if an argument is NaN, infinite or not positive.
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
    """The initial stop: at the pivot, but at least `min_stop_pct` of `entry` away from it.

    Rounded to the tick away from the entry, so the distance is never smaller. The size is computed from the rounded
    price, so rounding does not add risk. Raises MarketDataError for an invalid price, or if the stop would not be
    positive.
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
    """Whole shares of a partial: `fraction` of the original count, rounded down, at most what is held.

    The last exit closes all that is held, so the parts add up (f18: 23 shares are closed as 11, 5 and 7). 0 for a
    position too small to divide.
    """
    if not math.isfinite(fraction) or fraction <= 0 or original <= 0 or held <= 0:
        return 0
    return min(math.floor(original * min(fraction, 1.0) + TOLERANCE), held)


def estimated_targets(side: Side, entry: float, stop: float) -> tuple[float, float, float]:
    """Targets of a trade without a setup: 2, 3 and 4 times the risk of one share beyond the entry price.

    At least a cent: a short far under water has a risk above its price.
    """
    risk = abs(entry - stop) or entry * ESTIMATED_RISK
    target1, target2, target3 = (max(entry + sign(side) * multiple * risk, 0.01) for multiple in (2, 3, 4))
    return target1, target2, target3
