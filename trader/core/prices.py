"""Prices that a decision may use (invariant 18)."""

import math

from trader.core.data_state import BLIND
from trader.core.turn import Turn
from trader.core.view import SymbolMonitor


def fresh_price(turn: Turn, monitor: SymbolMonitor) -> float | None:
    """The last price if a decision may use it: not older than `price_max_age_s`, of data that are not blind."""
    age_s = turn.moment.real_s - monitor.price_at_s
    if monitor.data.state in BLIND or math.isnan(monitor.price) or age_s > turn.config.market.price_max_age_s:
        return None
    return monitor.price


def exit_price(turn: Turn, monitor: SymbolMonitor) -> float:
    """The price for the exit rules: the fresh one, or NaN, on which only rules that need no price act (f20)."""
    price = fresh_price(turn, monitor)
    return math.nan if price is None else price


def has_live_data(turn: Turn, monitor: SymbolMonitor) -> bool:
    """Whether an entry may be sent: live bars, and a fresh price."""
    return monitor.data.state == "live" and fresh_price(turn, monitor) is not None


def price_of(turn: Turn, symbol: str) -> float | None:
    """The symbol's fresh price; None without one, or if the symbol is not monitored."""
    monitor = turn.view.monitors.get(symbol)
    return fresh_price(turn, monitor) if monitor is not None else None
