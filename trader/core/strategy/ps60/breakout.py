"""The three entry paths, judged on closed 1-minute candles.

A signal is a pure function of a candle and the `lookback_candles(rules)` before it. So a restart that refills the
buffer gives the same signals as a run that never stopped. `docs/RULES.md` has a worked example of each path. The
rules below are for LONG; SHORT mirrors them.

- *Break*: a candle closes beyond the pivot, and the candle of the minute before closed not beyond it.
- *Momentum*, at the break candle: volume at least `momentum_volume_ratio` times the mean of the up to 20
  candles before it (at least five), and a body in the break's direction of at least `momentum_body_pct` of its
  open or `momentum_body_atr` times the ATR of the candles before it.
- *Pullback and retest*, after a break without momentum: within `retest_bars` a candle's low comes within
  `retest_pct` of the pivot, or goes through it; and that candle, or one within `retest_bars` of it, closes beyond
  the pivot and beyond the close before it, on at least `retest_volume_ratio` times the mean volume.
- *Sustained*, after a break without momentum: each of the next `sustained_minutes` candles closes beyond the
  pivot, and none gives back more than `sustained_give_back_pct` of the pivot.

A break ends with its first signal. If the pullback went through the pivot, the candle that confirms the retest is a
break as well; it is not followed as a new one. The candles must be consecutive: a break across a gap does not
count, and after a gap a break is no longer followed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from state.domain.model import Side, sign
from trader.config.sections import EntryRules
from trader.core.bars import SLOTS, Candle
from trader.core.numbers import at_least
from trader.core.strategy.indicators import ATR_CANDLES, VOLUME_CANDLES, atr, mean_volume
from trader.core.strategy.ps60.setups import Setup

EntryPath = Literal["momentum", "pullback_retest", "sustained"]
ENTRY_PATHS: tuple[EntryPath, ...] = ("momentum", "pullback_retest", "sustained")
SIDES: tuple[Side, ...] = ("LONG", "SHORT")


class Signal(msgspec.Struct, frozen=True):
    """A confirmed break, identified by symbol, side and `break_time`.

    price: the close of the candle at `candle_time`, in dollars. volume_ratio: that candle's volume over the mean of
    the candles before it. break_time: the start of the candle that broke the pivot.
    """

    symbol: str
    side: Side
    path: EntryPath
    pivot: float
    price: float
    candle_time: datetime
    break_time: datetime
    volume_ratio: float


def lookback_candles(rules: EntryRules) -> int:
    """How many candles before a candle its signal can depend on."""
    # A candle may confirm a break that is `candles_after_break` before it, and that break's candle may confirm the
    # retest of another one as far before.
    return max(VOLUME_CANDLES, ATR_CANDLES + 1) + 2 * candles_after_break(rules) + 1


def candles_after_break(rules: EntryRules) -> int:
    """How many candles after a break its signal can come."""
    return max(2 * _retest_candles(rules), rules.sustained_minutes)


def _retest_candles(rules: EntryRules) -> int:
    return math.ceil(rules.retest_bars / SLOTS)


def volume_ratio(candles: Sequence[Candle]) -> float | None:
    """The last candle's volume over the mean of the up to 20 before it; None below five, or if they are 0."""
    mean = mean_volume(candles[:-1])
    return candles[-1].volume / mean if mean else None


