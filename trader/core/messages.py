"""What the engine is told: the broker's facts, answers, time, and the operator. Plain values.

Facts (`trader.broker.port`) change the state or the live view and are taken in before anything is decided; the
other messages each have a handler of their own. `trader.core.engine` has the table.
"""

from datetime import datetime
from typing import Any, Literal, get_args

import msgspec

from trader.broker.port import Bar, BrokerAnswer, Fact, Instrument

FACTS: tuple[type, ...] = get_args(Fact)


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What the shell knows when it hands messages over; the core has no clock and no connection of its own."""

    now: datetime  # the session's time, US Eastern
    real_s: float  # monotonic seconds of real time: for bounds and pauses
    wall_ms: int = 0  # milliseconds since 1970 by the computer's clock: for the names of orders
    speed: float = 1.0  # session seconds for one real second
    connected: bool = True  # the API connection is up
    free_order_id: int = 1  # the lowest id that IBKR accepts; 0: none, for the reason in `no_order_id`
    no_order_id: str = ""


class RecoveryStarted(msgspec.Struct, frozen=True):
    """The state is loaded and the broker is connected: compare them until the protection gate passes."""


class TradingStarted(msgspec.Struct, frozen=True):
    """The report of the recovery is out: monitor the market and trade."""


class RunEnding(msgspec.Struct, frozen=True):
    """The last message of a run: record how it ended."""

    session_id: str
    status: Literal["completed", "crashed"]
    reason: str


class BrokerAnswered(msgspec.Struct, frozen=True):
    """The answer to an AskBroker, with the activity count that the question carried."""

    answer: BrokerAnswer
    activity: int


class Tick(msgspec.Struct, frozen=True):
    """Half a second of real time went by."""


class TimerFired(msgspec.Struct, frozen=True):
    """A timer that an ArmTimer effect started has run out."""

    name: str


class Reconnected(msgspec.Struct, frozen=True):
    """The API connection is up again; nothing has been asked yet."""


class OperatorRequest(msgspec.Struct, frozen=True):
    """A command of the operator; the Reply effect with the same id answers it."""

    request_id: int
    command: str
    arguments: dict[str, Any]


class OrdersSent(msgspec.Struct, frozen=True):
    """Orders were written to the socket. new: orderRefs sent for the first time; changed: modified ones."""

    new: tuple[str, ...]
    changed: tuple[str, ...] = ()


class OrdersNotSent(msgspec.Struct, frozen=True):
    """Orders were not written: the connection was down. Their intents are in the journal all the same."""

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
    """The bars that earlier runs of this trading date kept on disk; empty where they could not be read."""

    symbol: str
    bars: tuple[Bar, ...]


class HistoryReceived(msgspec.Struct, frozen=True):
    """Historical bars of one request. filling: as in AskHistory."""

    symbol: str
    bars: tuple[Bar, ...]
    filling: bool


class HistoryFailed(msgspec.Struct, frozen=True):
    """A request for historical bars ended without bars. `filling`: the first one of a start, not a hole's."""

    symbol: str
    start: datetime
    end: datetime
    filling: bool
    error: str


class EntriesHeld(msgspec.Struct, frozen=True):
    """The shell met a reason to close the entries: the state cannot be saved, or the disk does not answer."""

    reason: str
    alert: str = ""


class EntriesReleased(msgspec.Struct, frozen=True):
    """That reason is gone."""

    reason: str


class OperatorAlert(msgspec.Struct, frozen=True):
    """Something that the shell found and the operator should know."""

    text: str
    symbol: str = ""


Message = (
    Fact
    | RecoveryStarted
    | TradingStarted
    | RunEnding
    | BrokerAnswered
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
