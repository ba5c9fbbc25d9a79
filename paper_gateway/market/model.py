"""The interface of the market: ticks, bars, quotes, contracts, and the `Market` protocol.

Prices in this interface are floats in dollars. Inside the package they are whole ten-thousandths of a dollar
(`PRICE_SCALE`), so that sums, shifts and comparisons are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Protocol
from zoneinfo import ZoneInfo

EASTERN: Final = ZoneInfo("US/Eastern")
PRICE_SCALE: Final = 10_000
"""Price units per dollar. TWS shows at most four decimals for a stock."""
CENT: Final = 100
"""One cent in price units: the tick size of US stocks above a dollar."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One trade with the best bid and ask. time: aware, US/Eastern. size: in shares."""

    symbol: str
    time: datetime
    price: float
    size: int
    bid: float
    ask: float


@dataclass(frozen=True, slots=True)
class Bar:
    """The trades of [start, start + bar size). Prices in dollars, volume in shares, wap: volume-weighted price."""

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
    """The best bid and ask, the last trade and the session's totals, as of the last advance of the market.

    Before the session's first trade `last`, `open`, `high` and `low` are the previous close and `volume` is
    0. Sizes are in shares.
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
    """The contract details of a stock.

    The hours cover several days in the format of TWS: `20251006:0930-20251006:1600;20251011:CLOSED`.
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
    """A trading day that is advanced step by step. Past trades never change; future ones may be shifted."""

    @property
    def trading_date(self) -> date:
        """The US Eastern date of the day."""

    @property
    def start(self) -> datetime:
        """When the session begins. Everything before it is history."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that trade: first those of the day's source, then those added by `ensure`."""

    def advance(self, to: datetime) -> list[Tick]:
        """All trades of all symbols after the last advance and up to `to`, in time order.

        The trades are the same whether `to` is reached in one step or in many. A `to` in the past gives none.
        """

    def quote(self, symbol: str) -> Quote:
        """The quote as of the last advance. Raises `UnknownSymbolError`."""

    def bars(self, symbol: str, start: datetime, end: datetime, bar_s: int) -> list[Bar]:
        """Complete regular-hours bars that start at or after `start` and end by `end` and by now.

        Each bar is the aggregation of its ticks. Five seconds without a trade give a bar of volume 0 at the
        last price. Earlier days are simulated. Raises `UnknownSymbolError`, and `MarketDataError` for a bar
        size that is not a multiple of 5 seconds.
        """

    def set_price(self, symbol: str, price: float) -> None:
        """Shift all future trades so that the next one is at `price` (rounded to the cent)."""

    def ensure(self, symbol: str) -> None:
        """Make `symbol` trade; on a calm walk if the source does not have it. Raises `UnknownSymbolError`."""

    def contract(self, symbol: str) -> ContractInfo:
        """Contract details with the hours of the next days. Raises `UnknownSymbolError`."""
