"""The paper gateway's market: simulated prices of one trading day, advanced by the session clock.

Both sources, `synthetic_day` (scripted, seeded) and `replay_day` (recorded bars), give 1-minute candles.
`walk` turns each candle into trades with exactly its open, high, low and close. `symbol_trades` keeps the
trades and bars of one symbol, and how far they have been read. `simulated_market` merges the symbols.
The package is independent of the TWS protocol, of orders and of the trader.
"""

from paper_gateway.market.clock import SessionClock
from paper_gateway.market.errors import MarketDataError, MarketError, UnknownSymbolError
from paper_gateway.market.model import EASTERN, Bar, ContractInfo, Market, Quote, Tick
from paper_gateway.market.replay import replay_day
from paper_gateway.market.synthetic import synthetic_day

__all__ = [
    "EASTERN",
    "Bar",
    "ContractInfo",
    "Market",
    "MarketDataError",
    "MarketError",
    "Quote",
    "SessionClock",
    "Tick",
    "UnknownSymbolError",
    "replay_day",
    "synthetic_day",
]
