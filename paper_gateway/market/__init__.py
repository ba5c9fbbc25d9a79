"""The paper gateway's market: a trading day's prices, walked forward by the session clock.

Two sources, one mechanism: `synthetic_day` (scripted, seeded) and `replay_day` (recorded bars) both give
1-minute candles; `walk` turns each into trades that touch its open, high, low and close exactly; `tape`
keeps one symbol's place, shifts and bars; `tape_market` merges the symbols. Nothing here knows the TWS
protocol, orders, or the trader.
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
