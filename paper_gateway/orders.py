"""The ticket that a client sends, and the order that the gateway keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Status(StrEnum):
    """Order states by their names in the API. HELD: not transmitted yet, and so not reported."""

    HELD = "ApiPending"
    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    PENDING_CANCEL = "PendingCancel"
    CANCELLED = "Cancelled"
    FILLED = "Filled"
    INACTIVE = "Inactive"


DONE = frozenset({Status.CANCELLED, Status.FILLED, Status.INACTIVE})
"""Not working any more. An Inactive order may wake up, see `Order.parked`."""
STOP_TYPES = frozenset({"STP", "STP LMT", "TRAIL"})
ORDER_TYPES = frozenset({"MKT", "LMT"}) | STOP_TYPES


@dataclass(frozen=True, slots=True)
class ContractRef:
    """The fields of a client's contract that identify a stock."""

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
    """A decoded placeOrder message, not validated yet. Prices in USD, None if unset.

    raw: every field of the message by name, as text. Fields that the gateway does not use are sent back in
    openOrder unchanged.
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
    """One order as the gateway keeps it. Quantities in shares, prices in USD, times in US/Eastern.

    shares_value: the sum of shares x price over its fills. commission: the sum over its fills.
    manual: entered in TWS, by no API client. parked: Inactive without having ended, so that it may wake up.
    rests_through: a stop beyond the market that waits until the market has been on its right side.
    parent_listed: whether TWS still reports the parent's order id. change_pending: IBKR decides on a change of it.
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
    commission: float = 0.0
    manual: bool = False
    parked: bool = False
    rests_through: bool = False
    parent_listed: bool = True
    change_pending: bool = False
    raw: dict[str, str] = field(default_factory=dict)

    @property
    def sign(self) -> int:
        return 1 if self.action == "BUY" else -1

    @property
    def remaining(self) -> int:
        return self.quantity - self.filled

    @property
    def live(self) -> bool:
        """Working at IBKR: transmitted, not ended and not Inactive."""
        return self.status not in DONE and self.status is not Status.HELD

    @property
    def done(self) -> bool:
        """Ended for good."""
        return self.status in DONE and not self.parked

    @property
    def changeable(self) -> bool:
        """Not ended, and no cancel under way."""
        return self.live and self.status is not Status.PENDING_CANCEL

    @property
    def shown_parent_id(self) -> int:
        """The parent's order id as TWS reports it: 0 once the parent has left its table."""
        return self.parent.order_id if self.parent is not None and self.parent_listed else 0

    @property
    def average_price(self) -> float:
        return self.shares_value / self.filled if self.filled else 0.0

    @property
    def waits_for_parent(self) -> bool:
        return self.parent is not None and self.parent.filled == 0

    @property
    def why_held(self) -> str:
        """whyHeld of the API: `child` while the parent is unfilled, `trigger` while a stop is not triggered."""
        if not self.live:
            return ""
        reasons = ["child"] if self.waits_for_parent else []
        if self.order_type in STOP_TYPES and not self.triggered:
            reasons.append("trigger")
        return ",".join(reasons)

    def allowed_shares(self, *, capped: bool = True) -> int:
        """How many shares may fill now: all that remain, but for a child at most what its parent filled.

        Capped, all children of one parent together may fill what the parent filled, so that a bracket with a
        half-filled entry never closes more than that half. Not capped, each may fill whole once the parent has
        filled at all.
        """
        if self.parent is None or not (capped or self.waits_for_parent):
            return self.remaining
        used = sum(child.filled for child in self.parent.children)
        return max(0, min(self.remaining, self.parent.filled - used))
