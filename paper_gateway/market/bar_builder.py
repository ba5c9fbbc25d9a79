"""Builds 5-second bars from trades and longer bars from shorter ones, exactly, in whole price units."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from paper_gateway.market.candles import Candle
from paper_gateway.market.model import PRICE_SCALE, Bar
from paper_gateway.market.walk import MINUTE_MS, TRADES_PER_MINUTE, RawTrade

SHORTEST_BAR_S: Final = 5
SHORTEST_BAR_MS: Final = SHORTEST_BAR_S * 1000
"""The shortest bars. All longer ones are merged from them."""
BARS_PER_MINUTE: Final = MINUTE_MS // SHORTEST_BAR_MS


@dataclass(slots=True)
class BarBuilder:
    """A bar that trades are added to. Prices in price units. turnover: the sum of price units x shares."""

    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    turnover: int = 0
    count: int = 0

    @classmethod
    def flat(cls, price: int) -> BarBuilder:
        """A bar without trades, at the last price before it."""
        return cls(price, price, price, price)

    def add(self, price: int, size: int) -> None:
        """Add one trade."""
        if self.count == 0:
            self.open = self.high = self.low = price
        elif price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.volume += size
        self.turnover += price * size
        self.count += 1

    def to_bar(self, start: datetime) -> Bar:
        """The bar with prices in dollars. Without volume, wap is the close."""
        wap = self.turnover / self.volume if self.volume else self.close
        return Bar(
            start,
            self.open / PRICE_SCALE,
            self.high / PRICE_SCALE,
            self.low / PRICE_SCALE,
            self.close / PRICE_SCALE,
            self.volume,
            wap / PRICE_SCALE,
            self.count,
        )


def bar_of_candle(candle: Candle) -> BarBuilder:
    """A one-minute bar from its candle, without its trades. wap: the mean of high, low and close."""
    typical = round((candle.high + candle.low + candle.close) / 3)
    turnover = typical * candle.volume
    return BarBuilder(
        candle.open, candle.high, candle.low, candle.close, candle.volume, turnover, TRADES_PER_MINUTE
    )


def bars_of_minute(trades: Iterable[RawTrade], price_before: int) -> list[BarBuilder]:
    """The twelve 5-second bars of a minute. One without trades has the last price before it, and volume 0."""
    bars: list[BarBuilder] = []
    bar = BarBuilder.flat(price_before)
    for trade in trades:
        while trade.ms >= (len(bars) + 1) * SHORTEST_BAR_MS:
            bars.append(bar)
            bar = BarBuilder.flat(bar.close)
        bar.add(trade.price, trade.size)
    while len(bars) < BARS_PER_MINUTE:
        bars.append(bar)
        bar = BarBuilder.flat(bar.close)
    return bars


def merged(bars: Iterable[BarBuilder]) -> BarBuilder:
    """One bar of consecutive bars. Bars without trades are left out, unless none has trades."""
    total: BarBuilder | None = None
    for bar in bars:
        if total is None or (total.count == 0 and bar.count):
            total = BarBuilder(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover, bar.count)
        elif bar.count:
            total.high = max(total.high, bar.high)
            total.low = min(total.low, bar.low)
            total.close = bar.close
            total.volume += bar.volume
            total.turnover += bar.turnover
            total.count += bar.count
    if total is None:
        raise ValueError("no bars to merge")
    return total
