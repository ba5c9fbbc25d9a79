"""What the engine wants done. Values; the shell (`trader.runtime.loop`) carries them out in their order.

An effect with `durable` waits until every event recorded before it is on disk (invariant 1); those behind it that
are `ordered` wait with it, so that a cancel never overtakes the order that was sent before.
"""

from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec

from trader.broker.port import Bar, BrokerSnapshot, OrderTicket
from trader.core.reconciliation.plan import Row

Level = Literal["info", "warning", "error"]


class Effect(msgspec.Struct, frozen=True):
    """Something that the shell has to do."""

    durable: ClassVar[bool] = False
    ordered: ClassVar[bool] = False


class SendOrders(Effect, frozen=True):
    """Write the tickets in one write; `OrdersSent` or `OrdersNotSent` comes back. new: refs of new orders."""

    durable: ClassVar[bool] = True
    ordered: ClassVar[bool] = True

    tickets: tuple[OrderTicket, ...]
    new: tuple[str, ...]
    text: str  # for the log, once it is durable


class SendCancel(Effect, frozen=True):
    """Ask IBKR to cancel an order of this client."""

    ordered: ClassVar[bool] = True

    order_id: int
    symbol: str


class Reply(Effect, frozen=True):
    """Answer an operator's request."""

    durable: ClassVar[bool] = True
    ordered: ClassVar[bool] = True

    request_id: int
    content: dict[str, Any]


class ForgetPauseRequest(Effect, frozen=True):
    """A pause or unpause is in the journal now: an earlier one that waits in a file is void."""

    durable: ClassVar[bool] = True
    ordered: ClassVar[bool] = True


class AskBroker(Effect, frozen=True):
    """Ask for everything that IBKR holds of the account; `BrokerAnswered` comes back with the same activity."""

    activity: int


class AskInstrument(Effect, frozen=True):
    """Ask for a symbol's contract; `InstrumentKnown` or `InstrumentUnknown` comes back."""

    symbol: str


class Subscribe(Effect, frozen=True):
    """Ask for the symbol's real-time bars and prices, across reconnects."""

    symbol: str


class ReadStoredBars(Effect, frozen=True):
    """Read the bars that are kept on disk; `StoredBarsRead` comes back."""

    symbol: str


class AskHistory(Effect, frozen=True):
    """Ask for historical bars of the `seconds` before `end`; `HistoryReceived` or `HistoryFailed` comes back."""

    symbol: str
    start: datetime
    end: datetime
    seconds: int
    filling: bool  # the first one of a start: says so in the answer


class KeepBars(Effect, frozen=True):
    """Write bars to disk, by symbol."""

    bars: dict[str, tuple[Bar, ...]]


class ArmTimer(Effect, frozen=True):
    """`TimerFired` with this name comes after so many real seconds."""

    name: str
    after_s: float


class RequestSave(Effect, frozen=True):
    """Write a snapshot soon."""


class Reconnect(Effect, frozen=True):
    """The connection is lost: bring it back."""


class StopRun(Effect, frozen=True):
    """End the run in good order."""

    reason: str


class RecoveryStep(Effect, frozen=True):
    """A step of a recovery was reached, for its timings."""

    name: str


class RecoveryFinished(Effect, frozen=True):
    """The protection gate has passed for the first time in this run. Rows: each decision on the way."""

    rows: tuple[Row, ...]
    snapshot: BrokerSnapshot


class RecoveryRefused(Effect, frozen=True):
    """The state and IBKR contradict each other in a way that only the operator can decide."""

    rows: tuple[Row, ...]


class MarketOpened(Effect, frozen=True):
    """Every symbol that is to be monitored has been asked for; `count` of them are."""

    count: int


class Log(Effect, frozen=True):
    """A sentence for the log. trace: of an exception."""

    level: Level
    text: str
    trace: str = ""
