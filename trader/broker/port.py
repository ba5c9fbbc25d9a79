"""What the trader may ask of a broker and what it is told: plain values, no client library.

`BrokerSnapshot` exists only when every question was answered to its end marker. A lost answer gives `Unknown`,
a type of its own, so that nothing can take it for an empty account (invariant 2).

They are msgspec's structs: a data class takes forty times as long to define, and every restart defines them.
"""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from state.domain.model import Action
from trader.errors import MarketDataError

BAR_S = 5


class Bar(msgspec.Struct, frozen=True):
    """Trades of [time, time + 5 s): `time` aware, prices in dollars, volume in shares."""

    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


def check_bar(bar: Bar) -> None:
    """Raises MarketDataError for a bar that cannot be: NaN, no price, high below low, off the grid (f20)."""
    prices = (bar.open, bar.high, bar.low, bar.close)
    problem = ""
    if bar.time.tzinfo is None:
        problem = "its time has no zone"
    elif bar.time.timestamp() % BAR_S:
        problem = f"its time is not on the {BAR_S}-second grid"
    elif not all(math.isfinite(price) and price > 0 for price in prices):
        problem = "it has a price that is no price"
    elif not math.isfinite(bar.volume) or bar.volume < 0:
        problem = "its volume is no volume"
    elif bar.high < max(prices) or bar.low > min(prices):
        problem = "its high and low do not enclose its open and close"
    if problem:
        raise MarketDataError(f"Unusable bar {bar}: {problem}.", "It is left out; check the feed.")


class BrokerPosition(msgspec.Struct, frozen=True):
    """Shares of one contract in one account; `quantity` is signed."""

    account: str
    symbol: str
    con_id: int
    quantity: int
    avg_cost: float


CANCELLED_STATUSES = frozenset({"Cancelled", "ApiCancelled"})
CLOSED_STATUSES = CANCELLED_STATUSES | {"Filled"}


class BrokerOrder(msgspec.Struct, frozen=True):
    """An order that IBKR knows, open or completed. Completed ones have order_id and client_id 0."""

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
    limit_price: float | None
    stop_price: float | None
    status: str  # IBKR's word: PreSubmitted, Submitted, PendingCancel, Filled, Cancelled, Inactive ...
    parent_id: int = 0
    oca_group: str = ""
    text: str = ""

    @property
    def remaining(self) -> int:
        """Shares that may still execute."""
        return max(0, self.quantity - self.filled)

    @property
    def is_working(self) -> bool:
        """Whether it may execute and is not being cancelled, as far as IBKR says."""
        return not self.is_closed and self.status not in ("Inactive", "PendingCancel")

    @property
    def is_closed(self) -> bool:
        """Whether IBKR says that it is over: filled or cancelled."""
        return self.status in CLOSED_STATUSES


class BrokerExecution(msgspec.Struct, frozen=True):
    """One execution as IBKR reports it; `commission` is None until its report came."""

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


class AccountValues(msgspec.Struct, frozen=True):
    """The account's money in its base currency."""

    account: str
    net_liquidation: float
    buying_power: float
    cash: float


class BrokerSnapshot(msgspec.Struct, frozen=True):
    """A complete answer: everything that IBKR holds of one account, each part up to its end marker."""

    account: str
    taken_at: datetime
    positions: tuple[BrokerPosition, ...]
    open_orders: tuple[BrokerOrder, ...]
    completed_orders: tuple[BrokerOrder, ...]
    executions: tuple[BrokerExecution, ...]
    values: AccountValues

    def quantity(self, symbol: str) -> int:
        """Signed shares; absent from a complete answer means zero."""
        return sum(p.quantity for p in self.positions if p.symbol == symbol)


class Unknown(msgspec.Struct, frozen=True):
    """No complete answer. Nothing may be dropped, closed or entered on it."""

    missing: tuple[str, ...]  # which questions stayed open, in words
    reason: str


BrokerAnswer = BrokerSnapshot | Unknown


