"""What the trader knows, as typed values: positions, orders, executions, attempts and limits of one trading date.

Share counts are whole numbers; fractions are derived (`Position.remaining`). Times are aware datetimes of the
session's clock. Only `state.domain.apply` changes these values, one event at a time.
"""

from datetime import date, datetime
from functools import cached_property
from typing import Annotated, Literal

import msgspec

from state.domain.lookup import Lookup

Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]
Side = Literal["LONG", "SHORT"]
Action = Literal["BUY", "SELL"]
Role = Literal["entry", "stop", "exit"]

OrderStatus = Literal[
    "intended",  # durable here; whether it reached IBKR is not known yet
    "working",  # live at IBKR
    "inactive",  # IBKR lists it as Inactive: it executes nothing now, and may wake up
    "filled",
    "cancelled",
    "rejected",
    "not_sent",  # proven never to have reached IBKR; never sent again
    "unknown",  # no complete answer has proven any other status
]
PartialReason = Literal["partial_1r", "partial_target1"]
OrderReason = Literal[
    "entry",
    "stop_loss_hit",
    "breakeven_stop_hit",
    "trailing_stop_hit",
    "time_rule",
    "end_of_day",
    "flatten",
    PartialReason,
    "unprotectable",  # IBKR refused its stop several times
    "exit",  # an exit rebuilt from IBKR's records that is neither partial
]
# Why shares changed: the reason of the order that filled, or one of four others where no own order filled.
ExitReason = Literal[OrderReason, "closed_by_hand", "accepted_from_broker", "unknown", "adopted"]
HaltCause = Literal[
    "defect",  # an unexpected error; only a new run releases the symbol
    "conflict",  # this trader's share count and IBKR's contradict each other
    "split",  # a stock split is suspected
    "two_trades",  # two trades hold shares of the symbol at once
]
CancelReason = Literal["timeout", "flatten", "position_closed", "reconciliation", "replacement"]
DataState = Literal[
    "waiting",  # asked for, or about to be; no real-time bar has come yet
    "live",
    "delayed",  # unfit for trading
    "missing",  # refused by IBKR
    "stale",  # bars have stopped, or did not begin
]
RefusalKind = Literal[
    "message",  # an error message with its code
    "inactive",  # the order status Inactive
]
ADOPTED_PATH = "adopted"
UNKNOWN_PATH = "unknown"  # entry path of a trade rebuilt from IBKR's records; its plan is an estimate
LIVE_STATUSES: frozenset[str] = frozenset({"intended", "working", "inactive", "unknown"})
ClosingKind = Literal[
    "change",  # the stop gets another price or size
    "partial",  # a part of the shares is sold or bought back
    "exit",  # the whole position is closed
    "replacement",  # the stop is missing or protects nothing
]
ClosingStep = Literal[
    "entry_cancel",  # the rest of the entry is being cancelled
    "change",  # a change of the stop was sent
    "confirm",  # IBKR has shown the change once, and has to show it a second time
    "cancel",  # the stop is being cancelled
    "place",  # a new stop was sent
    "market",  # an order at the market was sent
    "wait",  # a pause before the next try
]


def is_date(text: str) -> bool:
    """Whether a text is a date such as `2025-10-06`."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def entry_action(side: Side) -> Action:
    """The order action that opens `side`."""
    return "BUY" if side == "LONG" else "SELL"


def exit_action(side: Side) -> Action:
    """The order action that closes `side`."""
    return "SELL" if side == "LONG" else "BUY"


def sign(side: Side) -> int:
    """+1 for LONG, -1 for SHORT: share counts times this are signed as IBKR's are."""
    return 1 if side == "LONG" else -1


class Partial(msgspec.Struct, kw_only=True):
    """Shares that one order closed while the rest of the position stayed open."""

    time: Timestamp
    price: float
    shares: int
    reason: ExitReason
    pnl: float
    order_ref: str = ""
    estimated: bool = False


class Closing(msgspec.Struct, kw_only=True):
    """What is under way to change the stop of a position or to close it; `docs/ORDERS.md` has the steps."""

    kind: ClosingKind
    step: ClosingStep
    reason: OrderReason
    since: Timestamp  # when the step began; session's clock
    shares: int = 0  # of a partial
    quantity: int = 0  # of the stop as it was sent, including what it has filled
    stop_price: float = 0.0
    order_ref: str = ""  # of the order that the step waits for
    tries: int = 0  # refusals so far


