"""The trades of one symbol on one day: future ones, shifts of their prices, and the 5-second bars of past ones.

Times are whole milliseconds since 09:30. Trades are read once, in order. Past trades are final: a shift
changes the price of future trades only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from paper_gateway.market.bar_builder import BARS_PER_MINUTE, BarBuilder, bar_of_candle, bars_of_minute, merged
from paper_gateway.market.candles import Candle
from paper_gateway.market.model import CENT
from paper_gateway.market.walk import MINUTE_MS, TRADES_PER_MINUTE, RawTrade, walk_minute


class SymbolTrades:
    """Makes the trades of the day's candles (by minute since 09:30, gaps allowed) when they are needed.

    seed: of the day and symbol. The same seed and candles give the same trades.
    """

    def __init__(self, candles: Sequence[Candle], prev_close: int, seed: str) -> None:
        self.prev_close = prev_close
        self.session = BarBuilder.flat(prev_close)
        self.last: RawTrade | None = None
        self._candles = {candle.minute: candle for candle in candles}
        self._end_ms = (max(self._candles, default=-1) + 1) * MINUTE_MS
        self._seed = seed
        self._read_to_ms = -1
        self._minute = 0
        self._index = 0
        self._walked: tuple[int, list[RawTrade]] = (-1, [])
        self._shift_from: list[tuple[int, int]] = []
        self._shift_by: list[int] = []
        self._price_ahead: int | None = None
        self._bars: dict[int, list[BarBuilder]] = {}

    def set_price(self, price: int) -> None:
        """Shift all future trades so that the next one is at `price`."""
        self._price_ahead = price

    def read(self, to_ms: int) -> list[tuple[int, RawTrade]]:
        """Read the next trades up to `to_ms`, each with its minute, with shifted prices."""
        found: list[tuple[int, RawTrade]] = []
        while (base_ms := self._minute * MINUTE_MS) <= to_ms and base_ms < self._end_ms:
            trades = self._raw(self._minute)
            while self._index < len(trades) and base_ms + trades[self._index].ms <= to_ms:
                trade = self._shifted_ahead(trades[self._index])
                self.session.add(trade.price, trade.size)
                found.append((self._minute, trade))
                self._index += 1
            if to_ms < base_ms + MINUTE_MS:
                break
            self._minute, self._index = self._minute + 1, 0
        self._read_to_ms = max(self._read_to_ms, to_ms)
        if found:
            self.last = found[-1][1]
        return found

    def skip(self, to_ms: int) -> None:
        """Like `read`, without the trades: whole minutes are added from their candles, which is faster."""
        traded: int | None = None
        while (self._minute + 1) * MINUTE_MS <= to_ms and self._minute * MINUTE_MS < self._end_ms:
            candle = self._candles.get(self._minute)
            if candle is not None and _has_trades(candle):
                self.session = merged((self.session, bar_of_candle(candle)))
                traded = self._minute
            self._minute += 1
        if traded is not None:
            self.last = self._raw(traded)[-1]
        self.read(to_ms)

    def bars(self, first: int, stop: int) -> list[BarBuilder]:
        """The 5-second bars numbered [first, stop) since 09:30. They must be in the past."""
        found: list[BarBuilder] = []
        for minute in range(first // BARS_PER_MINUTE, -(-stop // BARS_PER_MINUTE)):
            base = minute * BARS_PER_MINUTE
            found += self._bars_of(minute)[max(first - base, 0) : stop - base]
        return found

    def _bars_of(self, minute: int) -> list[BarBuilder]:
        known = self._bars.get(minute)
        if known is None:
            known = bars_of_minute(self._past(minute), self._close_before(minute))
            if (minute + 1) * MINUTE_MS <= self._read_to_ms + 1:
                self._bars[minute] = known
        return known

    def _past(self, minute: int) -> list[RawTrade]:
        """The minute's trades with shifted prices. The caller uses the past ones only."""
        trades = self._raw(minute)
        if not self._shift_from:
            return trades
        return [_moved(trade, self._shift_at(minute, index)) for index, trade in enumerate(trades)]

    def _close_before(self, minute: int) -> int:
        """The last price before `minute`: the shifted close of the last candle with trades."""
        for earlier in range(minute - 1, -1, -1):
            candle = self._candles.get(earlier)
            if candle is not None and _has_trades(candle):
                return max(CENT, candle.close + self._shift_at(earlier, TRADES_PER_MINUTE))
        return self.prev_close

    def _raw(self, minute: int) -> list[RawTrade]:
        if self._walked[0] != minute:
            candle = self._candles.get(minute)
            trades = walk_minute(candle, f"{self._seed}:{minute}") if candle else []
            self._walked = (minute, trades)
        return self._walked[1]

    def _shifted_ahead(self, trade: RawTrade) -> RawTrade:
        if self._price_ahead is not None:
            self._shift_from.append((self._minute, self._index))
            self._shift_by.append(self._price_ahead - trade.price)
            self._price_ahead = None
        return _moved(trade, self._shift_by[-1]) if self._shift_by else trade

    def _shift_at(self, minute: int, index: int) -> int:
        place = bisect_right(self._shift_from, (minute, index))
        return self._shift_by[place - 1] if place else 0


def _has_trades(candle: Candle) -> bool:
    return candle.volume > 0 or candle.high > candle.low


def _moved(trade: RawTrade, by: int) -> RawTrade:
    # A shift must not lead to a price below one cent, the lowest price of a stock.
    return RawTrade(trade.ms, max(CENT, trade.price + by), trade.size) if by else trade
