"""The life of an own order: its status, and what IBKR says or what is proven about it, to its next status.

`docs/ORDERS.md` shows this table; a test holds page and code together.
"""

from typing import Literal

from state.domain.model import OrderStatus

OrderSignal = Literal[
    "acknowledged",  # IBKR names its permId, or lists it among the open orders
    "inactive",  # IBKR shows it as Inactive
    "cancelled",  # IBKR shows it as cancelled, or names 202
    "refused",  # an error that is no notice, and IBKR does not list it
    "not_listed",  # IBKR does not list it, and has had it
    "never_listed",  # IBKR does not list it, and nothing shows that it ever had it
]
ORDER_LIFE: dict[tuple[OrderStatus, OrderSignal], OrderStatus] = {
    ("intended", "acknowledged"): "working",
    ("intended", "inactive"): "inactive",
    ("intended", "cancelled"): "cancelled",
    ("intended", "refused"): "rejected",
    ("intended", "not_listed"): "cancelled",
    ("intended", "never_listed"): "not_sent",
    ("working", "inactive"): "inactive",
    ("working", "cancelled"): "cancelled",
    ("working", "refused"): "cancelled",
    ("working", "not_listed"): "cancelled",
    ("inactive", "acknowledged"): "working",  # it has woken up
    ("inactive", "cancelled"): "cancelled",
    ("inactive", "refused"): "rejected",
    ("inactive", "not_listed"): "rejected",
    ("unknown", "acknowledged"): "working",
    ("unknown", "inactive"): "inactive",
    ("unknown", "cancelled"): "cancelled",
    ("unknown", "refused"): "rejected",
    ("unknown", "not_listed"): "cancelled",
    ("unknown", "never_listed"): "not_sent",
    ("cancelled", "acknowledged"): "working",  # IBKR lists it again: what it lists counts
    ("rejected", "acknowledged"): "working",
    ("rejected", "inactive"): "inactive",
    ("not_sent", "acknowledged"): "working",
    ("not_sent", "inactive"): "inactive",
}
"""A pair that is not in the table changes nothing. Only executions make an order `filled` (f17)."""


def next_status(status: OrderStatus, signal: OrderSignal) -> OrderStatus:
    """The order's status after the signal."""
    return ORDER_LIFE.get((status, signal), status)
