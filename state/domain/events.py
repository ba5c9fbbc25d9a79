"""The facts that change the state, each one line in the journal. `state.domain.apply` says what each does."""

from typing import ClassVar, Literal

import msgspec

from state.domain.model import (
    CancelReason,
    ExitReason,
    HaltCause,
    Order,
    OrderReason,
    Position,
    RefusalKind,
    Side,
    Timestamp,
    TraderState,
)


class Event(msgspec.Struct, kw_only=True, frozen=True):
    """A fact with the session's time at which it became known."""

    time: Timestamp

    @classmethod
    def kind(cls) -> str:
        """The name under which the journal keeps it."""
        return cls.__name__


class SessionStarted(Event, frozen=True):
    """A run took over this date, account and gateway. The first event of every journal."""

    session_id: str
    trading_date: str
    account: str
    gateway: str
    resumed_from: str = ""


class SessionEnded(Event, frozen=True):
    session_id: str
    status: Literal["completed", "crashed"]
    reason: str = ""


class ConnectionChanged(Event, frozen=True):
    """The line to IBKR, the gate and the entries, as the operator sees them."""

    connected: bool
    ready: bool
    entries_open: bool
    reason: str
    lost_at: Timestamp | None = None


class OrderIntended(Event, frozen=True):
    """Durable before the order is sent (invariant 1)."""

    order: Order


class OrderModifyIntended(Event, frozen=True):
    """Durable before the change is sent: the stop's size or price that is wanted from now on."""

    order_ref: str
    quantity: int
    stop_price: float
    reason: OrderReason
    closing: bool = False


class OrderAcknowledged(Event, frozen=True):
    """IBKR knows it: its permId, and under which order id."""

    order_ref: str
    perm_id: int
    order_id: int


class OrderChanged(Event, frozen=True):
    """A new status, from IBKR or proven by a complete snapshot."""

    order_ref: str
    status: Literal["working", "filled", "cancelled", "rejected", "not_sent", "unknown"]
    broker_status: str = ""
    text: str = ""
    refusal: RefusalKind | None = None  # how, where the status is rejected
    refusal_code: int | None = None  # of the error message, where one came


class OrderCancelSent(Event, frozen=True):
    """A cancel went to IBKR. The order stays live until IBKR confirms it."""

    order_ref: str
    reason: CancelReason


class OrderRecovered(Event, frozen=True):
    """An order of ours, known by its orderRef, that these files did not hold; rebuilt from IBKR."""

    order: Order


class ExecutionSeen(Event, frozen=True):
    """An execution or its correction; the same one again changes nothing (invariant 13)."""

    exec_id: str
    order_ref: str
    symbol: str
    con_id: int
    side: Literal["BOT", "SLD"]
    shares: int
    price: float
    executed_at: Timestamp
    perm_id: int = 0
    trade_id: str = ""  # which of our positions a trade by hand changed; our own orders know theirs


class CommissionSeen(Event, frozen=True):
    exec_id: str
    commission: float


class PositionAdjusted(Event, frozen=True):
    """IBKR counts other shares than we do and no execution says why: IBKR wins (invariant 3)."""

    symbol: str
    held: int
    price: float  # estimate for the missing or added shares
    reason: ExitReason


class PositionAdopted(Event, frozen=True):
    """A position taken over from the account, by the operator or because its orders were ours."""

    position: Position


class PositionVerified(Event, frozen=True):
    """A complete broker snapshot agreed; `recovery` says how this run came to know the position."""

    symbol: str
    recovery: str


class ForeignSeen(Event, frozen=True):
    """What the account holds and is not ours; quantity 0 removes it."""

    symbol: str
    con_id: int
    quantity: int
    avg_cost: float


class SymbolHalted(Event, frozen=True):
    """A symbol is not entered or managed any more. reason: for people; cause: what decides when it is released."""

    symbol: str
    reason: str
    cause: HaltCause


class SymbolReleased(Event, frozen=True):
    symbol: str


class SignalTaken(Event, frozen=True):
    """A breakout was acted upon; counts its entry path."""

    symbol: str
    side: Side
    path: str
    pivot: float
    break_time: Timestamp
    order_ref: str


class EntryBlocked(Event, frozen=True):
    """A confirmed breakout was not acted upon, and which filter said no."""

    symbol: str
    side: Side
    path: str
    pivot: float
    break_time: Timestamp
    filter: str


class EquityAnchored(Event, frozen=True):
    """Equity at the first connect of the date: what the daily loss limit is a part of."""

    equity: float


class EquityMarked(Event, frozen=True):
    """A point of the equity curve. History only; the state keeps none of it."""

    equity: float
    daily_pnl: float


class Paused(Event, frozen=True):
    reason: str


class Unpaused(Event, frozen=True):
    pass


class BreakerTripped(Event, frozen=True):
    reason: str


class LossLimitHit(Event, frozen=True):
    daily_pnl: float


class BrokerErrorCounted(Event, frozen=True):
    """A refusal of IBKR that counts towards the circuit breaker; `reset` after a success."""

    reset: bool = False
    text: str = ""


class AlertRaised(Event, frozen=True):
    text: str
    symbol: str = ""
    key: str = ""


class AlertCleared(Event, frozen=True):
    key: str


class StateRestored(Event, frozen=True):
    """The operator went back to a checkpoint: its whole content stands, under the numbers that follow now."""

    source: str
    state: TraderState


class EventTypes:
    """The journal's names and their types."""

    by_name: ClassVar[dict[str, type[Event]]] = {
        cls.kind(): cls
        for cls in (
            SessionStarted,
            SessionEnded,
            ConnectionChanged,
            OrderIntended,
            OrderModifyIntended,
            OrderAcknowledged,
            OrderChanged,
            OrderCancelSent,
            OrderRecovered,
            ExecutionSeen,
            CommissionSeen,
            PositionAdjusted,
            PositionAdopted,
            PositionVerified,
            ForeignSeen,
            SymbolHalted,
            SymbolReleased,
            SignalTaken,
            EntryBlocked,
            EquityAnchored,
            EquityMarked,
            Paused,
            Unpaused,
            BreakerTripped,
            LossLimitHit,
            BrokerErrorCounted,
            AlertRaised,
            AlertCleared,
            StateRestored,
        )
    }
