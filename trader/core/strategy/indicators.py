"""Measures over closed 1-minute candles. Each is None if there are too few candles."""

from __future__ import annotations

from collections.abc import Sequence

from trader.core.bars import Candle

ATR_CANDLES = 14
VOLUME_CANDLES = 20
RANGE_CANDLES = 5
FEWEST_CANDLES = 5


def true_ranges(candles: Sequence[Candle]) -> list[float]:
    """Per candle max(high, previous close) - min(low, previous close), in dollars; the first: high - low."""
    ranges = []
    previous = candles[0].open if candles else 0.0
    for candle in candles:
        ranges.append(max(candle.high, previous) - min(candle.low, previous))
        previous = candle.close
    return ranges


def atr(candles: Sequence[Candle], n: int = ATR_CANDLES) -> float | None:
    """Mean true range of the last `n` candles, in dollars; None below five candles.

    The candle before the last `n`, if there is one, gives the previous close. A plain mean and not Wilder's running
    one: it depends on a fixed number of candles, so that a restart from the buffer gives the same value.
    """
    if len(candles) < FEWEST_CANDLES:
        return None
    ranges = true_ranges(candles[-n - 1 :])[-n:]
    return sum(ranges) / len(ranges)


def mean_volume(candles: Sequence[Candle], n: int = VOLUME_CANDLES) -> float | None:
    """Mean volume of the last `n` candles, in shares; None below five candles."""
    if len(candles) < FEWEST_CANDLES:
        return None
    window = candles[-n:]
    return sum(candle.volume for candle in window) / len(window)


def range_5m(candles: Sequence[Candle]) -> float | None:
    """Highest high minus lowest low of the last five candles, in dollars; None below five candles."""
    if len(candles) < FEWEST_CANDLES:
        return None
    window = candles[-RANGE_CANDLES:]
    return max(candle.high for candle in window) - min(candle.low for candle in window)
