"""A copy of the state that reconciliation may try its events on, so that deciding stays free of effects."""

from datetime import datetime

import msgspec

from state.domain.apply import apply
from state.domain.events import Event
from state.domain.model import TraderState


class Draft:
    """The state as it will be after the events collected so far."""

    def __init__(self, state: TraderState, now: datetime) -> None:
        self.state: TraderState = msgspec.convert(msgspec.to_builtins(state), TraderState)
        self.now = now
        self.events: list[Event] = []

    def record(self, event: Event) -> None:
        """Apply an event here and keep it for the books."""
        apply(self.state, msgspec.convert(msgspec.to_builtins(event), type(event)), self.state.sequence + 1)
        self.events.append(event)