class OrderTicket(msgspec.Struct, frozen=True):
    """One order as it is sent; the same order_id again modifies it in place."""

    order_id: int
    order_ref: str
    account: str
    symbol: str
    con_id: int
    action: Action
    quantity: int
    order_type: Literal["MKT", "STP"]
    stop_price: float | None = None
    tif: Literal["DAY", "GTC"] = "DAY"
    parent_id: int = 0
    transmit: bool = True


class Instrument(msgspec.Struct, frozen=True):
    """A stock as IBKR describes it; the hours are IBKR's own strings."""

    symbol: str
    con_id: int
    min_tick: float
    liquid_hours: str
    time_zone: str


# What the broker tells by itself. Facts are only queued; the trader's own loop decides on them.


class OrderFact(msgspec.Struct, frozen=True):
    """An openOrder or orderStatus message."""

    order: BrokerOrder


class ExecutionFact(msgspec.Struct, frozen=True):
    execution: BrokerExecution


class CommissionFact(msgspec.Struct, frozen=True):
    exec_id: str
    commission: float


class PositionFact(msgspec.Struct, frozen=True):
    """The account's position changed, by whoever's hand; quantity 0 is flat. Told from the first snapshot on."""

    position: BrokerPosition


class BarFact(msgspec.Struct, frozen=True):
    symbol: str
    bar: Bar


class PricesFact(msgspec.Struct, frozen=True):
    """The newest last prices since the one before; never NaN, never zero."""

    prices: dict[str, float]


class MessageFact(msgspec.Struct, frozen=True):
    """An error or a notice of IBKR; `order_ref` where it concerns an order of ours."""

    code: int
    text: str
    order_id: int = -1
    symbol: str = ""
    order_ref: str = ""


class ConnectionFact(msgspec.Struct, frozen=True):
    """The line to IBKR: `down` socket lost, `broken` 1100 or 2110 with the socket up, `restored` 1101 or 1102."""

    state: Literal["down", "broken", "restored"]
    text: str
    data_lost: bool = False


Fact = (
    OrderFact | ExecutionFact | CommissionFact | PositionFact | BarFact | PricesFact | MessageFact | ConnectionFact
)


FactSink = Callable[[Fact], None]
"""Takes each fact as it comes, on the event loop's thread, and must not wait: the caller is the decoder."""


class Broker(Protocol):
    """The line to one broker. Every method that asks has a bound and raises a `BrokerError` when it passes."""

    @property
    def connected(self) -> bool: ...

    @property
    def accounts(self) -> tuple[str, ...]:
        """Accounts that this login manages, as IBKR told at connect."""
        ...

    async def connect(self) -> None:
        """One try. Raises BrokerUnreachableError, or ClientIdInUseError on 326."""
        ...

    async def disconnect(self) -> None: ...

    async def current_time(self) -> int:
        """The broker's clock, whole seconds since the epoch (reqCurrentTime); also the heartbeat."""
        ...

    async def snapshot(self, account: str) -> BrokerAnswer:
        """Positions, open orders of all clients, completed orders, executions and account, each to its end."""
        ...

    async def instrument(self, symbol: str) -> Instrument: ...

    async def history(self, symbol: str, end: datetime, seconds: int) -> list[Bar]:
        """5-second bars up to `end` (exclusive), within IBKR's pacing."""
        ...

    def subscribe(self, symbol: str) -> None:
        """Real-time 5-second bars and last prices, as BarFact and PricesFact.

        Once a symbol: the broker renews it by itself after each connect and after message 1101.
        """
        ...

    def free_order_id(self, above: int = 0) -> int:
        """The lowest order id that IBKR accepts and that is higher than `above` and than each one sent.

        Raises BrokerError without a connection, or where IBKR's numbers have run out.
        """
        ...

    def send(self, tickets: list[OrderTicket]) -> None:
        """Write the orders to the socket, in order and in one go; the same id again modifies.

        Raises BrokerError when the line is down, before anything was written.
        """
        ...

    def cancel(self, order_id: int) -> None: ...
