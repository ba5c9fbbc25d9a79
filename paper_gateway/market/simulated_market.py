"""The market over a set of tapes: one trading day, synthetic or recorded, walked forward by `advance`."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from operator import attrgetter
from typing import Final

from paper_gateway.market.bar_builder import SLOT_S, merged
from paper_gateway.market.candles import Candle, calm_closes, ordinary_volume, to_grid, with_wicks
from paper_gateway.market.contracts import check_symbol, contract_info
from paper_gateway.market.errors import MarketDataError, MarketError
from paper_gateway.market.history import PriorDays
from paper_gateway.market.model import CENT, EASTERN, PRICE_SCALE, Bar, ContractInfo, Quote, Tick
from paper_gateway.market.symbol_trades import Tape
from paper_gateway.market.trading_days import bar_spans, session_minutes, session_open
from paper_gateway.market.walk import RawTrade

_MILLISECOND: Final = timedelta(milliseconds=1)
_MINUTE: Final = timedelta(minutes=1)
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class SymbolDay:
    """One symbol's day as a source gives it: candles from 09:30 on, the close before, usual volume."""

    candles: tuple[Candle, ...]
    prev_close: int
    minute_volume: int


class TapeMarket:
    """A `Market` over the given symbol days. `start` is aware; what lies before it is history."""

    def __init__(self, start: datetime, days: Mapping[str, SymbolDay], seed: int) -> None:
        self._start = _eastern(start)
        self._date = self._start.date()
        self._open = session_open(self._date)
        self._session_s = session_minutes(self._date) * 60
        self._seed = seed
        self._now = self._start
        self._tapes: dict[str, Tape] = {}
        self._prior: dict[str, PriorDays] = {}
        for symbol, day in days.items():
            self._add(symbol, day)

    @property
    def trading_date(self) -> date:
        """The US Eastern date of the day."""
        return self._date

    @property
    def start(self) -> datetime:
        """Where the session begins."""
        return self._start

    @property
    def symbols(self) -> tuple[str, ...]:
        """The day's own symbols, then those ensured, in that order."""
        return tuple(self._tapes)

    def advance(self, to: datetime) -> list[Tick]:
        """All trades after the last advance and up to `to`, in time order; see `Market.advance`."""
        to = _eastern(to)
        if to <= self._now:
            return []
        self._now = to
        to_ms = self._ms(self._now)
        ticks: list[Tick] = []
        for symbol, tape in self._tapes.items():
            minute_at, minute = self._open, 0
            for trade_minute, trade in tape.read(to_ms):
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
        tape = self._tape(symbol)
        last = tape.last or RawTrade(0, tape.prev_close, 0)
        bid, ask = _spread(last)
        session = tape.session
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
            prev_close=tape.prev_close / PRICE_SCALE,
        )

    def bars(self, symbol: str, start: datetime, end: datetime, bar_s: int) -> list[Bar]:
        """Complete bars within [start, end] and behind now; see `Market.bars`.

        Bars longer than a slot begin at whole multiples of their size since midnight, cut to the
        session's hours; a bar of a day or more is the day's.
        """
        if bar_s <= 0 or bar_s % SLOT_S or _DAY_S % min(bar_s, _DAY_S):
            raise MarketDataError(
                f"no bars of {bar_s} s: the size must be a multiple of {SLOT_S} s that divides a day"
            )
        tape = self._tape(symbol)
        until = min(_eastern(end), self._now)
        since = _eastern(start)
        bars: list[Bar] = []
        if since < self._open:
            bars += self._prior[symbol].bars(since, min(until, self._open), bar_s)
        bars += self._bars_today(tape, since, until, bar_s)
        return bars

    def set_price(self, symbol: str, price: float) -> None:
        """Shift the path ahead so that the next trade is at `price`, rounded to the cent."""
        if not math.isfinite(price) or price < CENT / PRICE_SCALE:
            raise MarketDataError(f"{symbol} cannot trade at {price}: give a price of at least 0.01")
        self._tape(symbol).set_price(to_grid(price * PRICE_SCALE))

    def ensure(self, symbol: str) -> None:
        """Make `symbol` trade from now on, with a calm past. Raises `UnknownSymbolError`."""
        if symbol not in self._tapes:
            check_symbol(symbol)
            self._add(symbol, calm_day(symbol, self._date, self._seed))

    def contract(self, symbol: str) -> ContractInfo:
        """Contract details with the hours of the days ahead. Raises `UnknownSymbolError`."""
        return contract_info(symbol, self._date)

    def _tape(self, symbol: str) -> Tape:
        self.ensure(symbol)
        return self._tapes[symbol]

    def _add(self, symbol: str, day: SymbolDay) -> None:
        name = f"{self._seed}:{symbol}:{self._date}"
        tape = Tape(day.candles, day.prev_close, name)
        tape.skip(self._ms(self._now))
        self._tapes[symbol] = tape
        self._prior[symbol] = PriorDays(self._date, day.prev_close, day.minute_volume, f"{self._seed}:{symbol}")

    def _ms(self, at: datetime) -> int:
        return (at - self._open) // _MILLISECOND

    def _bars_today(self, tape: Tape, since: datetime, until: datetime, bar_s: int) -> list[Bar]:
        since_s = (since - self._open).total_seconds()
        until_s = (until - self._open).total_seconds()
        return [
            merged(tape.slots(first_s // SLOT_S, stop_s // SLOT_S)).bar(self._open + timedelta(seconds=first_s))
            for first_s, stop_s in bar_spans(self._session_s, bar_s, since_s, until_s)
        ]


def calm_day(symbol: str, day: date, seed: int) -> SymbolDay:
    """A day on which nothing happens, at a price and volume drawn from the symbol's name."""
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
        raise MarketError(f"{at} has no time zone: the market asks for aware times; give it one in US Eastern")
    return at.astimezone(EASTERN)


def _spread(trade: RawTrade) -> tuple[int, int]:
    """Bid and ask around a trade: it hits the bid, takes the ask, or lies between them."""
    side = trade.ms % 3
    bid = trade.price - (CENT if side != 1 else 0)
    ask = trade.price + (CENT if side != 0 else 0)
    return max(bid, 1), ask
