"""Validates the terms of an order: pure checks that raise RequestRefused with the code of TWS.

A new order gets a code that every client library takes for the end of the order (see `codes.wrapped`). 110 is the
exception: TWS sends it as it is, and ib_insync leaves the order pending.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from paper_gateway.codes import refusal
from paper_gateway.errors import RequestRefused
from paper_gateway.orders import ORDER_TYPES, Order, Ticket

MAX_SHARES = 10_000_000
MAX_OCA_NAME = 64
TRIGGER_METHODS = frozenset({"", "0", "1", "2", "3", "4", "7", "8"})
TRAIL_PARENTS = frozenset({"LMT", "STP LMT"})

TIFS = frozenset({"DAY", "GTC", "IOC"})
GTC_TIFS = frozenset({"GTX", "NMIN"})
"""Accepted by TWS and shown as GTC."""
REJECTED_TIFS = frozenset({"FOK", "AUC", "OPG", "GTD", "DTC"})
"""Not valid for a stock routed by SMART, or not offered here: rejected with 201 as recorded for FOK."""


def unsupported(what: str) -> RequestRefused:
    """The refusal of what this gateway does not offer."""
    return refusal(387, f"{what} not supported by the paper gateway")


def check_account(account: str, account_ids: Sequence[str], *, invalid_code: int = 321) -> str:
    """The account of a request. It may be left out if the gateway has one account only."""
    if not account:
        if len(account_ids) > 1:
            raise refusal(435, "You must specify an account.")
        return account_ids[0]
    if account not in account_ids:
        raise refusal(invalid_code, f"Invalid account code '{account}'.")
    return account


def check_terms(ticket: Ticket, min_tick: float) -> int:
    """Check action, size, type, prices and time in force; returns the size in shares."""
    if ticket.action not in ("BUY", "SELL"):
        raise unsupported(f"the action '{ticket.action[:20]}' is")
    if ticket.order_type not in ORDER_TYPES:
        raise refusal(387)
    if ticket.tif not in TIFS | GTC_TIFS | REJECTED_TIFS:
        raise refusal(10052, "Invalid time in force")
    for attribute in ("goodAfterTime", "goodTillDate"):
        if ticket.raw.get(attribute):
            raise unsupported(f"{attribute} is")
    if ticket.raw.get("triggerMethod", "") not in TRIGGER_METHODS:
        raise refusal(146, "Invalid trigger method")
    if ticket.oca_type not in (0, 1, 2, 3):
        raise unsupported(f"OCA type {ticket.oca_type} is")
    if len(ticket.oca_group) > MAX_OCA_NAME:
        raise refusal(401, f"The name of an OCA group has at most {MAX_OCA_NAME} characters.")
    shares = _whole_shares(ticket.quantity)
    _check_prices(ticket, min_tick)
    return shares


def kept_tif(tif: str) -> str:
    """The time in force that TWS keeps and reports."""
    return "GTC" if tif in GTC_TIFS else tif


def rejected_tif(order: Order) -> str:
    """The text with which IBKR rejects the order's time in force, empty if it is valid. IOC is for entries only."""
    immediate = order.tif == "IOC" and (order.parent is not None or order.order_type not in ("MKT", "LMT"))
    if order.tif not in REJECTED_TIFS and not immediate:
        return ""
    return (
        f"Order rejected - reason:The time-in-force {order.tif} is invalid for this combination of exchange and "
        "security type"
    )


def _whole_shares(quantity: float | None) -> int:
    if not quantity:
        raise refusal(160, "The size value cannot be zero:")
    if not 0 < quantity <= MAX_SHARES:
        raise refusal(355, f"Order size does not conform to market rule: at most {MAX_SHARES} shares.")
    if not quantity.is_integer():
        raise refusal(
            10243,
            "Fractional-sized order cannot be placed via API. Please use desktop version to place this order.",
        )
    return int(quantity)


def _check_prices(ticket: Ticket, min_tick: float) -> None:
    kind = ticket.order_type
    prices: list[tuple[int, str, float | None]] = []
    if kind in ("LMT", "STP LMT"):
        prices.append((463, "limit price", ticket.limit_price))
    if kind in ("STP", "STP LMT"):
        prices.append((403, "stop price", ticket.aux_price))
    if kind == "TRAIL":
        if ticket.trailing_percent is not None and ticket.aux_price:
            raise refusal(
                320,
                "Error reading request:Cannot specify Trailing Amount and Trailing Percent at the same time",
            )
        if ticket.trailing_percent is None:
            prices.append((10028, "trailing amount", ticket.aux_price))
        elif not 0 < ticket.trailing_percent < 100:
            raise refusal(
                10061, "Invalid Trailing Percent value. Valid values are greater than 0 and less than 100."
            )
        if ticket.trail_stop_price is not None:
            prices.append((403, "trail stop price", ticket.trail_stop_price))
    for code, name, price in prices:
        if price is None or price <= 0:
            raise refusal(code, f"A {kind} order needs a {name} greater than 0.")
        if not on_grid(price, min_tick):
            raise refusal(110)


def on_grid(price: float, min_tick: float) -> bool:
    """Whether the price is a multiple of the tick, within the precision of doubles."""
    steps = price / min_tick
    return math.isclose(steps, round(steps), rel_tol=0, abs_tol=1e-6 * max(1.0, steps))


def check_parent(parent: Order | None, account: str, symbol: str, order_type: str) -> Order:
    """The parent of a new child: it is known, has the same account and stock, and may have a child of this type.

    A parent that has ended passes: IBKR itself rejects the child then, with 201.
    """
    if parent is None:
        raise refusal(10006, "Missing parent order")
    if (parent.account, parent.symbol) != (account, symbol):
        raise refusal(10006, "Missing parent order: it is of another account or stock")
    if order_type == "TRAIL" and parent.order_type not in TRAIL_PARENTS:
        raise refusal(328, "Trailing stop orders can be attached to limit or stop-limit orders only.")
    return parent
