"""Errors of the market. Each message says what happened, where, and what to do."""

from __future__ import annotations

from paper_gateway.errors import GatewayError


class MarketError(GatewayError):
    """A request that the simulated market cannot fulfil."""


class UnknownSymbolError(MarketError):
    """No US stock exchange could list the symbol (error 200 of TWS)."""

    def __init__(self, symbol: str) -> None:
        super().__init__(
            f"no security definition for {symbol!r}: a stock symbol is 1-5 capital letters, "
            "for a class of shares with its letters after a blank, such as BRK B"
        )
        self.symbol = symbol


class MarketDataError(MarketError):
    """A recorded day, price or date that is not valid."""
