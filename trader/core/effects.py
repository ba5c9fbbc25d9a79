"""The engine's outputs besides events. Plain values; the shell (`trader.runtime.loop`) carries them out in order.

A `durable` effect waits until every event recorded before it is on disk (invariant 1). `ordered` effects behind it
wait as well, so that a cancel never overtakes an order.
"""

from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec

from trader.broker.port import Bar, BrokerSnapshot, OrderTicket, Part
from trader.core.reconciliation.plan import Row

Level = Literal["info", "warning", "error"]


class Effect(msgspec.Struct, frozen=True):
    """Something for the shell to do."""

    durable: ClassVar[bool] = False
    ordered: ClassVar[bool] = False


class SendOrders(Effect, frozen=True):
    """Write the tickets in one write; answered by `OrdersSent` or `OrdersNotSent`. new: orderRefs of new orders."""

    durable: ClassVar[bool] = True
    ordered: ClassVar[bool] = True

    tickets: tuple[OrderTicket, ...]
    new: tuple[str, ...]
    text: str  # for the log, when they are sent


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
    """Delete the pause request file: a newer pause or unpause is in the journal."""

    durable: ClassVar[bool] = True
    ordered: ClassVar[bool] = True


class AskBroker(Effect, frozen=True):
    """Ask IBKR for one part of a snapshot; answered by `PartAnswered` with the same activity.

    since: for executions, only those from then on.
    """

    part: Part
    activity: int
    since: datetime | None = None


class AskInstrument(Effect, frozen=True):
    """Ask for a symbol's contract; answered by `InstrumentKnown` or `InstrumentUnknown`."""

    symbol: str


class Subscribe(Effect, frozen=True):
    """Subscribe to the symbol's real-time bars and prices, across reconnects."""

    symbol: str


class Resubscribe(Effect, frozen=True):
    """Subscribe again to the data of a symbol that have not come, or no longer come."""

    symbol: str


class PreferData(Effect, frozen=True):
    """Subscribe to these symbols before all others, from now on."""

    symbols: tuple[str, ...]


class ReadStoredBars(Effect, frozen=True):
    """Read the symbol's bars from disk; answered by `StoredBarsRead`."""

    symbol: str


class AskHistory(Effect, frozen=True):
    """Ask for bars of the `seconds` before `end`; answered by `HistoryReceived` or `HistoryFailed`."""

    symbol: str
    start: datetime
    end: datetime
    seconds: int
    filling: bool  # the request of an opening market, which fills the last hour; False: for one hole in the bars


class KeepBars(Effect, frozen=True):
    """Write bars to disk, by symbol."""

    bars: dict[str, tuple[Bar, ...]]


class ArmTimer(Effect, frozen=True):
    """Send `TimerFired` with this name after so many real seconds."""

    name: str
    after_s: float


class RequestSave(Effect, frozen=True):
    """Write a snapshot soon."""


class Reconnect(Effect, frozen=True):
    """The connection is lost: reconnect."""


class StopRun(Effect, frozen=True):
    """End the run without an error."""

    reason: str


class RecoveryStep(Effect, frozen=True):
    """A step of the recovery was reached, for its timings."""

    name: str


class RecoveryFinished(Effect, frozen=True):
    """The protection gate has passed for the first time in this run. rows: every decision since the start."""

    rows: tuple[Row, ...]
    snapshot: BrokerSnapshot


class RecoveryRefused(Effect, frozen=True):
    """The state and IBKR are in a conflict that only the operator can decide."""

    rows: tuple[Row, ...]


class MarketOpened(Effect, frozen=True):
    """IBKR has answered for every symbol to be monitored. count: symbols that are monitored now."""

    count: int


class DataArrived(Effect, frozen=True):
    """After the market was opened: how many of the monitored symbols deliver live data, and which do not."""

    live: int
    blind: tuple[str, ...]


class Log(Effect, frozen=True):
    """A log line. trace: the traceback of an exception."""

    level: Level
    text: str
    trace: str = ""
