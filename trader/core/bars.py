"""5-second bars and the 1-minute candles made of them: the order of things, gaps and warmth.

A bar's time is its start, on the 5-second grid. A candle is the aggregation of the bars of one minute; it is
closed when the bar of its twelfth slot came, or a bar of a later minute. Times compare as instants.
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
WARM_SLOTS = 25  # the latest 20 bars may lie in no more than so many slots
CANDLES_KEPT = 60  # more than any entry path looks back, see breakout.lookback_candles

BAR = timedelta(seconds=BAR_S)
CANDLE = timedelta(seconds=CANDLE_S)
LAST_SLOT = CANDLE - BAR
REACH = CANDLES_KEPT * CANDLE  # how far back a buffer wants to know


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

    The bars are the last `maxlen`; closed candles are kept longer (`CANDLES_KEPT`), since the entry paths
    look back over more minutes than 240 bars hold. Whoever persists the buffer keeps both.
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
        """Whether there are 20 bars that lie closely enough together to judge by (100 s)."""
        if len(self._bars) < WARM_BARS:
            return False
        return self._bars[-1].time - self._bars[-WARM_BARS].time < WARM_SLOTS * BAR

    def add(self, bar: Bar) -> Candle | None:
        """Take the next bar of the feed; the candle that it completed, if it did.

        A bar that is not later than the latest one is ignored: `merge` is for those. Raises MarketDataError
        for a bar that cannot be.
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
        """Fill gaps from historical bars; the candles that are new or changed by it, in order of time.

        A bar that is held already stays as it is: what was seen live is what decisions were made on.
        Bars older than the buffer reaches back are dropped. Raises MarketDataError, changing nothing, if
        any bar cannot be.
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
        """Spans [start, end) without bars, from `REACH` before `now` to the last slot that `now` has completed.

        What lies before the first bar counts: a live bar may come before any history was asked for, and the
        means of the candles would then be taken over too few of them.
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
        """Put the candles of `minutes`, and of the latest bar's own minute, in place where they are closed."""
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
        """Insert or replace; a candle made of more bars is never replaced by one made of fewer."""
        at = bisect_left(self._candles, candle.time, key=lambda c: c.time)
        if at < len(self._candles) and self._candles[at].time == candle.time:
            if candle.n >= self._candles[at].n:
                self._candles[at] = candle
        else:
            self._candles.insert(at, candle)
