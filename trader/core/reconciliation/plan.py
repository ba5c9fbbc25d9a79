"""What reconciliation decides: rows for people, events for the books, actions for IBKR."""

from typing import Literal

import msgspec

from state.domain.events import Event
from trader.core.orders.actions import BrokerAction

Severity = Literal["ok", "info", "warning", "conflict", "unknown"]
Decision = Literal[
    "matched",
    "partial_taken",
    "count_corrected",
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
    "unprotectable",
    "orphan_cancelled",
    "other_client",
    "unknown",
]


class Row(msgspec.Struct, frozen=True):
    """One decision about one symbol, in words, with what it rests on."""

    symbol: str
    decision: Decision
    text: str = msgspec.field(name="words")  # the name in the recovery reports
    severity: Severity = "ok"
    evidence: tuple[str, ...] = ()


class Plan(msgspec.Struct):
    """All decisions of one comparison. `complete` is False where IBKR gave no complete answer."""

    complete: bool
    rows: list[Row] = msgspec.field(default_factory=list)
    events: list[Event] = msgspec.field(default_factory=list)
    actions: list[BrokerAction] = msgspec.field(default_factory=list)
    conflicts: list[str] = msgspec.field(default_factory=list)  # symbols
    uncertain: bool = False  # a count differs and no execution says why: worth asking twice

    @property
    def quiet(self) -> bool:
        """Nothing to book and nothing to send: the books and IBKR agree."""
        return self.complete and not self.events and not self.actions and not self.conflicts
