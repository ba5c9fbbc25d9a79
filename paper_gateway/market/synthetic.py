"""The synthetic day: candles from the plans of `day`. Prices and volumes between the steps are random, seeded."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, datetime, time
from itertools import pairwise

from paper_gateway.market.candles import Candle, bridge_closes, calm_closes, ordinary_volume, to_grid, with_wicks
from paper_gateway.market.day import ENTRY_WINDOW_START, PLANS, Step, SymbolPlan
from paper_gateway.market.errors import MarketDataError
from paper_gateway.market.model import PRICE_SCALE
from paper_gateway.market.simulated_market import SimulatedMarket, SymbolDay, start_of
from paper_gateway.market.trading_days import MINUTE, is_trading_day, session_minutes, session_open

_JITTER = 0.0002
"""Noise of closes between two steps, as a fraction of the price."""
_MARGIN = 0.004
"""The calm walk after the script keeps this distance from support and resistance, as a fraction of the price."""
_MEAN_CANDLES = 20
_LONG_GAP = 20
"""If two steps are at least this many minutes apart, the price between them follows a calm walk."""


def synthetic_day(day: date, seed: int, start: time) -> SimulatedMarket:
    """The scripted day on `day`, beginning at `start` (US/Eastern). Equal seeds give equal days.

    The first breakouts are in the candle of 09:45, or in the first full minute after a later `start`.
    Raises `MarketDataError` if the exchange is closed on `day`.
    """
    if not is_trading_day(day):
        raise MarketDataError(f"{day} is not a trading day of the exchange; choose another --date")
    start_at = start_of(day, start)
    anchor = anchor_minute(start_at)
    days = {plan.symbol: symbol_day(plan, day, seed, anchor) for plan in PLANS}
    return SimulatedMarket(start_at, days, seed)


def anchor_minute(start: datetime) -> int:
    """The minute of the first breakouts, counted from 09:30, for a session that begins at `start`."""
    first = max(start, start_of(start.date(), ENTRY_WINDOW_START))
    since_open = first - session_open(start.date())
    return -(-since_open // MINUTE)


def symbol_day(plan: SymbolPlan, day: date, seed: int, anchor: int) -> SymbolDay:
    """The candles of one plan. Its script begins `anchor` minutes after 09:30 (at least 15)."""
    rng = random.Random(f"{seed}:{plan.symbol}:{day}:plan")
    minutes = session_minutes(day)
    steps = {anchor + step.minute: step for step in plan.steps}
    closes = _closes(plan, steps, rng, minutes)
    volumes = _volumes(plan, steps, rng, minutes)
    prev_close = to_grid(plan.prev_close * PRICE_SCALE)
    candles = with_wicks(rng, prev_close, closes, volumes)
    return SymbolDay(
        tuple(_dipped(plan, candle, steps.get(candle.minute)) for candle in candles), prev_close, plan.minute_volume
    )


def step_price(plan: SymbolPlan, beyond_pct: float) -> int:
    """The price `beyond_pct` percent beyond the plan's pivot, rounded to the cent, in price units."""
    pivot, sign = (plan.resistance, 1) if plan.side == "LONG" else (plan.support, -1)
    return to_grid(pivot * (1 + sign * beyond_pct / 100) * PRICE_SCALE)


def _closes(plan: SymbolPlan, steps: dict[int, Step], rng: random.Random, minutes: int) -> list[int]:
    low = round(plan.support * (1 + _MARGIN) * PRICE_SCALE)
    high = round(plan.resistance * (1 - _MARGIN) * PRICE_SCALE)
    places = sorted((minute, step_price(plan, step.beyond_pct)) for minute, step in steps.items())
    first_minute, first_price = places[0]
    quiet = bridge_closes(rng, to_grid(plan.prev_close * PRICE_SCALE), first_price, first_minute + 1)
    closes = [min(max(close, low), high) for close in quiet[:-1]] + [first_price]
    for (left_minute, left), (right_minute, right) in pairwise(places):
        gap = right_minute - left_minute
        if gap >= _LONG_GAP and low <= left <= high:
            walked = bridge_closes(rng, left, right, gap)
            closes += [min(max(close, low), high) for close in walked[:-1]]
        else:
            straight = (left + (right - left) * n / gap for n in range(1, gap))
            closes += [to_grid(price * (1 + _JITTER * rng.uniform(-1, 1))) for price in straight]
        closes.append(right)
    closes += calm_closes(rng, closes[-1], low, high, max(0, minutes - len(closes)))
    return closes[:minutes]


def _volumes(plan: SymbolPlan, steps: dict[int, Step], rng: random.Random, minutes: int) -> list[int]:
    volumes: list[int] = []
    for minute in range(minutes):
        step = steps.get(minute)
        if step is None or step.volume_ratio is None:
            volumes.append(ordinary_volume(rng, plan.minute_volume))
        else:
            before = volumes[-_MEAN_CANDLES:]
            volumes.append(round(step.volume_ratio * sum(before) / len(before)))
    return volumes


def _dipped(plan: SymbolPlan, candle: Candle, step: Step | None) -> Candle:
    if step is None or step.dip_pct is None:
        return candle
    dip = step_price(plan, step.dip_pct)
    if plan.side == "LONG":
        return replace(candle, low=min(candle.low, dip))
    return replace(candle, high=max(candle.high, dip))
