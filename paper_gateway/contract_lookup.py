"""Finds the stock that a client's contract names; errors have the codes of TWS."""

from __future__ import annotations

from collections.abc import Iterable

from paper_gateway.errors import RequestRefused
from paper_gateway.market import ContractInfo, Market, UnknownSymbolError
from paper_gateway.market.symbols import SYMBOLS
from paper_gateway.orders import ContractRef

NO_SECURITY = 200
NOT_FOUND = "No security definition has been found for the request"
MAX_SYMBOLS = 500
"""Every stock that a client asks for trades from then on. The limit bounds what that costs."""
EXCHANGES = ("SMART", "NASDAQ", "NYSE", "ARCA", "AMEX", "BATS", "ISLAND", "IEX", "EDGX", "BYX", "BEX", "MEMX")
"""Exchanges to which an order or a data request may be routed. ISLAND is the old name of NASDAQ."""


class ContractLookup:
    """Contract details, by symbol or by contract id.

    Known are the stocks of `SYMBOLS`, the day's own, and `more`. A closed list, because TWS refuses a name that
    no stock has.
    """

    def __init__(self, market: Market, more: Iterable[str] = ()) -> None:
        self._market = market
        self._known = SYMBOLS | frozenset(market.symbols) | frozenset(more)
        self._infos: dict[str, ContractInfo] = {}
        self._symbol_of: dict[int, str] = {}
        for symbol in market.symbols:
            self.info(symbol)

    def info(self, symbol: str) -> ContractInfo:
        """Details of a symbol. One that did not trade before starts to. Raises RequestRefused (200)."""
        known = self._infos.get(symbol)
        if known is not None:
            return known
        if symbol not in self._known:
            raise RequestRefused(NO_SECURITY, NOT_FOUND)
        if len(self._infos) >= MAX_SYMBOLS:
            raise RequestRefused(NO_SECURITY, f"The paper gateway has at most {MAX_SYMBOLS} stocks at a time")
        try:
            self._market.ensure(symbol)
            info = self._market.contract(symbol)
        except UnknownSymbolError:
            raise RequestRefused(NO_SECURITY, NOT_FOUND) from None
        self._infos[symbol] = info
        self._symbol_of[info.con_id] = symbol
        return info

    def resolve(self, wanted: ContractRef, *, needs_exchange: bool = True) -> ContractInfo:
        """The stock that `wanted` names: by conId if it has one, else by symbol.

        Raises RequestRefused: 321 if a needed exchange is missing, 200 for anything but a US stock.
        """
        if needs_exchange and not wanted.exchange:
            raise RequestRefused(321, "Error validating request.-'bW' : cause - Missing exchange")
        known = (
            wanted.sec_type in ("STK", "")
            and wanted.currency in ("USD", "")
            and wanted.exchange in (*EXCHANGES, "")
        )
        if not known:
            raise RequestRefused(NO_SECURITY, NOT_FOUND)
        if wanted.con_id:
            symbol = self._symbol_of.get(wanted.con_id)
            if symbol is None:
                raise RequestRefused(NO_SECURITY, NOT_FOUND)
            return self.info(symbol)
        return self.info(wanted.symbol or wanted.local_symbol.strip().upper())
