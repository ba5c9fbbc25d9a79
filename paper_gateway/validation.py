"""Validates tickets: pure checks that raise RequestRefused with the code of TWS.

Codes: 103 duplicate id, 104 order is filled, 105 does not match the order, 110 price off the tick, 201 rejected,
321 validation, 387 order type, 435 no account, 10006 no parent (IBKR message code tables).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from paper_gateway.errors import RequestRefused
from paper_gateway.orders import ORDER_TYPES, Order, Status, Ticket

MAX_SHARES = 10_000_000
TIFS = frozenset({"DAY", "GTC"})


def validation_error(cause: str) -> RequestRefused:
    """Error 321 with the text format of TWS."""
    return RequestRefused(321, f"Error validating request.-'bN' : cause - {cause}")


def check_account(account: str, account_ids: Sequence[str]) -> str:
    """The account of the order. It may be left out if the gateway has one account only."""
    if not account:
        if len(account_ids) > 1:
            raise RequestRefused(435, "You must specify an account.")
        return account_ids[0]
    if account not in account_ids:
        raise validation_error(f"Invalid account code '{account}'.")
    return account


def check_terms(ticket: Ticket, min_tick: float) -> int:
    """Check action, size, type, prices and time in force; returns the size in shares."""
    if ticket.action not in ("BUY", "SELL"):
        raise validation_error(f"Action must be BUY or SELL, not '{ticket.action}'.")
    if ticket.order_type not in ORDER_TYPES:
        raise RequestRefused(387, f"Unsupported order type for this security type: {ticket.order_type[:20]}")
    if ticket.tif not in TIFS:
        raise validation_error(f"Time in force '{ticket.tif}' is not supported.")
    for unsupported in ("goodAfterTime", "goodTillDate"):
        if ticket.raw.get(unsupported):
            raise validation_error(f"{unsupported} is not supported.")
    if ticket.oca_type not in (0, 1, 2, 3):
        raise validation_error(f"OCA type {ticket.oca_type} does not exist.")
    shares = _whole_shares(ticket.quantity)
    _check_prices(ticket, min_tick)
    return shares


def _whole_shares(quantity: float | None) -> int:
    if quantity is None or quantity <= 0:
        raise validation_error("Order size must be greater than 0.")
    if not quantity.is_integer():
        raise validation_error("Fractional-sized order cannot be placed via API. Please use desktop version.")
    if quantity > MAX_SHARES:
        raise validation_error(f"Order size does not conform to market rule: at most {MAX_SHARES} shares.")
    return int(quantity)


def _check_prices(ticket: Ticket, min_tick: float) -> None:
    kind = ticket.order_type
    prices: dict[str, float | None] = {}
    if kind in ("LMT", "STP LMT"):
        prices["limit price"] = ticket.limit_price
    if kind in ("STP", "STP LMT"):
        prices["stop price"] = ticket.aux_price
    if kind == "TRAIL":
        if ticket.trailing_percent is not None and ticket.aux_price:
            raise validation_error("Give the trailing amount or the trailing percent, not both.")
        if ticket.trailing_percent is None:
            prices["trailing amount"] = ticket.aux_price
        elif not 0 < ticket.trailing_percent < 100:
            raise validation_error("The trailing percent must lie between 0 and 100.")
        if ticket.trail_stop_price is not None:
            prices["trail stop price"] = ticket.trail_stop_price
    for name, price in prices.items():
        if price is None or price <= 0:
            raise validation_error(f"A {kind} order needs a {name} greater than 0.")
        if not on_grid(price, min_tick):
            raise RequestRefused(
                110, f"The price does not conform to the minimum price variation for this contract: {price}"
            )


def on_grid(price: float, min_tick: float) -> bool:
    """Whether the price is a multiple of the tick, within the precision of doubles."""
    steps = price / min_tick
    return math.isclose(steps, round(steps), rel_tol=0, abs_tol=1e-6 * max(1.0, steps))


def check_modifiable(order: Order, ticket: Ticket, symbol: str) -> None:
    """Whether `ticket` may modify `order`, which has the same id."""
    if order.status is Status.FILLED:
        raise RequestRefused(104, "Cannot modify a filled order.")
    if not order.live and order.status is not Status.HELD:
        raise RequestRefused(103, "Duplicate order id")
    if (order.symbol, order.action) != (symbol, ticket.action):
        raise RequestRefused(105, "Order being modified does not match original order")


def check_parent(parent: Order | None, account: str, symbol: str) -> None:
    """Check that the parent can still fill, and that it has the same account and stock."""
    usable = parent is not None and (parent.live or parent.status is Status.HELD)
    if not usable:
        raise RequestRefused(10006, "Missing parent order")
    assert parent is not None
    if (parent.account, parent.symbol) != (account, symbol):
        raise RequestRefused(10006, "Missing parent order: it is of another account or stock")
