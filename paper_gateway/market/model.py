"""What the market shows the order side: ticks, bars, quotes, contracts, and the `Market` protocol.

Prices are floats in dollars at this border. Inside the package they are whole ten-thousandths of a
dollar (`PRICE_SCALE`), so that sums, shifts and comparisons are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Protocol
from zoneinfo import ZoneInfo

EASTERN: Final = ZoneInfo("US/Eastern")
PRICE_SCALE: Final = 10_000
"""Price units in one dollar: TWS shows at most four decimals for a stock."""
CENT: Final = 100
"""One cent, the price grid of US stocks above a dollar, in price units."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One trade, with the best bid and ask around it. `time` is aware, US Eastern; `size` in shares."""

    symbol: str
    time: datetime
    price: float
    size: int
    bid: float
    ask: float


@dataclass(frozen=True, slots=True)
class Bar:
    """The trades of [start, start + bar size): dollars, shares, volume-weighted price, trade count."""

    start: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int
    wap: float
    count: int


@dataclass(frozen=True, slots=True)
class Quote:
    """The top of the book and the session's totals as of the market's last advance.

    Before the session's first trade `last`, `open`, `high` and `low` are the previous close and
    `volume` is 0. Sizes are in shares.
    """

    bid: float
    ask: float
    last: float
    bid_size: int
    ask_size: int
    last_size: int
    volume: int
    open: float
    high: float
    low: float
    prev_close: float


@dataclass(frozen=True, slots=True)
class ContractInfo:
    """A stock's contract details, as far as the market decides them.

    The hours are in TWS's form, several days long: `20251006:0930-20251006:1600;20251011:CLOSED`.
    """

    con_id: int
    symbol: str
    long_name: str
    primary_exchange: str
    min_tick: float
    trading_class: str
    industry: str
    category: str
    subcategory: str
    time_zone: str
    trading_hours: str
    liquid_hours: str


class Market(Protocol):
    """A trading day that is walked forward: what is past never changes, what is ahead may be shifted."""

    @property
    def trading_date(self) -> date:
        """The US Eastern date of the day."""

    @property
    def start(self) -> datetime:
        """Where the session begins; what lies before it is history."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that trade: the day's own, then those ensured, in that order."""

    def advance(self, to: datetime) -> list[Tick]:
        """All trades after the last advance and up to `to`, over all symbols, in time order.

        The trades are the same however the way to `to` is cut up. Going back gives nothing.
        """

    def quote(self, symbol: str) -> Quote:
        """The quote as of the last advance. Raises `UnknownSymbolError`."""

    def bars(self, symbol: str, start: datetime, end: datetime, bar_s: int) -> list[Bar]:
        """Complete regular-hours bars that start at or after `start` and end by `end` and by now.

        Each equals the aggregation of its ticks; five seconds without a trade give a flat bar of
        volume 0. Earlier days are invented on the same plan. Raises `UnknownSymbolError`, and
        `MarketDataError` for a bar size that is not a multiple of 5 seconds.
        """

    def set_price(self, symbol: str, price: float) -> None:
        """Shift the path ahead so that the next trade is at `price` (rounded to the cent)."""

    def ensure(self, symbol: str) -> None:
        """Make `symbol` trade, on a calm walk if the day has none. Raises `UnknownSymbolError`."""

    def contract(self, symbol: str) -> ContractInfo:
        """Contract details with the hours of the days ahead. Raises `UnknownSymbolError`."""
