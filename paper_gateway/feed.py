"""Advances the market and sends market data: ticks to the engine first, then to subscribers; bars at each
five-second boundary. The order of ticks and bars is the session's at any speed."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from paper_gateway import replies
from paper_gateway.brokerage import Brokerage
from paper_gateway.history import bar_start, format_time, merge
from paper_gateway.hours import close_of
from paper_gateway.market import Bar, SessionClock, Tick
from paper_gateway.publisher import Publisher
from paper_gateway.session import Session

log = logging.getLogger(__name__)

BAR = timedelta(seconds=5)
"""Length of a real-time bar."""

BID, ASK, LAST, HIGH, LOW, CLOSE, OPEN = 1, 2, 4, 6, 7, 9, 14
BID_SIZE, ASK_SIZE, LAST_SIZE, VOLUME = 0, 3, 5, 8
LAST_TIMESTAMP, HALTED = 45, 49


class FormingBar:
    """The unfinished last bar of a historical request with keepUpToDate, built from five-second bars."""

    def __init__(self, session: Session, request_id: int, symbol: str, bar_s: int, format_date: int) -> None:
        self.session = session
        self.request_id = request_id
        self.symbol = symbol
        self.bar_s = bar_s
        self.format_date = format_date
        self._forming: Bar | None = None

    def add(self, bar: Bar) -> tuple[str, Bar]:
        """Add the next five-second bar. Returns the unfinished bar with its date in the request's format."""
        starts = bar_start(bar.start, self.bar_s)
        if self._forming is not None and bar_start(self._forming.start, self.bar_s) == starts:
            bar = merge([self._forming, bar])
        self._forming = bar
        return format_time(starts, self.bar_s, self.format_date), bar


class Feed:
    """Moves the market to the clock's time, and sends ticks and bars to their subscribers."""

    def __init__(self, brokerage: Brokerage, publisher: Publisher, clock: SessionClock) -> None:
        self.forming_bars: dict[tuple[int, int], FormingBar] = {}
        self._brokerage = brokerage
        self._publisher = publisher
        self._clock = clock
        self._now = brokerage.market.start
        self._bar_end = _floor(self._now) + BAR
        self._day_over = False

    def step(self) -> None:
        """Advance the market to the clock's time. At each five-second boundary on the way, send the bars.

        What takes effect later in real time, such as a slow cancel, does so before the market moves.
        """
        self._brokerage.engine.schedule.run_due()
        target = self._clock.now()
        while self._bar_end <= target:
            self._advance(self._bar_end)
            self._emit_bars(self._bar_end - BAR)
            self._bar_end += BAR
        self._advance(target)

    def forget(self, session: Session) -> None:
        """End the keepUpToDate requests of a disconnected client."""
        self.forming_bars = {key: bar for key, bar in self.forming_bars.items() if bar.session is not session}

    def inject(self, tick: Tick) -> None:
        """Send a trade that the market did not make (control command `price`)."""
        self._brokerage.engine.on_tick(tick)
        self._publish(tick)

    def _advance(self, to: datetime) -> None:
        for tick in self._brokerage.market.advance(to):
            self._brokerage.engine.on_tick(tick)
            self._publish(tick)
        self._brokerage.engine.now = max(to, self._brokerage.engine.now)
        self._now = to
        self._expire_at_close(to)

    def _expire_at_close(self, now: datetime) -> None:
        """Cancel day orders once, when the session closes."""
        if self._day_over:
            return
        hours = self._brokerage.info(self._brokerage.market.symbols[0]).liquid_hours
        closes = close_of(hours, now)
        if closes is None or closes.date() > now.date():
            self._day_over = True
            self._brokerage.engine.expire_day_orders()

    def _publish(self, tick: Tick) -> None:
        for session in self._publisher.sessions.values():
            for request_id, symbol in session.subscriptions.ticks.items():
                if symbol == tick.symbol:
                    session.send("ticks", *self._tick_frames(request_id, tick))

    def _tick_frames(self, request_id: int, tick: Tick) -> list[bytes]:
        quote = self._brokerage.market.quote(tick.symbol)
        frames = [
            replies.tick_string(request_id, LAST_TIMESTAMP, str(int(tick.time.timestamp()))),
            replies.tick_price(request_id, LAST, tick.price, tick.size),
            replies.tick_size(request_id, VOLUME, quote.volume),
            replies.tick_price(request_id, BID, tick.bid, quote.bid_size, 1),
            replies.tick_price(request_id, ASK, tick.ask, quote.ask_size, 1),
        ]
        if tick.price >= quote.high:
            frames.append(replies.tick_price(request_id, HIGH, tick.price, 0))
        if tick.price <= quote.low:
            frames.append(replies.tick_price(request_id, LOW, tick.price, 0))
        return frames

    def snapshot(self, request_id: int, symbol: str) -> list[bytes]:
        """The first messages of a market data request: all prices and sizes known now."""
        info = self._brokerage.info(symbol)
        quote = self._brokerage.market.quote(symbol)
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
            replies.tick_parameters(request_id, info),
            replies.market_data_type(request_id, 1),
            *(replies.tick_price(request_id, kind, price, size, mask) for kind, price, size, mask in prices),
            *(replies.tick_size(request_id, kind, size) for kind, size in sizes),
            replies.tick_generic(request_id, HALTED, 0.0),
        ]

    def _emit_bars(self, start: datetime) -> None:
        """Send the bar [start, start + 5 s) of every subscribed symbol to its subscribers."""
        cached: dict[str, Bar | None] = {}

        def bar_of(symbol: str) -> Bar | None:
            if symbol not in cached:
                cached[symbol] = self._bar(symbol, start)
            return cached[symbol]

        for session in self._publisher.sessions.values():
            for request_id, symbol in session.subscriptions.real_time_bars.items():
                bar = bar_of(symbol)
                if bar is not None:
                    session.send("bars", replies.real_time_bar(request_id, bar))
        for forming in self.forming_bars.values():
            bar = bar_of(forming.symbol)
            if bar is not None:
                date, so_far = forming.add(bar)
                forming.session.send("history", replies.historical_update(forming.request_id, date, so_far))

    def _bar(self, symbol: str, start: datetime) -> Bar | None:
        if not self._brokerage.engine.is_market_open(self._brokerage.info(symbol).liquid_hours, start):
            return None
        bars = self._brokerage.market.bars(symbol, start, start + BAR, 5)
        if len(bars) != 1:
            log.error("%s has %d five-second bars at %s instead of one", symbol, len(bars), start)
            return None
        return bars[0]


def _floor(time: datetime) -> datetime:
    return time.replace(second=time.second - time.second % 5, microsecond=0)
