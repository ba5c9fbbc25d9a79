"""The faults that are on. Set by control commands; read by the engine, the publisher and the sessions."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from paper_gateway.orders import Order

KINDS = (
    "positions",
    "open_orders",
    "completed_orders",
    "executions",
    "account",
    "time",
    "order_status",
    "exec_details",
    "commission",
    "ticks",
    "bars",
    "history",
    "contract",
    "errors",
    "ids",
)
"""Every message that the gateway sends after the handshake is of one of these kinds.

`open_orders`, `completed_orders` and `executions` are answers to requests. Sent without a request are
`order_status` (openOrder, orderStatus and an order's errors), `exec_details` and `commission`.
`ids` are the managed accounts and next valid ids; `errors` are all other messages of type 4.
"""

LOST_IN_OUTAGE = frozenset({"ticks", "bars"})
"""Market data is not sent between 1100 and 1101/1102. The publisher drops orders, fills and positions itself."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Rejects the next order that matches. symbol, role: None matches every order."""

    symbol: str | None
    role: str | None
    code: int
    text: str

    def matches(self, symbol: str, order_ref: str) -> bool:
        return self.symbol in (None, symbol) and (self.role is None or self.role in order_ref)


@dataclass
class Faults:
    """Times are seconds of the monotonic clock. now: tests replace it so that they need not wait."""

    now: Callable[[], float] = time.monotonic
    silences: dict[str, float] = field(default_factory=dict)
    delays_ms: dict[str, float] = field(default_factory=dict)
    holds: set[str] = field(default_factory=set)
    partials: dict[str, deque[int]] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    stuck_clients: dict[int, float] = field(default_factory=dict)
    refuse_until: float = -math.inf
    outage: bool = False

    def silence(self, kind: str, for_s: float | None) -> None:
        self.silences[kind] = math.inf if for_s is None else self.now() + for_s

    def refuse(self, for_s: float) -> None:
        """Close new API connections at once, for `for_s` seconds."""
        self.refuse_until = self.now() + for_s

    def stick(self, client_id: int, for_s: float | None) -> None:
        """Keep a client id in use although its socket is closed; for ever if for_s is None."""
        self.stuck_clients[client_id] = math.inf if for_s is None else self.now() + for_s

    def is_silent(self, kind: str) -> bool:
        """Whether messages of `kind` are dropped now."""
        if self.outage and kind in LOST_IN_OUTAGE:
            return True
        return any(self.silences.get(key, -math.inf) > self.now() for key in (kind, "all"))

    def delay_s(self, kind: str) -> float:
        return max(self.delays_ms.get(kind, 0.0), self.delays_ms.get("all", 0.0)) / 1000

    def refuses_connections(self) -> bool:
        return self.refuse_until > self.now()

    def is_stuck(self, client_id: int) -> bool:
        return self.stuck_clients.get(client_id, -math.inf) > self.now()

    def take_partial(self, symbol: str) -> int | None:
        """The size set for the next fill of `symbol`, or None. The call uses it up."""
        waiting = self.partials.get(symbol)
        return waiting.popleft() if waiting else None

    def take_rejection(self, order: Order) -> Rejection | None:
        """The first rejection that matches `order`, or None. The call uses it up."""
        for rejection in self.rejections:
            if rejection.matches(order.symbol, order.order_ref):
                self.rejections.remove(rejection)
                return rejection
        return None
