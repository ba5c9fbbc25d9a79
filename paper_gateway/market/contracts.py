"""Contract details of the simulated stocks: ids, names and trading hours."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from paper_gateway.market.errors import UnknownSymbolError
from paper_gateway.market.model import ContractInfo
from paper_gateway.market.symbols import SYMBOL
from paper_gateway.market.trading_days import hours_text

_HOURS_DAYS: Final = 7
_EXTENDED_OPEN: Final = "0400"
_EXTENDED_AFTER_CLOSE: Final = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class _Listing:
    name: str
    exchange: str
    industry: str
    category: str
    subcategory: str


_CHIPS = ("Technology", "Semiconductors", "Electronic Compo-Semicon")
_SOFTWARE = ("Technology", "Software", "Applications Software")
_LISTINGS: Final = {
    "AMD": _Listing("ADVANCED MICRO DEVICES", "NASDAQ", *_CHIPS),
    "HOOD": _Listing("ROBINHOOD MARKETS INC - A", "NASDAQ", "Financial", "Diversified Finan Serv", "Finance"),
    "NVDA": _Listing("NVIDIA CORP", "NASDAQ", *_CHIPS),
    "PATH": _Listing("UIPATH INC - CLASS A", "NYSE", *_SOFTWARE),
    "PLTR": _Listing("PALANTIR TECHNOLOGIES INC-A", "NASDAQ", *_SOFTWARE),
    "SMCI": _Listing("SUPER MICRO COMPUTER INC", "NASDAQ", "Technology", "Computers", "Computers"),
    "SOFI": _Listing("SOFI TECHNOLOGIES INC", "NASDAQ", "Financial", "Diversified Finan Serv", "Finance"),
    "TSLA": _Listing("TESLA INC", "NASDAQ", "Consumer, Cyclical", "Auto Manufacturers", "Auto-Cars"),
}


def check_symbol(symbol: str) -> str:
    """`symbol`, if a US exchange could list it. Raises `UnknownSymbolError`."""
    if SYMBOL.fullmatch(symbol) is None:
        raise UnknownSymbolError(symbol)
    return symbol


def contract_info(symbol: str, trading_date: date) -> ContractInfo:
    """The details of `symbol`, with a week of hours from `trading_date` on. Raises `UnknownSymbolError`.

    The contract id is computed from the symbol alone, so it is the same in every process and on every day.
    It is not IBKR's id.
    """
    check_symbol(symbol)
    listing = _LISTINGS.get(symbol) or _Listing(
        f"{symbol} COMMON STOCK", "NASDAQ", "Diversified", "Diversified", "Diversified"
    )
    return ContractInfo(
        con_id=100_000_000 + zlib.crc32(symbol.encode("ascii")) % 800_000_000,
        symbol=symbol,
        long_name=listing.name,
        primary_exchange=listing.exchange,
        min_tick=0.01,
        trading_class="NMS" if listing.exchange == "NASDAQ" else symbol,
        industry=listing.industry,
        category=listing.category,
        subcategory=listing.subcategory,
        time_zone="US/Eastern",
        trading_hours=hours_text(trading_date, _HOURS_DAYS, _EXTENDED_OPEN, _EXTENDED_AFTER_CLOSE),
        liquid_hours=hours_text(trading_date, _HOURS_DAYS),
    )