class Position(msgspec.Struct, kw_only=True):
    """One trade, from the first fill of its entry until it is flat."""

    trade_id: str  # the entry's orderRef, or "adopted-..." for a position taken over from the account
    symbol: str
    con_id: int
    side: Side
    entry_price: float
    entry_time: Timestamp
    shares: int  # entered in all
    held: int  # still held, never negative
    pivot: float
    target1: float
    target2: float
    target3: float
    stop_price: float
    initial_stop: float
    stop_ref: str = ""  # orderRef of its protective stop
    attempt: int = 1
    path: str = ""
    recovery: str = "live"  # live, verified, adopted or estimated: how this run knows of it
    estimated: bool = False  # its pivot, targets or stop are estimates
    pnl_estimated: bool = False  # its P&L uses an estimated price
    partials_taken: list[Partial] = []
    fills: list[str] = []  # keys into TraderState.executions, in the order of position accounting
    oversold: int = 0  # shares closed beyond what was held: a reversal, always a conflict
    realized_pnl: float = 0.0  # as IBKR counts it: average cost, commissions included
    commissions: float = 0.0
    exit_price: float | None = None
    exit_time: Timestamp | None = None
    exit_reason: Literal[ExitReason, ""] = ""  # "" while it is open
    closing: Closing | None = None
    partials_refused: int = 0
    targets_given: bool = False  # the operator gave the targets of an adopted position

    @property
    def is_adopted(self) -> bool:
        """Whether it was taken over from the account, so that no own entry made it."""
        return self.path == ADOPTED_PATH

    @property
    def remaining(self) -> float:
        """The fraction of the original shares still held, as the state file shows it."""
        return self.held / self.shares if self.shares else 0.0

    @property
    def quantity(self) -> int:
        """Signed shares, as IBKR counts them."""
        return sign(self.side) * self.held


class EntryPlan(msgspec.Struct, kw_only=True, frozen=True):
    """What an entry intends. It is part of the order, so that it survives a crash."""

    side: Side
    pivot: float
    target1: float
    target2: float
    target3: float
    stop_price: float
    attempt: int
    path: str


class OrderChange(msgspec.Struct, kw_only=True):
    """A change of a stop that was sent, and that IBKR has neither shown nor refused yet."""

    quantity: int
    stop_price: float
    reason_before: OrderReason
    closing_before: bool


class Order(msgspec.Struct, kw_only=True):
    """One own order, from its intent to its last status. The orderRef identifies it."""

    order_ref: str
    role: Role
    symbol: str
    con_id: int
    action: Action
    quantity: int
    order_type: str  # MKT or STP
    trade_id: str
    order_id: int
    client_id: int
    intended_at: Timestamp
    stop_price: float | None = None
    perm_id: int = 0
    parent_ref: str = ""
    reason: OrderReason
    plan: EntryPlan | None = None
    status: OrderStatus = "intended"
    broker_status: str = ""
    filled: int = 0
    updated_at: Timestamp | None = None
    text: str = ""  # the last error or reason IBKR gave, for people
    closing: bool = False  # the stop was brought to the market to close the position
    cancel_reason: CancelReason | None = None  # a cancel was sent, and why
    refusal: RefusalKind | None = None  # how IBKR refused it, if it did
    refusal_code: int | None = None  # of the error message, where one came
    other_perm_ids: list[int] = []  # a second permId under one orderRef, which raises an alert
    change: OrderChange | None = None  # quantity and stop_price are IBKR's until it shows the change

    @property
    def is_live(self) -> bool:
        """Whether it may still execute, now or after it has woken up."""
        return self.status in LIVE_STATUSES

    @property
    def pending(self) -> int:
        """Shares that may still execute, by the larger size while a change is under way."""
        quantity = max(self.quantity, self.change.quantity) if self.change is not None else self.quantity
        return max(0, quantity - self.filled) if self.is_live else 0


class Execution(msgspec.Struct, kw_only=True):
    """One execution. Its key is the id without the revision, so that a correction takes its place."""

    exec_id: str
    trade_id: str
    order_ref: str
    symbol: str
    side: Literal["BOT", "SLD"]
    shares: int
    price: float
    time: Timestamp
    reason: ExitReason
    perm_id: int = 0
    manual: bool = msgspec.field(default=False, name="by_hand")  # the name in files; no own order filled
    estimated: bool = False  # made up for a difference that no known execution explains
    commission: float | None = None  # reported later than the execution


class PivotAttempts(msgspec.Struct, kw_only=True):
    """Entries filled at one pivot of the scanner, by symbol and side."""

    symbol: str
    side: Side
    pivot: float
    count: int


class LastSignal(msgspec.Struct, kw_only=True):
    """The last breakout that led to an entry in a symbol. The same breakout never leads to a second one."""

    symbol: str
    side: Side
    path: str
    pivot: float
    break_time: Timestamp
    time: Timestamp
    order_ref: str = ""


class Risk(msgspec.Struct, kw_only=True):
    """Limits that survive a restart. They apply to the state's trading date."""

    start_equity: float | None = None
    paused: bool = False
    paused_reason: str = ""
    breaker_tripped: bool = False
    breaker_reason: str = ""
    loss_limit_hit: bool = False
    broker_errors: int = 0  # consecutive


class ForeignPosition(msgspec.Struct, kw_only=True):
    """A position of the account that no own order made: shown and counted, never traded."""

    symbol: str
    con_id: int
    quantity: int
    avg_cost: float
    seen_at: Timestamp


