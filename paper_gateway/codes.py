"""Codes of TWS about orders: their texts, and what they mean for the order."""

from __future__ import annotations

from paper_gateway.errors import RequestRefused

REJECTED = 201
"""Refused by IBKR and not by TWS: the order has a permId and is reported as Inactive around this error."""

NOTICES = frozenset({399, 404, 481, 2109, 10349})
"""Codes after which the order lives, although most of them look like errors."""

TEXTS = {
    103: "Duplicate order id",
    104: "Cannot modify a filled order.",
    105: "Order being modified does not match original order",
    110: "The price does not conform to the minimum price variation for this contract.",
    201: "Order rejected - reason:refused by the paper gateway",
    329: "Order modify failed. Cannot change to the new order type",
    383: "The following order size exceeds the Size Limit.",
    387: "Unsupported order type for this exchange and security type.",
    399: "Order Message:\nWarning: this order is looked at",
    404: "Shares for this order are not immediately available for short sale. The order will be held.",
    422: "Account or clearing attributes of an order cannot be changed.",
    460: "No trading permissions.",
    462: "Order modify failed. Cannot change to the new Time in Force",
    481: "Order size was reduced due to trading restrictions.",
    2102: "Unable to modify this order as its still being processed.",
    2109: "Order Event Warning:Attribute 'Outside Regular Trading Hours' is ignored based on the order type and "
    "destination. PlaceOrder is now being processed.",
    10326: "OCA group revision is not allowed",
    10327: "OCA group type revision is not allowed",
    10341: "Parent order id cannot be modified (10341)",
    10349: "Order TIF was set to DAY based on order preset.",
}

WRAPPED = frozenset({135, 142, 146, 160, 321, 355, 403, 435, 452, 10028, 10061, 10341})
"""Codes that TWS sends inside the text of 321."""


def refusal(code: int, text: str = "") -> RequestRefused:
    """A refusal with the text of TWS, or with the given one."""
    return RequestRefused(code, text or text_of(code))


def text_of(code: int) -> str:
    """The text of TWS, where it is known."""
    return TEXTS.get(code, f"Order refused by the paper gateway with code {code}")


def wrapped(refused: RequestRefused) -> RequestRefused:
    """A refused change as TWS sends it: some codes are wrapped in 321.

    A refused new order keeps the inner code. TWS wraps it there too, but ib_async takes 321 for a warning about an
    order that lives, and its user would wait for ever for the end of an order that does not exist.
    """
    if refused.code not in WRAPPED:
        return refused
    return RequestRefused(321, f"Error validating request.-'bH' : cause - {refused.message}")
