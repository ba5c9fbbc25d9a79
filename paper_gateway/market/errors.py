"""The market's errors: one small tree, each message saying what happened, where, and what to do."""

from __future__ import annotations

from paper_gateway.errors import GatewayError


class MarketError(GatewayError):
    """Anything the simulated market cannot do."""


class UnknownSymbolError(MarketError):
    """The symbol is not one that a US stock exchange could list (TWS would answer 200)."""

    def __init__(self, symbol: str) -> None:
        super().__init__(
            f"no security definition for {symbol!r}: a stock symbol is 1-6 capital letters or dots, "
            "and those that begin with ZZ are kept unknown; check the spelling"
        )
        self.symbol = symbol


class MarketDataError(MarketError):
    """A recorded day, a price or a date that the market cannot be built from."""
