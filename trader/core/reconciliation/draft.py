"""A copy of the state on which reconciliation tries its events, so that the decision changes nothing."""

from datetime import datetime

import msgspec

from state.domain.events import Event
from state.domain.model import TraderState
from state.domain.recording import record


class Draft:
    """The state as it will be after the events collected so far."""

    def __init__(self, state: TraderState, now: datetime) -> None:
        self.state: TraderState = msgspec.convert(msgspec.to_builtins(state), TraderState)
        self.now = now
        self.events: list[Event] = []

    def record(self, event: Event) -> None:
        """Apply an event to the copy, and collect it for the state. Raises InvariantError, as for the state."""
        record(self.state, event)
        self.events.append(event)