class Breakout:
    """Finds the signals of one symbol on one side."""

    def __init__(self, setup: Setup, side: Side, rules: EntryRules) -> None:
        self.setup = setup
        self.side: Side = side
        self.rules = rules
        self.pivot = setup.pivot(side)
        self._sign = sign(side)

    def on_candle(self, candles: Sequence[Candle]) -> Signal | None:
        """The signal of the last of `candles` (closed, in order of time), or None.

        If one candle confirms two breaks, its own momentum comes first, then the older break.
        """
        window = candles[-lookback_candles(self.rules) - 1 :]
        last = len(window) - 1
        for start in (last, *range(max(1, last - candles_after_break(self.rules)), last)):
            at, path = self._outcome(window, start)
            if at == last and path is not None and (path == "momentum" or not self._confirms(window, start)):
                return self._signal(window, start, path)
        return None

    def _signal(self, candles: Sequence[Candle], start: int, path: EntryPath) -> Signal:
        return Signal(
            symbol=self.setup.symbol,
            side=self.side,
            path=path,
            pivot=self.pivot,
            price=candles[-1].close,
            candle_time=candles[-1].time,
            break_time=candles[start].time,
            volume_ratio=volume_ratio(candles) or 0.0,
        )

    def _beyond(self, price: float) -> bool:
        return (price - self.pivot) * self._sign > 0

    def _breaks(self, candles: Sequence[Candle], at: int) -> bool:
        return (
            at >= 1
            and _consecutive(candles[at - 1], candles[at])
            and self._beyond(candles[at].close)
            and not self._beyond(candles[at - 1].close)
        )

    def _outcome(self, candles: Sequence[Candle], start: int) -> tuple[int, EntryPath | None]:
        """The index at which a break at `start` gives its signal, and the path; (-1, None) if there is none yet."""
        if not self._breaks(candles, start):
            return -1, None
        if self._momentum(candles, start):
            return start, "momentum"
        touch: int | None = None
        held = True
        for at in range(start + 1, min(start + candles_after_break(self.rules), len(candles) - 1) + 1):
            if not _consecutive(candles[at - 1], candles[at]):
                break
            if at <= start + _retest_candles(self.rules) and self._returns(candles[at]):
                touch = at
            held = held and self._holds(candles[at])
            if touch is not None and at <= touch + _retest_candles(self.rules) and self._again(candles, at):
                return at, "pullback_retest"
            if held and at == start + self.rules.sustained_minutes:
                return at, "sustained"
        return -1, None

    def _confirms(self, candles: Sequence[Candle], at: int) -> bool:
        """Whether the candle gave the signal of an earlier break; then it is not a new break."""
        earlier = range(max(1, at - candles_after_break(self.rules)), at)
        return any(self._outcome(candles, start)[0] == at for start in earlier)

    def _momentum(self, candles: Sequence[Candle], at: int) -> bool:
        candle, before = candles[at], candles[:at]
        ratio = volume_ratio(candles[: at + 1])
        if ratio is None or not at_least(ratio, self.rules.momentum_volume_ratio):
            return False
        body = (candle.close - candle.open) * self._sign
        mean_range = atr(before)
        by_size = at_least(body, candle.open * self.rules.momentum_body_pct / 100)
        by_range = mean_range is not None and body > 0 and at_least(body, self.rules.momentum_body_atr * mean_range)
        return by_size or by_range

    def _returns(self, candle: Candle) -> bool:
        """Whether the candle came back within `retest_pct` of the pivot, or through it."""
        nearest = candle.low if self.side == "LONG" else candle.high
        return at_least(self.pivot * self.rules.retest_pct / 100, (nearest - self.pivot) * self._sign)

    def _again(self, candles: Sequence[Candle], at: int) -> bool:
        """Whether the candle breaks again: it closes beyond the pivot and the last close, on enough volume."""
        close = candles[at].close
        if not self._beyond(close) or (close - candles[at - 1].close) * self._sign <= 0:
            return False
        ratio = volume_ratio(candles[: at + 1])
        return ratio is not None and at_least(ratio, self.rules.retest_volume_ratio)

    def _holds(self, candle: Candle) -> bool:
        """Whether the candle closed beyond the pivot and gave back no more than allowed."""
        worst = candle.low if self.side == "LONG" else candle.high
        give_back = (self.pivot - worst) * self._sign
        return self._beyond(candle.close) and at_least(
            self.pivot * self.rules.sustained_give_back_pct / 100, give_back
        )


def _consecutive(earlier: Candle, later: Candle) -> bool:
    return earlier.end == later.time
