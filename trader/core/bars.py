"""5-second bars, and the 1-minute candles made of them: order, gaps, and when a symbol is warm.

A bar's time is its start, on the 5-second grid. A candle aggregates the bars of one minute. It is closed by the bar
of its twelfth slot, or by a bar of a later minute. Times compare as instants.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec

from trader.broker.port import BAR_S, Bar, check_bar

CANDLE_S = 60
SLOTS = CANDLE_S // BAR_S
WARM_BARS = 20  # 100 seconds
WARM_SLOTS = 25  # the latest 20 bars must lie within so many slots
CANDLES_KEPT = 60  # more than any entry path looks back, see breakout.lookback_candles

BAR = timedelta(seconds=BAR_S)
CANDLE = timedelta(seconds=CANDLE_S)
LAST_SLOT = CANDLE - BAR
REACH = CANDLES_KEPT * CANDLE  # how far back a buffer asks for bars


class Candle(msgspec.Struct, frozen=True):
    """Trades of [time, time + 1 minute), made of `n` 5-second bars (12 if none is missing)."""

    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    n: int = SLOTS

    @property
    def end(self) -> datetime:
        """The moment at which the candle closes."""
        return self.time + CANDLE


def minute_of(moment: datetime) -> datetime:
    """The start of the minute that `moment` lies in."""
    return moment.replace(second=0, microsecond=0)


def aggregate(bars: Sequence[Bar]) -> Candle:
    """The candle of the bars of one minute, in order; at least one."""
    return Candle(
        time=minute_of(bars[0].time),
        open=bars[0].open,
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
        close=bars[-1].close,
        volume=sum(bar.volume for bar in bars),
        n=len(bars),
    )


class BarBuffer:
    """The latest bars of one symbol, without duplicates and in order, and the candles closed by them.

    It holds the last `maxlen` bars. Closed candles are kept longer (`CANDLES_KEPT`), because the entry paths look
    back over more minutes than 240 bars cover.
    """

    def __init__(self, maxlen: int = 240) -> None:
        if maxlen < WARM_SLOTS:
            raise ValueError(f"a buffer of {maxlen} bars can never be warm")
        self.maxlen = maxlen
        self._bars: list[Bar] = []
        self._candles: list[Candle] = []

    @property
    def bars(self) -> tuple[Bar, ...]:
        """The bars held, in order of time."""
        return tuple(self._bars)

    @property
    def candles(self) -> tuple[Candle, ...]:
        """The closed candles held, in order of time."""
        return tuple(self._candles)

    @property
    def last_time(self) -> datetime | None:
        """Start of the latest bar."""
        return self._bars[-1].time if self._bars else None

    @property
    def warm(self) -> bool:
        """Whether the latest 20 bars (100 s) have few enough gaps between them to be judged."""
        if len(self._bars) < WARM_BARS:
            return False
        return self._bars[-1].time - self._bars[-WARM_BARS].time < WARM_SLOTS * BAR

    def add(self, bar: Bar) -> Candle | None:
        """Take the next bar of the feed. Returns the candle that it closed, or None.

        A bar that is not later than the latest one is ignored; `merge` takes those. Raises MarketDataError for an
        invalid bar.
        """
        check_bar(bar)
        last = self.last_time
        if last is not None and bar.time <= last:
            return None
        before = self._candles[-1].time if self._candles else None
        self._bars.append(bar)
        self._close_minutes([minute_of(last)] if last else [], bar)
        del self._bars[: -self.maxlen]
        latest = self._candles[-1] if self._candles else None
        return latest if latest is not None and (before is None or latest.time > before) else None

    def merge(self, history: Iterable[Bar]) -> tuple[Candle, ...]:
        """Fill gaps from historical bars. Returns the candles that are new or changed, in order of time.

        A bar that is already held is not replaced: decisions were based on the live one. Bars that are older than
        the buffer's length allows are dropped. Raises MarketDataError, and changes nothing, if any bar is invalid.
        """
        offered = {bar.time: bar for bar in history}
        for bar in offered.values():
            check_bar(bar)
        held = {bar.time for bar in self._bars}
        new = [bar for time, bar in offered.items() if time not in held]
        if not new:
            return ()
        before = {candle.time: candle for candle in self._candles}
        self._bars = sorted([*self._bars, *new], key=lambda bar: bar.time)
        minutes = sorted({minute_of(bar.time) for bar in new} | {minute_of(self._bars[-1].time)})
        self._close_minutes(minutes, self._bars[-1])
        del self._bars[: -self.maxlen]
        return tuple(candle for candle in self._candles if before.get(candle.time) != candle)

    def missing(self, now: datetime) -> list[tuple[datetime, datetime]]:
        """Spans [start, end) without bars, from `REACH` before `now` to the last slot that is complete at `now`.

        The span before the first bar counts: a live bar may arrive before any history was asked for, and the means
        would then be taken over too few candles.
        """
        end = now - timedelta(seconds=now.timestamp() % BAR_S)
        wanted = end - REACH
        if not self._bars:
            return [(wanted, end)]
        spans = self.holes()
        first = self._bars[0].time
        if self._candles:
            first = min(first, self._candles[0].time)
        if first > wanted:
            spans.insert(0, (wanted, first))
        after = self._bars[-1].time + BAR
        if after < end:
            spans.append((after, end))
        return spans

    def holes(self) -> list[tuple[datetime, datetime]]:
        """Spans [start, end) without bars between the first and the latest bar held."""
        return [
            (earlier.time + BAR, later.time)
            for earlier, later in pairwise(self._bars)
            if later.time - earlier.time > BAR
        ]

    def _close_minutes(self, minutes: Iterable[datetime], latest: Bar) -> None:
        """Build the candles of `minutes`, and of the latest bar's minute, as far as they are closed."""
        latest_minute = minute_of(latest.time)
        for minute in sorted({*minutes, latest_minute}):
            if minute == latest_minute and latest.time < minute + LAST_SLOT:
                continue
            start = bisect_left(self._bars, minute, key=lambda bar: bar.time)
            stop = bisect_left(self._bars, minute + CANDLE, key=lambda bar: bar.time)
            if start < stop:
                self._put(aggregate(self._bars[start:stop]))
        del self._candles[:-CANDLES_KEPT]

    def _put(self, candle: Candle) -> None:
        """Insert or replace a candle. One made of more bars is never replaced by one made of fewer."""
        at = bisect_left(self._candles, candle.time, key=lambda c: c.time)
        if at < len(self._candles) and self._candles[at].time == candle.time:
            if candle.n >= self._candles[at].n:
                self._candles[at] = candle
        else:
            self._candles.insert(at, candle)
