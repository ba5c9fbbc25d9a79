"""The simulated market: one trading day of several symbols, synthetic or recorded, moved on by `advance`."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from operator import attrgetter
from typing import Final

from paper_gateway.market.bar_builder import SHORTEST_BAR_S, merged
from paper_gateway.market.candles import Candle, calm_closes, ordinary_volume, to_grid, with_wicks
from paper_gateway.market.contracts import check_symbol, contract_info
from paper_gateway.market.errors import MarketDataError, MarketError
from paper_gateway.market.history import PriorDays
from paper_gateway.market.model import CENT, EASTERN, PRICE_SCALE, Bar, ContractInfo, Quote, Tick
from paper_gateway.market.symbol_trades import SymbolTrades
from paper_gateway.market.trading_days import bar_spans, session_minutes, session_open
from paper_gateway.market.walk import RawTrade

_MILLISECOND: Final = timedelta(milliseconds=1)
_MINUTE: Final = timedelta(minutes=1)
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class SymbolDay:
    """One symbol's day from its source: candles from 09:30 on, the previous close, the usual volume of a minute."""

    candles: tuple[Candle, ...]
    prev_close: int
    minute_volume: int


class SimulatedMarket:
    """The `Market` of the given days. start: aware; everything before it is history."""

    def __init__(self, start: datetime, days: Mapping[str, SymbolDay], seed: int) -> None:
        self._start = _eastern(start)
        self._date = self._start.date()
        self._open = session_open(self._date)
        self._session_s = session_minutes(self._date) * 60
        self._seed = seed
        self._now = self._start
        self._trades: dict[str, SymbolTrades] = {}
        self._prior: dict[str, PriorDays] = {}
        for symbol, day in days.items():
            self._add(symbol, day)

    @property
    def trading_date(self) -> date:
        """The US Eastern date of the day."""
        return self._date

    @property
    def start(self) -> datetime:
        """When the session begins."""
        return self._start

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols of the day's source, then those added by `ensure`."""
        return tuple(self._trades)

    def advance(self, to: datetime) -> list[Tick]:
        """All trades after the last advance and up to `to`, in time order; see `Market.advance`."""
        to = _eastern(to)
        if to <= self._now:
            return []
        self._now = to
        to_ms = self._ms(self._now)
        ticks: list[Tick] = []
        for symbol, trades in self._trades.items():
            minute_at, minute = self._open, 0
            for trade_minute, trade in trades.read(to_ms):
                if trade_minute != minute:
                    minute, minute_at = trade_minute, self._open + _MINUTE * trade_minute
                bid, ask = _spread(trade)
                ticks.append(
                    Tick(
                        symbol,
                        minute_at + _MILLISECOND * trade.ms,
                        trade.price / PRICE_SCALE,
                        trade.size,
                        bid / PRICE_SCALE,
                        ask / PRICE_SCALE,
                    )
                )
        ticks.sort(key=attrgetter("time"))
        return ticks

    def quote(self, symbol: str) -> Quote:
        """The quote as of the last advance. Raises `UnknownSymbolError`."""
        trades = self._trades_of(symbol)
        last = trades.last or RawTrade(0, trades.prev_close, 0)
        bid, ask = _spread(last)
        session = trades.session
        return Quote(
            bid=bid / PRICE_SCALE,
            ask=ask / PRICE_SCALE,
            last=last.price / PRICE_SCALE,
            bid_size=100 * (1 + last.ms % 7),
            ask_size=100 * (1 + last.ms % 5),
            last_size=last.size,
            volume=session.volume,
            open=session.open / PRICE_SCALE,
            high=session.high / PRICE_SCALE,
            low=session.low / PRICE_SCALE,
            prev_close=trades.prev_close / PRICE_SCALE,
        )

    def bars(self, symbol: str, start: datetime, end: datetime, bar_s: int) -> list[Bar]:
        """Complete bars within [start, end] and in the past; see `Market.bars`.

        Bars begin at multiples of their size after midnight, cut to the session's hours. A bar of a day or
        more covers the day.
        """
        if bar_s <= 0 or bar_s % SHORTEST_BAR_S or _DAY_S % min(bar_s, _DAY_S):
            raise MarketDataError(
                f"no bars of {bar_s} s: the size must be a multiple of {SHORTEST_BAR_S} s that divides a day"
            )
        trades = self._trades_of(symbol)
        until = min(_eastern(end), self._now)
        since = _eastern(start)
        bars: list[Bar] = []
        if since < self._open:
            bars += self._prior[symbol].bars(since, min(until, self._open), bar_s)
        bars += self._bars_today(trades, since, until, bar_s)
        return bars

    def set_price(self, symbol: str, price: float) -> None:
        """Shift all future trades so that the next one is at `price`, rounded to the cent."""
        if not math.isfinite(price) or price < CENT / PRICE_SCALE:
            raise MarketDataError(f"{symbol} cannot trade at {price}: give a price of at least 0.01")
        self._trades_of(symbol).set_price(to_grid(price * PRICE_SCALE))

    def ensure(self, symbol: str) -> None:
        """Make `symbol` trade from now on; its past was calm. Raises `UnknownSymbolError`."""
        if symbol not in self._trades:
            check_symbol(symbol)
            self._add(symbol, calm_day(symbol, self._date, self._seed))

    def contract(self, symbol: str) -> ContractInfo:
        """Contract details with the hours of the next days. Raises `UnknownSymbolError`."""
        return contract_info(symbol, self._date)

    def _trades_of(self, symbol: str) -> SymbolTrades:
        self.ensure(symbol)
        return self._trades[symbol]

    def _add(self, symbol: str, day: SymbolDay) -> None:
        name = f"{self._seed}:{symbol}:{self._date}"
        trades = SymbolTrades(day.candles, day.prev_close, name)
        trades.skip(self._ms(self._now))
        self._trades[symbol] = trades
        self._prior[symbol] = PriorDays(self._date, day.prev_close, day.minute_volume, f"{self._seed}:{symbol}")

    def _ms(self, at: datetime) -> int:
        return (at - self._open) // _MILLISECOND

    def _bars_today(self, trades: SymbolTrades, since: datetime, until: datetime, bar_s: int) -> list[Bar]:
        since_s = (since - self._open).total_seconds()
        until_s = (until - self._open).total_seconds()
        return [
            merged(trades.bars(first_s // SHORTEST_BAR_S, stop_s // SHORTEST_BAR_S)).to_bar(
                self._open + timedelta(seconds=first_s)
            )
            for first_s, stop_s in bar_spans(self._session_s, bar_s, since_s, until_s)
        ]


def calm_day(symbol: str, day: date, seed: int) -> SymbolDay:
    """A calm day of a symbol that the source does not have. Price and volume are random, seeded by the symbol."""
    named = random.Random(symbol)
    prev_close = to_grid(named.uniform(20, 300) * PRICE_SCALE)
    minute_volume = named.randrange(20_000, 120_000)
    rng = random.Random(f"{seed}:{symbol}:{day}:calm")
    minutes = session_minutes(day)
    low, high = round(prev_close * 0.985), round(prev_close * 1.015)
    closes = calm_closes(rng, prev_close, low, high, minutes)
    volumes = [ordinary_volume(rng, minute_volume) for _ in range(minutes)]
    return SymbolDay(tuple(with_wicks(rng, prev_close, closes, volumes)), prev_close, minute_volume)


def start_of(day: date, start: time) -> datetime:
    """The session's start as an aware datetime."""
    return datetime.combine(day, start, EASTERN)


def _eastern(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise MarketError(f"{at} has no time zone; give an aware time, such as one in US/Eastern")
    return at.astimezone(EASTERN)


def _spread(trade: RawTrade) -> tuple[int, int]:
    """Bid and ask of a trade, which is at the bid, at the ask or between them."""
    side = trade.ms % 3
    bid = trade.price - (CENT if side != 1 else 0)
    ask = trade.price + (CENT if side != 0 else 0)
    return max(bid, 1), ask
