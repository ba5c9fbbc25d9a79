"""What the trader may ask of a broker, and what the broker reports: plain values, no client library.

Each part of a `BrokerSnapshot` is there only if its question was answered up to the end marker. A lost answer is
None, and never an empty tuple, so that nothing can take it for an empty account (invariant 2).

The values are msgspec structs: a dataclass takes forty times as long to define, and every restart defines them.
"""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from state.domain.model import Action
from trader.errors import MarketDataError

BAR_S = 5
HISTORY_S = 3600  # the longest request for 5-second bars that IBKR answers


class Bar(msgspec.Struct, frozen=True):
    """Trades of [time, time + 5 s): `time` aware, prices in dollars, volume in shares."""

    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


def check_bar(bar: Bar) -> None:
    """Raises MarketDataError for an invalid bar: NaN, a price of 0 or less, high below low, off the grid (f20)."""
    prices = (bar.open, bar.high, bar.low, bar.close)
    problem = ""
    if bar.time.tzinfo is None:
        problem = "its time has no zone"
    elif bar.time.timestamp() % BAR_S:
        problem = f"its time is not on the {BAR_S}-second grid"
    elif not all(math.isfinite(price) and price > 0 for price in prices):
        problem = "a price is not a positive number"
    elif not math.isfinite(bar.volume) or bar.volume < 0:
        problem = "its volume is negative or not a number"
    elif bar.high < max(prices) or bar.low > min(prices):
        problem = "its open or close is outside of high and low"
    if problem:
        raise MarketDataError(f"Invalid bar {bar}: {problem}.", "The bar is not used; check the data feed.")


class BrokerPosition(msgspec.Struct, frozen=True):
    """Shares of one contract in one account. quantity: signed. avg_cost: dollars a share."""

    account: str
    symbol: str
    con_id: int
    quantity: int
    avg_cost: float


CANCELLED_STATUSES = frozenset({"Cancelled", "ApiCancelled"})
CLOSED_STATUSES = CANCELLED_STATUSES | {"Filled"}


class BrokerOrder(msgspec.Struct, frozen=True):
    """An order at IBKR, open or completed. A completed one has order_id and client_id 0."""

    order_ref: str
    perm_id: int
    order_id: int
    client_id: int
    account: str
    symbol: str
    con_id: int
    action: Action
    quantity: int
    filled: int
    order_type: str
    stop_price: float | None
    status: str  # as IBKR names it: PreSubmitted, Submitted, PendingCancel, Filled, Cancelled, Inactive ...
    parent_id: int = 0
    oca_group: str = ""
    oca_type: int = 0
    tif: str = ""
    text: str = ""
    completed_at: datetime | None = None  # of a completed one, if IBKR tells it

    @property
    def remaining(self) -> int:
        """Shares that may still execute."""
        return max(0, self.quantity - self.filled)

    @property
    def is_working(self) -> bool:
        """Whether it may still execute and is not being cancelled, by IBKR's last status."""
        return not self.is_closed and self.status not in ("Inactive", "PendingCancel")

    @property
    def is_closed(self) -> bool:
        """Whether it is filled or cancelled, by IBKR's last status."""
        return self.status in CLOSED_STATUSES


class BrokerExecution(msgspec.Struct, frozen=True):
    """One execution as IBKR reports it. commission: None until its report has arrived."""

    exec_id: str
    order_ref: str
    perm_id: int
    order_id: int
    client_id: int
    account: str
    symbol: str
    con_id: int
    side: Literal["BOT", "SLD"]
    shares: int
    price: float
    time: datetime
    cum_quantity: int
    commission: float | None


class Dollars(msgspec.Struct, frozen=True):
    """The account's values in US dollars, as sizes and limits need them."""

    net_liquidation: float
    buying_power: float
    cash: float


class AccountValues(msgspec.Struct, frozen=True):
    """The account's values in its base currency.

    exchange_rate: what one dollar is worth in that currency, by IBKR; None if IBKR gave no usable rate.
    """

    account: str
    net_liquidation: float
    buying_power: float
    cash: float
    currency: str = "USD"
    exchange_rate: float | None = 1.0

    def in_dollars(self) -> Dollars | None:
        """The values in US dollars; None without an exchange rate."""
        rate = self.exchange_rate
        if rate is None:
            return None
        return Dollars(self.net_liquidation / rate, self.buying_power / rate, self.cash / rate)


Part = Literal["positions", "open_orders", "completed_orders", "executions", "account"]
PARTS: tuple[Part, ...] = ("positions", "open_orders", "completed_orders", "executions", "account")
PART_NAMES: dict[Part, str] = {
    "positions": "positions",
    "open_orders": "open orders",
    "completed_orders": "completed orders",
    "executions": "executions",
    "account": "account values",
}
"""The questions about an account, and their names in messages."""

PartAnswer = (
    tuple[BrokerPosition, ...] | tuple[BrokerOrder, ...] | tuple[BrokerExecution, ...] | tuple[AccountValues, ...]
)


class BrokerSnapshot(msgspec.Struct, frozen=True):
    """What IBKR has of one account. A part is None if IBKR has not answered for it up to its end marker."""

    account: str
    taken_at: datetime
    positions: tuple[BrokerPosition, ...] | None = None
    open_orders: tuple[BrokerOrder, ...] | None = None
    completed_orders: tuple[BrokerOrder, ...] | None = None
    executions: tuple[BrokerExecution, ...] | None = None
    values: AccountValues | None = None

    @property
    def missing(self) -> tuple[Part, ...]:
        """The parts without a complete answer."""
        found = (self.positions, self.open_orders, self.completed_orders, self.executions, self.values)
        return tuple(part for part, answer in zip(PARTS, found, strict=True) if answer is None)

    def quantity(self, symbol: str) -> int | None:
        """Signed shares; None if positions are not known. A symbol that is absent from the answer has zero."""
        if self.positions is None:
            return None
        return sum(p.quantity for p in self.positions if p.symbol == symbol)

    def position(self, symbol: str) -> BrokerPosition | None:
        """The account's open position in a symbol, or None."""
        return next((p for p in self.positions or () if p.symbol == symbol and p.quantity), None)


