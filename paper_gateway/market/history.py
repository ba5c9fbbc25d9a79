"""The trading days before the session's date: simulated calm days, so that clients can ask for past bars.

There are `DAYS` of them; each closes at the open of the next one. Bars of a minute or more are made from the
day's candles (their wap is the mean of high, low and close), shorter bars from its trades.
"""

from __future__ import annotations

import random
from datetime import date, datetime, timedelta
from typing import Final

from paper_gateway.market.bar_builder import SHORTEST_BAR_S, BarBuilder, bar_of_candle, merged
from paper_gateway.market.candles import Candle, bridge_closes, ordinary_volume, to_grid, with_wicks
from paper_gateway.market.model import Bar
from paper_gateway.market.symbol_trades import SymbolTrades
from paper_gateway.market.trading_days import (
    bar_spans,
    previous_trading_day,
    session_minutes,
    session_open,
)
from paper_gateway.market.walk import MINUTE_MS

DAYS: Final = 30
_DAILY_CHANGE: Final = 0.012


class PriorDays:
    """The days before `day`. The last one closed at `prev_close` (price units)."""

    def __init__(self, day: date, prev_close: int, minute_volume: int, seed: str) -> None:
        self._minute_volume = minute_volume
        self._seed = seed
        self._ends: dict[date, tuple[int, int]] = {}
        close = prev_close
        for _ in range(DAYS):
            day = previous_trading_day(day)
            open_ = to_grid(close * (1 + random.Random(f"{seed}:{day}:open").gauss(0.0, _DAILY_CHANGE)))
            self._ends[day] = (open_, close)
            close = open_
        self._candles: dict[date, list[Candle]] = {}
        self._trades: dict[date, SymbolTrades] = {}

    def bars(self, since: datetime, until: datetime, bar_s: int) -> list[Bar]:
        """Complete bars that start at or after `since` and end at or before `until`, oldest first."""
        bars: list[Bar] = []
        for day in sorted(self._ends):
            open_at = session_open(day)
            since_s = (since - open_at).total_seconds()
            until_s = (until - open_at).total_seconds()
            for first_s, stop_s in bar_spans(session_minutes(day) * 60, bar_s, since_s, until_s):
                bar = self._bar(day, first_s, stop_s)
                bars.append(bar.to_bar(open_at + timedelta(seconds=first_s)))
        return bars

    def _bar(self, day: date, first_s: int, stop_s: int) -> BarBuilder:
        if first_s % 60 == 0 and stop_s % 60 == 0:
            candles = self._candles_of(day)[first_s // 60 : stop_s // 60]
            return merged(bar_of_candle(candle) for candle in candles)
        trades = self._trades.get(day)
        if trades is None:
            trades = SymbolTrades(self._candles_of(day), self._ends[day][0], f"{self._seed}:{day}")
            trades.skip(session_minutes(day) * MINUTE_MS)
            self._trades[day] = trades
        return merged(trades.bars(first_s // SHORTEST_BAR_S, stop_s // SHORTEST_BAR_S))

    def _candles_of(self, day: date) -> list[Candle]:
        known = self._candles.get(day)
        if known is None:
            open_, close = self._ends[day]
            rng = random.Random(f"{self._seed}:{day}:prior")
            closes = bridge_closes(rng, open_, close, session_minutes(day))
            volumes = [ordinary_volume(rng, self._minute_volume) for _ in closes]
            known = self._candles[day] = with_wicks(rng, open_, closes, volumes)
        return known
