"""What reconciliation decides: rows for the operator, events for the state, actions at IBKR."""

from typing import Literal

import msgspec

from state.domain.events import Event
from trader.core.orders.actions import BrokerAction

Severity = Literal["ok", "info", "warning", "conflict", "unknown"]
Decision = Literal[
    "matched",
    "partial_taken",
    "count_corrected",
    "count_waits",
    "closed_while_down",
    "closed_by_hand",
    "closed_unexplained",
    "conflict",
    "adopted",
    "foreign",
    "foreign_gone",
    "split_suspected",
    "entry_working",
    "entry_not_sent",
    "entry_filled",
    "entry_ended",
    "stop_missing",
    "stop_corrected",
    "orphan_cancelled",
    "former_client_id",
    "other_trader",
    "unknown",
]


class Row(msgspec.Struct, frozen=True):
    """One decision about one symbol, as text. evidence: the fills that it is based on."""

    symbol: str
    decision: Decision
    text: str = msgspec.field(name="words")  # the name in the recovery reports
    severity: Severity = "ok"
    evidence: tuple[str, ...] = ()


class Plan(msgspec.Struct):
    """All decisions of one comparison. complete: whether IBKR answered every question."""

    complete: bool
    rows: list[Row] = msgspec.field(default_factory=list)
    events: list[Event] = msgspec.field(default_factory=list)
    actions: list[BrokerAction] = msgspec.field(default_factory=list)
    conflicts: list[str] = msgspec.field(default_factory=list)  # symbols
    former_client_ids: list[int] = msgspec.field(default_factory=list)  # under which own orders are live
    uncertain: set[str] = msgspec.field(default_factory=set)  # symbols about which IBKR is asked a second time
    unsettled: set[str] = msgspec.field(default_factory=set)  # symbols whose count is not settled yet: no entries
