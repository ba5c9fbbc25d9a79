"""Every signal of a sequence of candles."""

from collections.abc import Sequence

from trader.config.sections import EntryRules
from trader.core.bars import Candle
from trader.core.strategy.ps60.breakout import SIDES, Breakout, Signal, lookback_candles
from trader.core.strategy.ps60.setups import Setup


def evaluate(setup: Setup, candles: Sequence[Candle], rules: EntryRules) -> list[Signal]:
    """The signals of both sides over `candles` (closed, in order of time), in order of time."""
    breakouts = [Breakout(setup, side, rules) for side in SIDES]
    depth = lookback_candles(rules) + 1
    found: list[Signal] = []
    for count in range(1, len(candles) + 1):
        window = candles[max(0, count - depth) : count]
        found.extend(signal for breakout in breakouts if (signal := breakout.on_candle(window)) is not None)
    return found
