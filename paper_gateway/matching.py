"""Pure functions that match an order with the market: whether it triggers, whether it fills, at which price."""

from __future__ import annotations

from dataclasses import dataclass

from paper_gateway.orders import STOP_TYPES, Order


@dataclass(frozen=True, slots=True)
class Touch:
    """The prices that orders are matched with: best bid, best ask and last trade, in USD."""

    bid: float
    ask: float
    last: float


def triggers(order: Order, last: float) -> bool:
    """Whether a trade at `last` triggers the stop.

    IBKR triggers stops of US stocks on the last price. By the same rule a stop that is placed on, or moved
    to, the wrong side of the market triggers at once.
    """
    stop = order.trail_stop if order.order_type == "TRAIL" else order.aux_price
    if order.order_type not in STOP_TYPES or stop is None:
        return False
    return last >= stop if order.action == "BUY" else last <= stop


def trailed_stop(order: Order, last: float) -> float | None:
    """The price of a trailing stop after a trade at `last`. It only rises for a SELL and only falls for a BUY."""
    if order.order_type != "TRAIL":
        return order.trail_stop
    distance = last * order.trailing_percent / 100 if order.trailing_percent else order.aux_price or 0.0
    candidate = round(last - distance if order.action == "SELL" else last + distance, 2)
    if order.trail_stop is None:
        return candidate
    return max(order.trail_stop, candidate) if order.action == "SELL" else min(order.trail_stop, candidate)


def fill_price(order: Order, touch: Touch) -> float | None:
    """The price at which the order fills against `touch`, or None if it does not fill.

    Market orders and triggered stops fill at the opposite side of the quote. A limit order fills when it is
    marketable, at the better of its limit and the touch.
    """
    if order.order_type in STOP_TYPES and not order.triggered:
        return None
    price = touch.ask if order.action == "BUY" else touch.bid
    if order.order_type in ("LMT", "STP LMT"):
        limit = order.limit_price
        if limit is None or (price > limit if order.action == "BUY" else price < limit):
            return None
    return price
