"""One-minute candles in whole price units, from which the trades of every simulated or recorded day are made."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from paper_gateway.market.model import CENT

_STEP: Final = 0.0006
"""Standard deviation of a calm minute's change, as a fraction of the price."""
_PULL: Final = 0.03
"""Mean reversion of a calm walk: the part of its distance to the middle of the range that it loses in a minute."""
_WICK: Final = 0.0004
"""Longest wick of a candle, as a fraction of the price."""
_VOLUME_SPREAD: Final = 0.05
"""The volume of an ordinary minute differs from the mean by at most this fraction."""


@dataclass(frozen=True, slots=True)
class Candle:
    """One minute. minute: counted from 09:30. Prices in price units, volume in shares."""

    minute: int
    open: int
    high: int
    low: int
    close: int
    volume: int


def to_grid(units: float) -> int:
    """The nearest whole cent, at least one cent, in price units."""
    return max(CENT, round(units / CENT) * CENT)


def calm_closes(rng: random.Random, first: int, low: int, high: int, minutes: int) -> list[int]:
    """Closes of a mean-reverting walk from `first` that stays within [low, high]."""
    middle, closes = (low + high) / 2, []
    price = float(first)
    for _ in range(minutes):
        price += (middle - price) * _PULL + rng.gauss(0.0, _STEP * price)
        price = min(max(price, low), high)
        closes.append(to_grid(price))
    return closes


def bridge_closes(rng: random.Random, first: int, last: int, minutes: int) -> list[int]:
    """Closes of a calm walk from `first` that ends exactly at `last` after `minutes` minutes."""
    closes: list[int] = []
    price = float(first)
    for left in range(minutes, 0, -1):
        price += (last - price) / left + (rng.gauss(0.0, _STEP * price) if left > 1 else 0.0)
        closes.append(to_grid(price))
    return closes


def ordinary_volume(rng: random.Random, mean: int) -> int:
    """The volume of a minute without an event."""
    return round(mean * rng.uniform(1 - _VOLUME_SPREAD, 1 + _VOLUME_SPREAD))


def with_wicks(rng: random.Random, first_open: int, closes: Sequence[int], volumes: Sequence[int]) -> list[Candle]:
    """Candles from 09:30 on. Each opens at the close before it and has short wicks."""
    candles, open_ = [], first_open
    for minute, (close, volume) in enumerate(zip(closes, volumes, strict=True)):
        high = to_grid(max(open_, close) * (1 + rng.random() * _WICK))
        low = to_grid(min(open_, close) * (1 - rng.random() * _WICK))
        candles.append(Candle(minute, open_, high, low, close, volume))
        open_ = close
    return candles