class OrderTicket(msgspec.Struct, frozen=True):
    """One order as it is sent. The same order_id sent again modifies the order."""

    order_id: int
    order_ref: str
    account: str
    symbol: str
    con_id: int
    action: Action
    quantity: int
    order_type: Literal["MKT", "STP"]
    stop_price: float | None = None
    tif: str = "DAY"
    parent_id: int = 0
    oca_group: str = ""
    oca_type: int = 0
    transmit: bool = True


class Instrument(msgspec.Struct, frozen=True):
    """A stock as IBKR describes it; the hours are IBKR's own strings."""

    symbol: str
    con_id: int
    min_tick: float
    liquid_hours: str
    time_zone: str


# What the broker reports without being asked. Facts are only queued; the trader's loop decides on them.


class OrderFact(msgspec.Struct, frozen=True):
    """An openOrder or orderStatus message. described: an openOrder, which carries the order's terms."""

    order: BrokerOrder
    described: bool = True


class ExecutionFact(msgspec.Struct, frozen=True):
    """An execDetails message that no request asked for."""

    execution: BrokerExecution


class CommissionFact(msgspec.Struct, frozen=True):
    """A commissionReport message. commission: in US dollars, the currency of every instrument that is traded."""

    exec_id: str
    commission: float


class PositionFact(msgspec.Struct, frozen=True):
    """The account's position changed, by any order; quantity 0 is flat. Reported from the first snapshot on."""

    position: BrokerPosition


class BarFact(msgspec.Struct, frozen=True):
    """A real-time 5-second bar."""

    symbol: str
    bar: Bar


class PricesFact(msgspec.Struct, frozen=True):
    """The newest last price of each symbol that traded since the PricesFact before; never NaN, never zero.

    times: when they traded, in seconds since 1970, of the symbols for which IBKR has told it.
    """

    prices: dict[str, float]
    times: dict[str, int] = {}


DataKind = Literal["requested", "queued", "delayed", "current", "refused"]


class DataFact(msgspec.Struct, frozen=True):
    """What became of a symbol's subscription; code and text are IBKR's, or tell what a request waits for.

    requested: the request for bars went out. queued: it waits for its turn. delayed, current: the type of the
    prices that IBKR sends. refused: a request was refused or ended.
    """

    symbol: str
    kind: DataKind
    code: int = 0
    text: str = ""


class MessageFact(msgspec.Struct, frozen=True):
    """An error or a notice of IBKR. order_ref: of the own order that it is about, or empty."""

    code: int
    text: str
    order_id: int = -1
    symbol: str = ""
    order_ref: str = ""


class ConnectionFact(msgspec.Struct, frozen=True):
    """The connection's state changed.

    down: the socket is closed. broken: message 1100 or 2110, the socket is up. restored: message 1101 or 1102.
    """

    state: Literal["down", "broken", "restored"]
    text: str
    data_lost: bool = False


Fact = (
    OrderFact
    | ExecutionFact
    | CommissionFact
    | PositionFact
    | BarFact
    | PricesFact
    | DataFact
    | MessageFact
    | ConnectionFact
)


FactSink = Callable[[Fact], None]
"""Takes each fact as it arrives, on the event loop's thread. It must not wait: the caller is the decoder."""


class Broker(Protocol):
    """The connection to one broker. Each method that asks has a timeout and raises BrokerError when it expires."""

    @property
    def connected(self) -> bool: ...

    @property
    def accounts(self) -> tuple[str, ...]:
        """Accounts that this login manages, as IBKR named them at connect."""
        ...

    async def connect(self) -> None:
        """Try once. Raises BrokerUnreachableError, or ClientIdInUseError on message 326."""
        ...

    async def disconnect(self) -> None: ...

    async def current_time(self) -> int:
        """The broker's time, whole seconds since the epoch (reqCurrentTime); also the heartbeat."""
        ...

    async def ask(self, part: Part, account: str, since: datetime | None = None) -> PartAnswer:
        """One part of a snapshot, of all clients. since: for executions, only those from then on.

        A second call for a part waits for the first one. Raises BrokerError without a complete answer.
        """
        ...

    async def instrument(self, symbol: str) -> Instrument: ...

    async def history(self, symbol: str, end: datetime, seconds: int) -> list[Bar]:
        """5-second bars up to `end` (exclusive), within IBKR's pacing."""
        ...

    def subscribe(self, symbol: str) -> None:
        """Real-time 5-second bars and last prices, as BarFact, PricesFact and DataFact, within IBKR's pacing.

        Call it once a symbol: the broker subscribes again after each connect and after message 1101.
        """
        ...

    def resubscribe(self, symbol: str) -> None:
        """Subscribe again to one symbol, whose data are refused, delayed or silent."""
        ...

    def prefer(self, symbols: tuple[str, ...]) -> None:
        """Subscribe to these symbols before all others, from now on."""
        ...

    def free_order_id(self, above: int = 0) -> int:
        """The lowest order id that IBKR accepts and that is higher than `above` and than each one sent.

        Raises BrokerError without a connection, or if the next id is too large for this program.
        """
        ...

    def send(self, tickets: list[OrderTicket]) -> None:
        """Write the orders to the socket, in order and in one write. The same id again modifies the order.

        Raises BrokerError without a connection; then nothing was written.
        """
        ...

    def cancel(self, order_id: int) -> None: ...
