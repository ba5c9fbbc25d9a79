"""Where reconciliation records its events: the state of a turn, or a copy of it that nothing else sees."""

from datetime import datetime

import msgspec

from state.domain.events import Event
from state.domain.model import TraderState
from state.domain.recording import record


class Draft:
    """A state, and the events that were recorded in it. A subclass decides where they go besides."""

    def __init__(self, state: TraderState, now: datetime) -> None:
        self.state = state
        self.now = now
        self.events: list[Event] = []

    def record(self, event: Event) -> None:
        """Apply an event, and collect it. Raises InvariantError."""
        self.apply(event)
        self.events.append(event)

    def apply(self, event: Event) -> None:
        """Apply an event to the state."""
        record(self.state, event)


def copied(state: TraderState) -> TraderState:
    """A copy of the state, for a decision that changes nothing. It costs as much as the day is long."""
    return msgspec.convert(msgspec.to_builtins(state), TraderState)
