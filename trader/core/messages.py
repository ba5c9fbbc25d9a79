"""The engine's inputs: the broker's facts, answers, time, and the operator's requests. Plain values.

Facts (`trader.broker.port`) change the state or the live view and are taken in before anything is decided. Every
other message has a handler of its own. `trader.core.engine` has the table.
"""

from datetime import datetime
from typing import Any, Literal, get_args

import msgspec

from trader.broker.port import Bar, Fact, Instrument, Part, PartAnswer

FACTS: tuple[type, ...] = get_args(Fact)


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Time and connection when the messages are handled; the core has no clock and no connection of its own."""

    now: datetime  # session time, US Eastern
    real_s: float  # monotonic seconds of real time: for timeouts and pauses
    wall_ms: int = 0  # milliseconds since 1970 by the computer's clock: for order references
    speed: float = 1.0  # session seconds in one real second
    connected: bool = True  # the API connection is up
    free_order_id: int = 1  # the lowest id that IBKR accepts; 0: none, and `no_order_id` has the reason
    no_order_id: str = ""


class RecoveryStarted(msgspec.Struct, frozen=True):
    """The state is loaded and the broker is connected: compare them until the protection gate passes."""


class TradingStarted(msgspec.Struct, frozen=True):
    """The recovery's report was printed: monitor the market and trade."""


class RunEnding(msgspec.Struct, frozen=True):
    """The last message of a run: record how it ended."""

    session_id: str
    status: Literal["completed", "crashed"]
    reason: str


class PartAnswered(msgspec.Struct, frozen=True):
    """The answer to an AskBroker, with the activity count that the question carried.

    rows: None without a complete answer, and `error` tells why.
    """

    part: Part
    activity: int
    rows: PartAnswer | None
    error: str = ""


class Tick(msgspec.Struct, frozen=True):
    """Half a second of real time has passed."""


class TimerFired(msgspec.Struct, frozen=True):
    """A timer of an ArmTimer effect has expired."""

    name: str


class Reconnected(msgspec.Struct, frozen=True):
    """The API connection is up again; IBKR has not been asked for anything yet."""


class OperatorRequest(msgspec.Struct, frozen=True):
    """A command of the operator; the Reply effect with the same request_id answers it."""

    request_id: int
    command: str
    arguments: dict[str, Any]


class OrdersSent(msgspec.Struct, frozen=True):
    """Orders were written to the socket. new: orderRefs sent for the first time; changed: modified ones."""

    new: tuple[str, ...]
    changed: tuple[str, ...] = ()


class OrdersNotSent(msgspec.Struct, frozen=True):
    """Orders were not written: there was no connection. Their intents are in the journal."""

    symbol: str
    new: tuple[str, ...]
    changed: tuple[str, ...]
    error: str


class InstrumentKnown(msgspec.Struct, frozen=True):
    """The answer to an AskInstrument."""

    instrument: Instrument


class InstrumentUnknown(msgspec.Struct, frozen=True):
    """IBKR does not know the symbol, or did not answer."""

    symbol: str
    error: str


class StoredBarsRead(msgspec.Struct, frozen=True):
    """The bars of this trading date that are on disk; empty if they cannot be read."""

    symbol: str
    bars: tuple[Bar, ...]


class HistoryReceived(msgspec.Struct, frozen=True):
    """The historical bars of one request. filling: as in AskHistory."""

    symbol: str
    bars: tuple[Bar, ...]
    filling: bool


class HistoryFailed(msgspec.Struct, frozen=True):
    """A request for historical bars ended without bars. filling: as in AskHistory."""

    symbol: str
    start: datetime
    end: datetime
    filling: bool
    error: str


class EntriesHeld(msgspec.Struct, frozen=True):
    """The shell has a reason to close the entries: the state cannot be saved, or the disk does not answer."""

    reason: str
    alert: str = ""  # for the operator, besides the log


class EntriesReleased(msgspec.Struct, frozen=True):
    """The reason no longer applies."""

    reason: str


class OperatorAlert(msgspec.Struct, frozen=True):
    """Raise an alert about something that the shell found."""

    text: str
    symbol: str = ""


Message = (
    Fact
    | RecoveryStarted
    | TradingStarted
    | RunEnding
    | PartAnswered
    | Tick
    | TimerFired
    | Reconnected
    | OperatorRequest
    | OrdersSent
    | OrdersNotSent
    | InstrumentKnown
    | InstrumentUnknown
    | StoredBarsRead
    | HistoryReceived
    | HistoryFailed
    | EntriesHeld
    | EntriesReleased
    | OperatorAlert
)
