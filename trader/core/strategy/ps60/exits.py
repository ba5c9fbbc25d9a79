"""What to do with an open position at a price: partials, stop moves, closes. Pure.

R is the distance from entry to initial stop. The rules:

1. At `flatten_at`: close (`end_of_day`).
2. From `time_rule_minutes` after the entry: close if there is no gain and no partial was taken (`time_rule`).
3. At `first_partial_r` R: `first_partial_fraction` of the original shares (`partial_1r`).
4. At target 1: `second_partial_fraction` of the original shares (`partial_target1`).
5. After `partial_1r` the stop moves to breakeven, and then trails the price by `trail_pct`, never below breakeven.
   It trails from the first partial on and not from the second, since a trail above breakeven can only lock in more.
   Steps smaller than `trail_step_pct` of the price are left out.

A position too small to divide (a fraction of it is less than one share) takes no partial: its stop moves to
breakeven at 1R and trails from there. Stops move only in the position's favour. A NaN price decides nothing but the
end of the day. While an exit order is pending only the stop may change (f15), and no partial is taken twice for one
reason (f06).
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from state.domain.model import PartialReason, Side, sign
from trader.config.sections import ExitRules
from trader.core.numbers import TOLERANCE, at_least, is_price, round_to_tick
from trader.core.sizing import partial_shares

StopReason = Literal["breakeven", "trail"]
CloseReason = Literal["time_rule", "end_of_day"]


class PositionView(msgspec.Struct, frozen=True, kw_only=True):
    """A position as the exit rules see it. Prices in dollars, shares whole and not negative."""

    symbol: str
    side: Side
    shares: int  # entered in total
    held: int  # open now
    entry_price: float
    entry_time: datetime
    initial_stop: float  # NaN or the entry price: R is unknown, so no 1R partial
    stop_price: float  # of the live stop order; NaN: none known, so none is moved
    target1: float  # NaN: unknown
    partials: frozenset[str] = frozenset()  # reasons taken
    pending_exit_shares: int = 0  # of exit orders, without the stop
    min_tick: float = 0.01
    adopted: bool = False  # taken over from the account: cost and risk are not those of an own entry
    targets_given: bool = False  # the operator gave the targets of an adopted position


class TakePartial(msgspec.Struct, frozen=True):
    """Exit `shares` at the market, and reduce the stop by as many."""

    shares: int
    reason: PartialReason


class MoveStop(msgspec.Struct, frozen=True):
    """Modify the live stop to `price`."""

    price: float
    reason: StopReason


class Close(msgspec.Struct, frozen=True):
    """Exit all that is held, at the market."""

    reason: CloseReason


Action = TakePartial | MoveStop | Close


def decide(
    view: PositionView, price: float, now: datetime, rules: ExitRules, flatten_at: datetime | None
) -> list[Action]:
    """What to do now, in this order; empty for nothing. At most one partial and one stop move.

    price: the last trade. flatten_at: `MarketHours.flatten_time`, or None.
    """
    if view.held <= 0:
        return []
    busy = view.pending_exit_shares > 0
    if flatten_at is not None and now >= flatten_at:
        return [] if busy else [Close("end_of_day")]
    if not is_price(price) or not is_price(view.entry_price):
        return []
    actions: list[Action] = []
    if not busy:
        if not view.adopted and _time_is_up(view, price, now, rules):
            return [Close("time_rule")]
        partial = _partial(view, price, rules)
        if partial is not None:
            actions.append(partial)
    move = _stop_move(view, price, rules)
    if move is not None:
        actions.append(move)
    return actions


def gain(view: PositionView, price: float) -> float:
    """Gain per share at `price`, in dollars; negative for a loss."""
    return (price - view.entry_price) * sign(view.side)


def r_multiple(view: PositionView, price: float) -> float | None:
    """Gain in units of the initial risk; None if that is unknown."""
    risk = (view.entry_price - view.initial_stop) * sign(view.side)
    return gain(view, price) / risk if math.isfinite(risk) and risk > TOLERANCE else None


def _time_is_up(view: PositionView, price: float, now: datetime, rules: ExitRules) -> bool:
    late = now - view.entry_time >= timedelta(minutes=rules.time_rule_minutes)
    return late and gain(view, price) <= 0 and not view.partials and not _at_breakeven(view)


def _partial(view: PositionView, price: float, rules: ExitRules) -> TakePartial | None:
    r = None if view.adopted else r_multiple(view, price)  # an adopted position's risk is an estimate
    target1 = _target_reached(view, price) and (view.targets_given or not view.adopted)
    due: list[tuple[PartialReason, bool, float]] = [
        ("partial_1r", r is not None and at_least(r, rules.first_partial_r), rules.first_partial_fraction),
        ("partial_target1", target1, rules.second_partial_fraction),
    ]
    for reason, reached, fraction in due:
        shares = partial_shares(view.shares, view.held, fraction)
        if reached and reason not in view.partials and shares > 0:
            return TakePartial(shares, reason)
    return None


def _stop_move(view: PositionView, price: float, rules: ExitRules) -> MoveStop | None:
    """The better of breakeven and trail, if it is better than the present stop."""
    if not is_price(view.stop_price) or not _secured(view, price, rules):
        return None
    way = sign(view.side)
    breakeven = breakeven_price(view)
    trail = round_to_tick(price * (1 - way * rules.trail_pct / 100), view.min_tick, "down" if way > 0 else "up")
    best = max(breakeven, trail, key=lambda stop: stop * way)
    better = (best - view.stop_price) * way
    if not _at_breakeven(view):
        return MoveStop(best, "breakeven" if best == breakeven else "trail")
    step = max(price * rules.trail_step_pct / 100, view.min_tick)
    return MoveStop(best, "trail") if at_least(better, step) else None


def breakeven_price(view: PositionView) -> float:
    """The entry price on the tick grid, rounded in the position's favour: no loss before commissions."""
    return round_to_tick(view.entry_price, view.min_tick, "up" if view.side == "LONG" else "down")


def _secured(view: PositionView, price: float, rules: ExitRules) -> bool:
    """Whether the stop may move from its initial price: after the first partial, or at 1R if there is none."""
    if "partial_1r" in view.partials or _at_breakeven(view):
        return True
    r = r_multiple(view, price)
    undivided = partial_shares(view.shares, view.held, rules.first_partial_fraction) == 0
    return undivided and r is not None and at_least(r, rules.first_partial_r)


def _at_breakeven(view: PositionView) -> bool:
    return is_price(view.stop_price) and (view.stop_price - breakeven_price(view)) * sign(view.side) >= 0


def _target_reached(view: PositionView, price: float) -> bool:
    return is_price(view.target1) and at_least((price - view.target1) * sign(view.side), 0.0)
