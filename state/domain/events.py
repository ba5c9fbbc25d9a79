"""The events that change the state, each one line of the journal. `state.domain.apply` defines their effects."""

from typing import ClassVar, Literal

import msgspec

from state.domain.model import (
    CancelReason,
    Closing,
    DataState,
    ExitReason,
    Funds,
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
    """Something that happened. time: of the session's clock, when the trader learned of it."""

    time: Timestamp

    @classmethod
    def kind(cls) -> str:
        """Its name in the journal."""
        return cls.__name__


class SessionStarted(Event, frozen=True):
    """A run began with this date, account and gateway. The first event of every journal."""

    session_id: str
    trading_date: str
    account: str
    gateway: str
    resumed_from: str = ""
    client_id: int = 0  # the API client id; 0 in journals of earlier versions


class SessionEnded(Event, frozen=True):
    session_id: str
    status: Literal["completed", "crashed"]
    reason: str = ""


class ConnectionChanged(Event, frozen=True):
    """The connection to IBKR, the managing of positions, the protection gate (ready) or the entries changed."""

    connected: bool
    ready: bool
    entries_open: bool
    reason: str
    lost_at: Timestamp | None = None
    managing: bool = False  # not in journals of earlier versions


class OrderIntended(Event, frozen=True):
    """Durable before the order is sent (invariant 1)."""

    order: Order


class OrderModifyIntended(Event, frozen=True):
    """The new size and price of a stop. Durable before it is sent (invariant 1), in force once IBKR shows it."""

    order_ref: str
    quantity: int
    stop_price: float
    reason: OrderReason
    closing: bool = False
    awaited: bool = False  # False in journals of earlier versions, where it is in force at once


class OrderModified(Event, frozen=True):
    """IBKR shows a stop with this size and price: the change that was sent, or another one."""

    order_ref: str
    quantity: int
    stop_price: float


class OrderModifyRefused(Event, frozen=True):
    """IBKR refused the change of a stop, which works on with its old terms. final: it refuses any change of it."""

    order_ref: str
    code: int | None = None
    text: str = ""
    final: bool = False


class ClosingChanged(Event, frozen=True):
    """A step of changing the stop of a position or of closing it; None: nothing is under way any more."""

    symbol: str
    closing: Closing | None
    gave_up: bool = False  # IBKR refused it: a partial is not tried for ever


class OrderAcknowledged(Event, frozen=True):
    """IBKR has the order: its permId, and its order id."""

    order_ref: str
    perm_id: int
    order_id: int


class OrderChanged(Event, frozen=True):
    """A new status, as IBKR reported it or a complete snapshot proved it."""

    order_ref: str
    status: Literal["working", "inactive", "filled", "cancelled", "rejected", "not_sent", "unknown"]
    broker_status: str = ""
    text: str = ""
    refusal: RefusalKind | None = None  # how, where the status is rejected
    refusal_code: int | None = None  # of the error message, where one came


class OrderCancelSent(Event, frozen=True):
    """A cancel went to IBKR. The order stays live until IBKR confirms it."""

    order_ref: str
    reason: CancelReason


class OrderRecovered(Event, frozen=True):
    """An own order, by its orderRef, whose intent was lost; rebuilt from IBKR's records."""

    order: Order


class ExecutionSeen(Event, frozen=True):
    """An execution or its correction. A repeated one changes nothing (invariant 13)."""

    exec_id: str
    order_ref: str
    symbol: str
    con_id: int
    side: Literal["BOT", "SLD"]
    shares: int
    price: float
    executed_at: Timestamp
    perm_id: int = 0
    trade_id: str = ""  # the trade that a manual execution changed; an own order knows its trade
    commission: float | None = None  # if IBKR told both together; else CommissionSeen follows


class CommissionSeen(Event, frozen=True):
    exec_id: str
    commission: float


class PositionAdjusted(Event, frozen=True):
    """IBKR's share count differs and no execution explains it: IBKR's count is taken (invariant 3)."""

    symbol: str
    held: int
    price: float  # estimate for the missing or added shares
    reason: ExitReason


class PositionAdopted(Event, frozen=True):
    """A position taken over from the account, on the operator's command."""

    position: Position


class PositionVerified(Event, frozen=True):
    """A complete broker snapshot agreed with the position. recovery: see `Position.recovery`."""

    symbol: str
    recovery: str


class ForeignSeen(Event, frozen=True):
    """A position of the account that no own order made; quantity 0 removes it."""

    symbol: str
    con_id: int
    quantity: int
    avg_cost: float


class SymbolHalted(Event, frozen=True):
    """A symbol is neither entered nor managed until it is released. reason: for people; cause: decides when."""

    symbol: str
    reason: str
    cause: HaltCause


class SymbolReleased(Event, frozen=True):
    symbol: str


class SignalTaken(Event, frozen=True):
    """An entry is sent for a breakout; counts its entry path."""

    symbol: str
    side: Side
    path: str
    pivot: float
    break_time: Timestamp
    order_ref: str


class EntryBlocked(Event, frozen=True):
    """A filter blocked the entry for a confirmed breakout."""

    symbol: str
    side: Side
    path: str
    pivot: float
    break_time: Timestamp
    filter: str


class EquityAnchored(Event, frozen=True):
    """Equity at the first connect of the date. The daily loss limit is a fraction of it."""

    equity: float


class EquityMarked(Event, frozen=True):
    """A point of the equity curve, US dollars. History only; the state keeps none of it."""

    equity: float
    daily_pnl: float


class FundsSeen(Event, frozen=True):
    """The account's values, recorded once a minute."""

    funds: Funds


class Paused(Event, frozen=True):
    reason: str


class Unpaused(Event, frozen=True):
    pass


class BreakerTripped(Event, frozen=True):
    reason: str


class LossLimitHit(Event, frozen=True):
    daily_pnl: float


class BrokerErrorCounted(Event, frozen=True):
    """A refusal by IBKR, counted towards the circuit breaker; with `reset` the count starts again at 0."""

    reset: bool = False
    text: str = ""


class DataChanged(Event, frozen=True):
    """A symbol's market data are in another state. since: real time."""

    symbol: str
    state: DataState
    since: Timestamp
    code: int = 0
    text: str = ""


class AlertRaised(Event, frozen=True):
    text: str
    symbol: str = ""
    key: str = ""


class AlertCleared(Event, frozen=True):
    key: str


class StateRestored(Event, frozen=True):
    """The operator restored a checkpoint. Its content replaces the state; the sequence goes on from here."""

    source: str
    state: TraderState


class EventTypes:
    """The event types by their names in the journal."""

    by_name: ClassVar[dict[str, type[Event]]] = {
        cls.kind(): cls
        for cls in (
            SessionStarted,
            SessionEnded,
            ConnectionChanged,
            OrderIntended,
            OrderModifyIntended,
            OrderModified,
            OrderModifyRefused,
            ClosingChanged,
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
            FundsSeen,
            Paused,
            Unpaused,
            BreakerTripped,
            LossLimitHit,
            BrokerErrorCounted,
            DataChanged,
            AlertRaised,
            AlertCleared,
            StateRestored,
        )
    }
