"""Makes the trades of a one-minute candle: a seeded walk with exactly its open, high, low and close.

In a minute that closes at or above its open the price goes from the open to the low, the high and the close;
in a minute that closes below its open, to the high, the low and the close. Trade i of n is in the i-th of n
equal parts of the minute: 60 trades are one a second, and five in each 5-second bar.
"""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Final, NamedTuple

from paper_gateway.market.candles import Candle
from paper_gateway.market.model import CENT

MINUTE_MS: Final = 60_000
TRADES_PER_MINUTE: Final = 60
_FEWEST_TRADES: Final = 4
"""Open, first extreme, second extreme, close."""


class RawTrade(NamedTuple):
    """A trade: milliseconds since the start of its minute, price in price units, shares."""

    ms: int
    price: int
    size: int


def walk_minute(candle: Candle, seed: str) -> list[RawTrade]:
    """The minute's trades in time order. The same candle and seed give the same trades.

    The first trade is at the open, the last at the close, all are within [low, high], and the sizes sum to
    the volume. A minute with volume 0 and a single price has no trades. A minute with fewer shares than
    trades has trades of size 0, as TWS shows for odd lots.
    """
    if candle.volume == 0 and candle.high == candle.low:
        return []
    count = max(_FEWEST_TRADES, min(TRADES_PER_MINUTE, candle.volume))
    rng = random.Random(seed)
    prices = _prices(candle, count, rng)
    sizes = _sizes(candle.volume, count, rng)
    part_ms = MINUTE_MS // count
    return [
        # Never at the edge of a second, so that rounding does not decide to which bar a trade belongs.
        RawTrade(index * MINUTE_MS // count + int(part_ms * (0.1 + 0.8 * rng.random())), price, size)
        for index, (price, size) in enumerate(zip(prices, sizes, strict=True))
    ]


def _prices(candle: Candle, count: int, rng: random.Random) -> list[int]:
    rising = candle.close >= candle.open
    first_turn, second_turn = (candle.low, candle.high) if rising else (candle.high, candle.low)
    last = count - 1
    first_at = 1 + int((last - 2) * rng.uniform(0.1, 0.4))
    second_at = first_at + 1 + int((last - first_at - 1) * rng.uniform(0.4, 0.9))
    corners = ((0, candle.open), (first_at, first_turn), (second_at, second_turn), (last, candle.close))
    noise = (candle.high - candle.low) * 0.1
    prices = [candle.open]
    for (left_at, left), (right_at, right) in pairwise(corners):
        slope = (right - left) / (right_at - left_at)
        for index in range(left_at + 1, right_at):
            price = left + slope * (index - left_at) + noise * (rng.random() - 0.5)
            on_grid = round(price / CENT) * CENT
            prices.append(min(max(on_grid, candle.low), candle.high))
        prices.append(right)
    return prices


def _sizes(volume: int, count: int, rng: random.Random) -> list[int]:
    """`count` sizes with the exact sum `volume`: differences of rounded running sums."""
    weights = [0.5 + rng.random() for _ in range(count)]
    scale = volume / sum(weights)
    sizes, running, given = [], 0.0, 0
    for weight in weights[:-1]:
        running += weight * scale
        upto = min(int(running), volume)
        sizes.append(upto - given)
        given = upto
    sizes.append(volume - given)
    return sizes
