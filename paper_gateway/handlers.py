"""Dispatches client messages: one table from message id to handler.

A handler reads its fields and answers through the session. If it raises RequestRefused or ProtocolError,
`dispatch` answers with an API error for the request id that the reader has read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from paper_gateway.brokerage import Brokerage
from paper_gateway.errors import ProtocolError, RequestRefused
from paper_gateway.feed import Feed
from paper_gateway.history import Pacing
from paper_gateway.market import SessionClock
from paper_gateway.publisher import Publisher
from paper_gateway.session import Session
from paper_gateway.wire import FieldReader

log = logging.getLogger(__name__)

READING_ERROR = 320
UNKNOWN_MESSAGE = 505
SLOW_KINDS = {
    "5": "open-orders",
    "16": "open-orders",
    "99": "completed",
    "7": "executions",
    "61": "positions",
    "64": "positions",
    "6": "account",
    "62": "account",
    "63": "account",
    "76": "account",
    "77": "account",
}
"""The messages that the quirks `slow-<kind>` delay. The ends of subscriptions are among them, to keep the order."""


@dataclass
class Services:
    """The objects that handlers use."""

    brokerage: Brokerage
    clock: SessionClock
    publisher: Publisher
    feed: Feed
    pacing: Pacing | None
    executions_of: str  # "all" or "own": the executions that a filter with client id 0 selects
    seed: int


Handler = Callable[[Services, Session, FieldReader], None]
HANDLERS: dict[int, Handler] = {}

REQUEST_ID_INDEX = {
    10: 1,
    11: 1,
    21: 1,
    22: 0,
    23: 1,
    52: 1,
    53: 1,
    54: 1,
    55: 1,
    56: 1,
    57: 1,
    67: 1,
    68: 1,
    69: 1,
    70: 1,
    74: 1,
    75: 1,
    78: 0,
    79: 0,
    81: 0,
    83: 0,
    84: 0,
    86: 0,
    88: 0,
    89: 0,
    90: 0,
    92: 0,
    93: 0,
    94: 0,
    95: 0,
    96: 0,
    97: 0,
    98: 0,
    100: 0,
    101: 0,
    102: 0,
    103: 0,
    104: 0,
}
"""Messages that are known and not supported: the number of fields before the request id. The refusal names it."""


def handles(*message_ids: int) -> Callable[[Handler], Handler]:
    """Register a function as the handler of client messages."""

    def register(handler: Handler) -> Handler:
        for message_id in message_ids:
            HANDLERS[message_id] = handler
        return handler

    return register


def dispatch(services: Services, session: Session, fields: list[str]) -> None:
    """Handle one message of a client that has sent START_API; later if a quirk says so."""
    delay_s = _delay_s(services, fields[0])
    if delay_s:
        session.after(delay_s, lambda: _handle_late(services, session, fields))
    else:
        _handle(services, session, fields)


def _delay_s(services: Services, message_id: str) -> float:
    kind = SLOW_KINDS.get(message_id)
    if kind is None:
        return 0.0
    quirks = services.brokerage.quirks
    own_s, general_s = quirks.number(f"slow-{kind}"), quirks.number("slow-answers")
    return (own_s if own_s is not None else general_s) or 0.0


def _handle_late(services: Services, session: Session, fields: list[str]) -> None:
    services.feed.step()
    _handle(services, session, fields)


def _handle(services: Services, session: Session, fields: list[str]) -> None:
    reader = FieldReader(fields)
    try:
        message_id = reader.whole("message id")
        handler = HANDLERS.get(message_id)
        if handler is None:
            _refuse_unknown(session, message_id, fields[1:])
            return
        handler(services, session, reader)
    except RequestRefused as refusal:
        session.error(reader.request_id, refusal.code, refusal.message)
    except ProtocolError as error:
        log.warning("client %s: %s", session.client_id, error)
        session.error(error.request_id, READING_ERROR, f"Error reading request: {error}")


def _refuse_unknown(session: Session, message_id: int, fields: list[str]) -> None:
    """Answer a message that is not served, with a code that ends its request in every client (not 321)."""
    index = REQUEST_ID_INDEX.get(message_id)
    if index is None:
        session.error(-1, UNKNOWN_MESSAGE, f"Fatal Error: Unknown message id {message_id}")
        return
    reader = FieldReader(fields)
    reader.skip(*["version"] * index)
    request_id = reader.whole("request id")
    cause = f"message {message_id} is not supported by the paper gateway"
    session.error(request_id, READING_ERROR, f"Error reading request: {cause}")
