"""The messages of market data requests: live prices, delayed ones, or stale ones, as the quirks say."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from paper_gateway import replies
from paper_gateway.brokerage import Brokerage
from paper_gateway.history import merge
from paper_gateway.market import Bar, Quote, Tick
from paper_gateway.market.trading_days import session_open

BID, ASK, LAST, HIGH, LOW, CLOSE, OPEN = 1, 2, 4, 6, 7, 9, 14
BID_SIZE, ASK_SIZE, LAST_SIZE, VOLUME = 0, 3, 5, 8
LAST_TIMESTAMP, HALTED = 45, 49
DELAYED_KINDS = {
    BID: 66,
    ASK: 67,
    LAST: 68,
    BID_SIZE: 69,
    ASK_SIZE: 70,
    LAST_SIZE: 71,
    HIGH: 72,
    LOW: 73,
    VOLUME: 74,
    CLOSE: 75,
    OPEN: 76,
    LAST_TIMESTAMP: 88,
}
"""The tick types of delayed data, by those of live data."""
LIVE, DELAYED = 1, 3
DELAY = timedelta(minutes=15)
LOT = 100
_BAR_S = 5
_MINUTE_S = 60


class TickMessages:
    """Makes the frames of one request. Nothing is sent here."""

    def __init__(self, brokerage: Brokerage) -> None:
        self._brokerage = brokerage
        self._quirks = brokerage.quirks
        self._frozen: dict[str, tuple[Quote, datetime]] = {}
        self._quirks.watchers.append(self._quirk_changed)
        self._quirk_changed("stale")

    @property
    def are_delayed(self) -> bool:
        return self._quirks.on("delayed")

    def first(self, request_id: int, symbol: str) -> list[bytes]:
        """What a request is answered with: its parameters, and all prices and sizes known now."""
        head = [
            replies.market_data_type(request_id, DELAYED if self.are_delayed else LIVE),
            replies.tick_parameters(request_id, self._brokerage.info(symbol)),
        ]
        if self._quirks.on("no-ticks"):
            return head
        quote, at = self._seen(symbol)
        if self.are_delayed:
            return head + self._whole(request_id, self._delayed_quote(symbol, quote, at - DELAY), at - DELAY)
        return head + self._whole(request_id, quote, at) + [replies.tick_generic(request_id, HALTED, 0.0)]

    def of_trade(self, request_id: int, tick: Tick) -> list[bytes]:
        """What one trade of the market sends: nothing while data are delayed."""
        if self._quirks.on("no-ticks") or self.are_delayed:
            return []
        quote = self._brokerage.market.quote(tick.symbol)
        if self._quirks.on("stale"):
            quote, at = self._seen(tick.symbol)
            tick = Tick(tick.symbol, at, quote.last, quote.last_size, quote.bid, quote.ask)
        frames = [
            replies.tick_string(request_id, LAST_TIMESTAMP, str(int(tick.time.timestamp()))),
            replies.tick_price(request_id, LAST, tick.price, self._sized(tick.size)),
            replies.tick_size(request_id, VOLUME, self._sized(quote.volume)),
            replies.tick_price(request_id, BID, tick.bid, self._sized(quote.bid_size), 1),
            replies.tick_price(request_id, ASK, tick.ask, self._sized(quote.ask_size), 1),
        ]
        if tick.price >= quote.high:
            frames.append(replies.tick_price(request_id, HIGH, tick.price, 0))
        if tick.price <= quote.low:
            frames.append(replies.tick_price(request_id, LOW, tick.price, 0))
        return frames

    def of_delay(self, request_id: int, symbol: str) -> list[bytes]:
        """What is sent every five seconds while data are delayed."""
        if self._quirks.on("no-ticks") or not self.are_delayed:
            return []
        quote, at = self._seen(symbol)
        price = self._price_at(symbol, quote, at - DELAY)
        return [
            replies.tick_string(request_id, DELAYED_KINDS[LAST_TIMESTAMP], str(int((at - DELAY).timestamp()))),
            replies.tick_price(request_id, DELAYED_KINDS[LAST], price, self._sized(LOT)),
            replies.tick_price(request_id, DELAYED_KINDS[BID], round(price - 0.01, 4), self._sized(LOT), 1),
            replies.tick_price(request_id, DELAYED_KINDS[ASK], round(price + 0.01, 4), self._sized(LOT), 1),
        ]

    def of_bar(self, request_id: int, bar: Bar) -> list[bytes]:
        """A real-time bar, unless a quirk keeps it back."""
        if self._quirks.on("no-bars") or self._quirks.on("stale"):
            return []
        return [replies.real_time_bar(request_id, replace(bar, volume=self._sized(bar.volume)))]

    def _quirk_changed(self, name: str) -> None:
        """Keep the present quotes when `stale` is switched on."""
        if name == "stale":
            self._frozen.clear()
            for symbol in self._brokerage.market.symbols if self._quirks.on(name) else ():
                self._seen(symbol)

    def _seen(self, symbol: str) -> tuple[Quote, datetime]:
        """The quote that clients see, and when it was made. A stale one is kept from the first look on."""
        now = self._brokerage.market.quote(symbol), self._brokerage.engine.now
        return self._frozen.setdefault(symbol, now) if self._quirks.on("stale") else now

    def _whole(self, request_id: int, quote: Quote, at: datetime) -> list[bytes]:
        """All prices and sizes of a quote, as live or as delayed tick types."""
        kinds = DELAYED_KINDS if self.are_delayed else {kind: kind for kind in DELAYED_KINDS}
        prices = (
            (BID, quote.bid, quote.bid_size, 1),
            (ASK, quote.ask, quote.ask_size, 1),
            (LAST, quote.last, quote.last_size, 0),
            (HIGH, quote.high, 0, 0),
            (LOW, quote.low, 0, 0),
            (CLOSE, quote.prev_close, 0, 0),
            (OPEN, quote.open, 0, 0),
        )
        sizes = (
            (BID_SIZE, quote.bid_size),
            (ASK_SIZE, quote.ask_size),
            (LAST_SIZE, quote.last_size),
            (VOLUME, quote.volume),
        )
        return [
            replies.tick_string(request_id, kinds[LAST_TIMESTAMP], str(int(at.timestamp()))),
            *(
                replies.tick_price(request_id, kinds[kind], price, self._sized(size), mask)
                for kind, price, size, mask in prices
            ),
            *(replies.tick_size(request_id, kinds[kind], self._sized(size)) for kind, size in sizes),
        ]

    def _sized(self, shares: int) -> int:
        return shares // LOT if self._quirks.on("volume-lots") else shares

    def _delayed_quote(self, symbol: str, quote: Quote, then: datetime) -> Quote:
        """The quote as it was: made of the bars since the open, with a spread of two cents."""
        opened = session_open(self._brokerage.market.trading_date)
        bars = self._brokerage.market.bars(symbol, opened, then, _MINUTE_S) if then > opened else []
        day = merge(bars) if bars else None
        last = self._price_at(symbol, quote, then)
        return Quote(
            bid=round(last - 0.01, 4),
            ask=round(last + 0.01, 4),
            last=last,
            bid_size=LOT,
            ask_size=LOT,
            last_size=LOT,
            volume=day.volume if day else 0,
            open=day.open if day else last,
            high=max(day.high, last) if day else last,
            low=min(day.low, last) if day else last,
            prev_close=quote.prev_close,
        )

    def _price_at(self, symbol: str, quote: Quote, then: datetime) -> float:
        """The last price at that time; before the session the previous close."""
        if then - timedelta(seconds=2 * _BAR_S) < session_open(self._brokerage.market.trading_date):
            return quote.prev_close
        bars = self._brokerage.market.bars(symbol, then - timedelta(seconds=2 * _BAR_S), then, _BAR_S)
        return bars[-1].close