class Alert(msgspec.Struct, kw_only=True):
    """A message to the operator."""

    time: Timestamp
    text: str
    symbol: str = ""
    key: str = ""  # replaces an earlier alert of the same key


class MarketData(msgspec.Struct, kw_only=True):
    """Why a symbol has no live market data. since: real time, unlike the other times of the state."""

    state: DataState
    since: Timestamp
    code: int = 0  # of IBKR's message, where one came
    text: str = ""


class Connection(msgspec.Struct, kw_only=True):
    """The API connection to TWS, as this run knows it.

    managing: connected, and the own executions are known, so that stops are moved and exits sent. ready: the
    protection gate has passed. since: when connected, managing, ready and entries_open last changed. lost_at: when
    the connection was lost; None once it is connected and ready again.
    """

    connected: bool = False
    managing: bool = False
    ready: bool = False
    entries_open: bool = False
    reason: str = ""
    since: Timestamp | None = None
    lost_at: Timestamp | None = None


class Funds(msgspec.Struct, kw_only=True):
    """The account's values in its base currency. exchange_rate: of one US dollar; None if IBKR gave none."""

    taken_at: Timestamp
    currency: str
    exchange_rate: float | None
    net_liquidation: float
    buying_power: float
    cash: float


class TraderState(msgspec.Struct, kw_only=True, dict=True):  # dict: for `lookup`, which is in no file
    """What is known of one trading date and one account. `sequence` is the last journal event in it."""

    trading_date: str
    account: str
    gateway: str
    client_id: int = 0  # of the live orders, else of the last session; 0: of a version that did not keep it
    session_id: str = ""
    sequence: int = 0
    time: Timestamp | None = None
    positions: dict[str, Position] = {}
    closed: dict[str, Position] = {}
    orders: dict[str, Order] = {}
    executions: dict[str, Execution] = {}
    attempts: list[PivotAttempts] = []
    last_signals: dict[str, LastSignal] = {}
    filter_blocks: dict[str, int] = {}
    entry_paths: dict[str, int] = {}
    risk: Risk = msgspec.field(default_factory=Risk)
    foreign: dict[str, ForeignPosition] = {}
    halted: dict[str, str] = {}  # by symbol, the reason as text
    halt_causes: dict[str, HaltCause] = {}  # of the same symbols; decides what releases them
    alerts: list[Alert] = []
    connection: Connection = msgspec.field(default_factory=Connection)
    market_data: dict[str, MarketData] = {}  # by symbol, only those without live data; of the running session
    order_id_high: int = 0
    children_fixed: bool = False  # IBKR refuses to change a stop that was sent with its entry
    funds: Funds | None = None

    @cached_property
    def lookup(self) -> Lookup[Order, Position]:
        """What the state implies, for quick answers. Kept up to date by `state.domain`."""
        return Lookup(self.orders, self.executions.values(), self.positions, self.closed)

    def forget_lookup(self) -> None:
        """The state was replaced as a whole: build the lookup anew when it is used."""
        self.__dict__.pop("lookup", None)

    def attempts_for(self, symbol: str, side: Side, pivot: float) -> int:
        """Entries filled so far at this pivot."""
        for row in self.attempts:
            if (row.symbol, row.side, row.pivot) == (symbol, side, pivot):
                return row.count
        return 0

    @property
    def daily_pnl(self) -> float:
        """P&L realized today in US dollars, commissions included, as IBKR's realizedPNL."""
        return round(self.lookup.daily_pnl(), 6)

    @property
    def daily_pnl_estimated(self) -> bool:
        """Whether an estimated price is part of it."""
        return any(p.pnl_estimated for p in (*self.positions.values(), *self.closed.values()))

    @property
    def trades(self) -> list[Position]:
        """Every trade of the date, open ones last."""
        return [*self.closed.values(), *self.positions.values()]

    @property
    def consecutive_losses(self) -> int:
        """Losing trades in a row, up to the last one closed."""
        count = 0
        for trade in reversed(
            self.lookup.closed_by_end()
        ):  # closed within one second: in the order in which they were recorded
            if trade.realized_pnl >= 0:
                break
            count += 1
        return count

    def live_orders(self, symbol: str = "") -> list[Order]:
        """Own orders that may still execute, of one symbol or of all, in the order of their intents."""
        return [order for order in self.lookup.live_orders() if symbol in ("", order.symbol)]

    def orders_of(self, trade_id: str) -> list[Order]:
        """All orders of a trade, in the order of their intents."""
        return self.lookup.orders_of(trade_id)

    def protective_stop(self, position: Position) -> Order | None:
        """The position's stop order that can execute, None if none is known. An inactive one protects nothing."""
        order = self.orders.get(position.stop_ref)
        return order if order is not None and order.is_live and order.status != "inactive" else None

    def working_entry(self, position: Position) -> Order | None:
        """The position's entry, if it may still fill."""
        order = self.orders.get(position.trade_id)
        return order if order is not None and order.is_live else None
