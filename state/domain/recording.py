"""Events as the journal holds them, and the one way in which an event becomes part of the state."""

import msgspec

from state.domain.apply import apply
from state.domain.events import Event, EventTypes
from state.domain.model import TraderState
from state.errors import InvariantError

DECODERS: dict[str, msgspec.json.Decoder[Event]] = {
    kind: msgspec.json.Decoder(cls) for kind, cls in EventTypes.by_name.items()
}
_encoder = msgspec.json.Encoder()


class Recorded(msgspec.Struct, frozen=True):
    """An event that the state holds and the journal still has to take. data: compact JSON."""

    sequence: int
    kind: str
    data: bytes


def encode_event(event: Event) -> bytes:
    """One event as compact JSON. Raises InvariantError for text that no file can hold."""
    try:
        return _encoder.encode(event)
    except UnicodeEncodeError as error:
        raise InvariantError(f"A {event.kind()} event cannot be written: {error}.") from error


def record(state: TraderState, event: Event) -> Recorded:
    """Apply an event to the state, and return what the journal has to take.

    What is applied is the event decoded from its bytes, so that what cannot be replayed can never be part of the
    state (invariant 9). Raises InvariantError for an event that contradicts the state.
    """
    data = encode_event(event)
    sequence = state.sequence + 1
    try:
        decoded = DECODERS[event.kind()].decode(data)
    except msgspec.DecodeError as error:
        raise InvariantError(f"A {event.kind()} event could not be read back: {error}.") from error
    apply(state, decoded, sequence)
    return Recorded(sequence, event.kind(), data)
