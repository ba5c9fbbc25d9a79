"""What an order is: the ticket a client sends, and the order the gateway keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """Order states by their names in the API. HELD has none: an untransmitted order is not reported."""

    HELD = "ApiPending"
    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    CANCELLED = "Cancelled"
    FILLED = "Filled"
    INACTIVE = "Inactive"


DONE = frozenset({Status.CANCELLED, Status.FILLED, Status.INACTIVE})
STOP_TYPES = frozenset({"STP", "STP LMT", "TRAIL"})
ORDER_TYPES = frozenset({"MKT", "LMT"}) | STOP_TYPES


@dataclass(frozen=True, slots=True)
class ContractRef:
    """The fields of a client's contract that tell one stock from another."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A placeOrder message, decoded and typed but not yet judged. Prices in USD, None where unset.

    `raw` holds every field of the message by name as text, so that what the gateway does not
    interpret is echoed in openOrder as it came.
    """

    order_id: int
    contract: ContractRef
    action: str
    quantity: float | None
    order_type: str
    limit_price: float | None
    aux_price: float | None
    tif: str
    oca_group: str
    oca_type: int
    account: str
    order_ref: str
    transmit: bool
    parent_id: int
    outside_rth: bool
    trail_stop_price: float | None
    trailing_percent: float | None
    what_if: bool
    raw: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Order:
    """One order as the gateway keeps it. Quantities in shares, prices in USD, times US/Eastern.

    `shares_value` is the sum of shares x price over its fills.
    """

    perm_id: int
    client_id: int
    order_id: int
    account: str
    symbol: str
    con_id: int
    exchange: str
    trading_class: str
    action: str
    quantity: int
    order_type: str
    limit_price: float | None
    aux_price: float | None
    tif: str
    oca_group: str
    oca_type: int
    order_ref: str
    outside_rth: bool
    trailing_percent: float | None
    trail_stop: float | None
    accepted_at: datetime
    parent: Order | None = None
    children: list[Order] = field(default_factory=list)
    status: Status = Status.HELD
    triggered: bool = False
    filled: int = 0
    shares_value: float = 0.0
    last_price: float = 0.0
    completed_at: datetime | None = None
    completed_text: str = ""
    raw: dict[str, str] = field(default_factory=dict)

    @property
    def sign(self) -> int:
        return 1 if self.action == "BUY" else -1

    @property
    def remaining(self) -> int:
        return self.quantity - self.filled

    @property
    def live(self) -> bool:
        """Transmitted and not done."""
        return self.status not in DONE and self.status is not Status.HELD

    @property
    def average_price(self) -> float:
        return self.shares_value / self.filled if self.filled else 0.0

    @property
    def waits_for_parent(self) -> bool:
        return self.parent is not None and self.parent.filled == 0

    @property
    def why_held(self) -> str:
        """As TWS words it: a child waits for its parent, a stop for its trigger."""
        if not self.live:
            return ""
        reasons = ["child"] if self.waits_for_parent else []
        if self.order_type in STOP_TYPES and not self.triggered:
            reasons.append("trigger")
        return ",".join(reasons)

    def allowed_shares(self) -> int:
        """How many shares may fill now: all that remain, for a child no more than the parent filled.

        All children of one parent share what the parent filled, so that a bracket whose entry is
        half filled can never close more than that half.
        """
        if self.parent is None:
            return self.remaining
        used = sum(child.filled for child in self.parent.children)
        return max(0, min(self.remaining, self.parent.filled - used))
