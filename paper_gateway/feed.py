"""Advances the market and sends market data: ticks to the engine first, then to subscribers; bars at each
five-second boundary. The order of ticks and bars is the session's at any speed."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from paper_gateway import replies
from paper_gateway.brokerage import Brokerage
from paper_gateway.data_requests import DataRequests
from paper_gateway.history import HistoryQuery, bar_start, merge
from paper_gateway.hours import close_of
from paper_gateway.market import Bar, SessionClock, Tick
from paper_gateway.publisher import Publisher
from paper_gateway.session import Session
from paper_gateway.tick_messages import TickMessages

log = logging.getLogger(__name__)

BAR = timedelta(seconds=5)
"""Length of a real-time bar."""


class FormingBar:
    """The unfinished last bar of a historical request with keepUpToDate, built from five-second bars."""

    def __init__(self, session: Session, request_id: int, symbol: str, query: HistoryQuery) -> None:
        self.session = session
        self.request_id = request_id
        self.symbol = symbol
        self._query = query
        self._forming: Bar | None = None

    def add(self, bar: Bar) -> tuple[str, Bar]:
        """Add the next five-second bar. Returns the unfinished bar as the client sees it."""
        starts = bar_start(bar.start, self._query.bar_s)
        if self._forming is not None and bar_start(self._forming.start, self._query.bar_s) == starts:
            bar = merge([self._forming, bar])
        self._forming = bar
        return self._query.shown(replace(bar, start=starts))


class Feed:
    """Moves the market to the clock's time, and sends ticks and bars to their subscribers."""

    def __init__(self, brokerage: Brokerage, publisher: Publisher, clock: SessionClock) -> None:
        self.forming_bars: dict[tuple[int, int], FormingBar] = {}
        self.ticks = TickMessages(brokerage)
        self.requests = DataRequests(publisher.sessions, self.ticks, brokerage.quirks)
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
                    session.send("ticks", *self.ticks.of_trade(request_id, tick))

    def _emit_bars(self, start: datetime) -> None:
        """Send the bar [start, start + 5 s) of every subscribed symbol to its subscribers."""
        cached: dict[str, Bar | None] = {}

        def bar_of(symbol: str) -> Bar | None:
            if symbol not in cached:
                cached[symbol] = self._bar(symbol, start)
            return cached[symbol]

        for session in self._publisher.sessions.values():
            for request_id, symbol in session.subscriptions.ticks.items():
                session.send("ticks", *self.ticks.of_delay(request_id, symbol))
            for request_id, symbol in session.subscriptions.real_time_bars.items():
                bar = bar_of(symbol)
                if bar is not None:
                    session.send("bars", *self.ticks.of_bar(request_id, bar))
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
