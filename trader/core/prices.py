"""Prices that a decision may use."""

from trader.core.numbers import is_price
from trader.core.turn import Turn


def fresh_price(turn: Turn, symbol: str) -> float | None:
    """The symbol's last price; None without one."""
    monitor = turn.view.monitors.get(symbol)
    return monitor.price if monitor is not None and is_price(monitor.price) else None
