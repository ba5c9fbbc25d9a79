"""The live view: what the engine knows besides the state and need not survive a restart. Only messages change it.

Prices, bars, orders in flight, open questions to IBKR, requests of the operator that wait for their answer. A
restart begins with an empty view and fills it from IBKR.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from state.domain.events import ExecutionSeen
from trader.broker.port import (
    AccountValues,
    Bar,
    BrokerOrder,
    BrokerSnapshot,
    Part,
    PartAnswer,
)
from trader.config.sections import EntryRules
from trader.core.bars import BarBuffer, Candle
from trader.core.data_state import SymbolData
from trader.core.reconciliation.adoption import Terms
from trader.core.reconciliation.baseline import Baseline
from trader.core.reconciliation.owners import OthersTrades
from trader.core.reconciliation.plan import Row
from trader.core.strategy.indicators import atr, range_5m
from trader.core.strategy.ps60.breakout import SIDES, Breakout, Signal
from trader.core.strategy.ps60.setups import Setup
from trader.hours import MarketHours

Phase = Literal["starting", "recovering", "recovered", "trading"]


class SymbolMonitor:
    """One symbol's live bars, last price and setup. Without a setup only a position in the symbol is managed."""

    def __init__(
        self, symbol: str, con_id: int, min_tick: float, hours: MarketHours, setup: Setup | None, rules: EntryRules
    ) -> None:
        self.symbol = symbol
        self.con_id = con_id
        self.min_tick = min_tick
        self.hours = hours
        self.setup = setup
        self.buffer = BarBuffer()
        self._unwritten: list[Bar] = []
        self.price = math.nan
        self.price_time: datetime | None = None  # session time of the trade
        self.price_at_s = -math.inf  # the same moment in real seconds, monotonic
        self.data = SymbolData()
        self.breakouts = [Breakout(setup, side, rules) for side in SIDES] if setup is not None else []

    def take_price(self, price: float, traded_at: datetime, at_s: float) -> None:
        """The newest last price, and when it traded; never NaN (f20), and never in place of a newer one."""
        newest = self.price_time is None or traded_at >= self.price_time
        if newest and math.isfinite(price) and price > 0:
            self.price, self.price_time, self.price_at_s = price, traded_at, at_s

    def take_bar(self, bar: Bar) -> Candle | None:
        """Take the next 5-second bar of the feed; returns the candle that it closed, or None."""
        candle = self.buffer.add(bar)
        self._unwritten.append(bar)
        return candle

    def backfill(self, bars: Sequence[Bar], *, keep: bool = False) -> None:
        """Fill gaps with past bars; they give no signals. keep: they are not on disk yet and must be written."""
        held = {bar.time for bar in self.buffer.bars}
        self.buffer.merge(bars)
        if keep:
            self._unwritten += [bar for bar in bars if bar.time not in held]

    def take_unwritten(self) -> tuple[Bar, ...]:
        """Bars that are not on disk yet; the next call returns later ones only."""
        new, self._unwritten = tuple(self._unwritten), []
        return new

    def signals(self, candle: Candle) -> list[Signal]:
        """The signals of a closed candle. In a burst of bars later candles may be closed too: they are ignored."""
        candles = [held for held in self.buffer.candles if held.time <= candle.time]
        return [signal for breakout in self.breakouts if (signal := breakout.on_candle(candles)) is not None]

    @property
    def atr(self) -> float | None:
        """Average true range of the 1-minute candles, dollars."""
        return atr(self.buffer.candles)

    @property
    def range_5m(self) -> float | None:
        """High less low of the last five candles, dollars."""
        return range_5m(self.buffer.candles)


class Doubt(msgspec.Struct, frozen=True):
    """An error about an own order, or silence: what became of the order has to be proven."""

    code: int  # 0: the status Inactive, without an error
    text: str
    since_s: float  # real seconds, monotonic


class Recovery(msgspec.Struct):
    """A recovery that has not passed the protection gate yet, at a start or after a reconnect."""

    kind: Literal["start", "reconnect"]
    reason: str  # for the connection status, once the gate has passed
    pause_s: float  # before the next question
    since_s: float = 0.0  # real seconds, monotonic
    before: Baseline | None = None  # what was known when it began, for the rows
    rows: list[Row] = []  # every decision so far
    accepted: list[Row] = []  # the rows before --accept-broker and those that it added
    snapshot: BrokerSnapshot | None = None  # the one that the report shows


class Asked(msgspec.Struct, frozen=True):
    """A question to IBKR that is outstanding. activity: as of asking. real seconds and session time.

    whole: about everything, not only about what is newer than the last answer.
    """

    activity: int
    at_s: float
    at: datetime
    whole: bool = True


class Answer(msgspec.Struct, frozen=True):
    """The last complete answer to a question. activity: as of asking."""

    rows: PartAnswer
    activity: int
    at_s: float


class Comparison(msgspec.Struct):
    """The questions to IBKR and its answers, and which differences have to be seen twice."""

    asked: dict[Part, Asked] = {}
    answers: dict[Part, Answer] = {}
    failed: dict[Part, str] = {}  # the error of the last try, until an answer is complete
    began_s: float = 0.0  # when the answers that are not decided on yet were asked for; real seconds, monotonic
    decided: bool = False  # at least once since then
    executions_since: datetime | None = None  # session time of the last complete answer; None: ask for the day's
    wanted: bool = False  # something happened that needs a comparison soon
    due_s: float = math.inf  # when the next comparison is due; real seconds, monotonic
    suspected: dict[tuple[str, ...], float] = {}  # what has to be seen twice, and when it was seen first
    suspected_now: set[tuple[str, ...]] = set()  # in the answers that are being decided on
    reported: set[Row] = set()  # logged before
    other_dates: set[Part] = set()  # questions of which it was logged that the answer has rows of other dates


class Adoption(msgspec.Struct):
    """An `adopt` that waits: first for the instrument, then for IBKR to confirm the stop."""

    request_id: int
    since_s: float
    terms: Terms
    through: bool = False  # the operator wants a stop that triggers at once
    recorded: bool = False  # the position is in the state


class Flatten(msgspec.Struct):
    """A `flatten` that is not done yet. seen_before: IBKR's last answer when the state became flat."""

    request_id: int
    since_s: float
    seen_before: BrokerSnapshot | None = None
    flat_since_s: float | None = None  # real seconds; since the state has neither position nor live order


class View(msgspec.Struct):
    """The whole live view of one run."""

    phase: Phase = "starting"
    monitors: dict[str, SymbolMonitor] = {}
    instruments_asked: set[str] = set()
    opening: bool = False  # instruments were asked for; MarketOpened follows the last answer
    opened: bool = False  # MarketOpened was sent; a reconnect does not send it again
    holes_asked: set[tuple[str, datetime]] = set()  # (symbol, start of the hole)
    subscribed: set[str] = set()
    preferred_data: tuple[str, ...] = ()  # symbols of positions, as the broker knows them
    data_awaited_s: float = 0.0  # since when the data of the opened market are awaited; real seconds, monotonic
    data_checked_s: float = math.inf  # when silent symbols were looked for last; real seconds, monotonic
    data_arrived: bool = False  # DataArrived was sent
    data_alert_at_s: float = -math.inf  # of the last alert about missing data
    # Orders, by orderRef. Real seconds, monotonic; infinite until the order is written.
    sent_at_s: dict[str, float] = {}
    changed_at_s: dict[str, float] = {}
    reported: dict[str, BrokerOrder] = {}  # as IBKR reported it last
    shown: dict[str, int] = {}  # how often IBKR has described a changed stop with the terms that were sent
    refused: dict[str, int] = {}  # the code with which a change was refused last
    doubts: dict[str, Doubt] = {}
    # What is under way for a position, by symbol: when its step began, and until when it may last.
    step_began_s: dict[str, float] = {}
    step_until_s: dict[str, float] = {}
    dry_run_logged: dict[str, set[str]] = {}  # by symbol: the orders that a dry run has logged
    last_token: int = 0  # of the order references
    activity: int = 0  # counts what makes an outstanding answer of IBKR outdated
    # Comparison with IBKR
    comparison: Comparison = msgspec.field(default_factory=Comparison)
    recovery: Recovery | None = None
    snapshot: BrokerSnapshot | None = None  # the last complete answer
    others: dict[str, list[int]] = {}  # symbols that other traders hold or trade, with their client ids
    others_trades: OthersTrades = msgspec.field(default_factory=OthersTrades)  # their executions of today
    unsettled: set[str] = set()  # symbols whose share count is not settled: no entry in them
    executed_at: dict[str, datetime] = {}  # by symbol: session time of the newest execution
    positions_seen: dict[str, int] = {}  # by symbol: IBKR's last share count
    orders_known: bool = False  # IBKR has listed the open orders on this connection
    executions_known: bool = False  # IBKR has confirmed, on this connection, which executions there are
    equity: float = 0.0  # US dollars
    buying_power: float = 0.0  # US dollars
    values: AccountValues | None = None  # the account's, in its base currency
    values_at: datetime | None = None  # session time of the answer that they came with
    no_dollars_because: str = ""  # why the account's values are not known in US dollars
    equity_minute: str = ""  # HH:MM of the last point of the equity curve
    connection_lost: bool = False
    outage: bool = False  # TWS has lost IBKR: nothing is sent meanwhile
    restored: bool = False  # TWS reported that its connection to IBKR is restored: compare again
    held_because: set[str] = set()  # the trader's own reasons to keep entries closed
    limits_checked_at: int = -1  # the sequence at which the limits were checked last
    # The operator
    adoptions: dict[str, Adoption] = {}
    flatten: Flatten | None = None
    # Time
    ends_at: datetime | None = None
    kept_bars_at_s: float = 0.0
    holes_looked_at_s: float = 0.0
    # Facts that were taken in and not decided on yet
    changed: set[str] = set()  # symbols with executions
    priced: set[str] = set()  # symbols with a new price
    candles: list[tuple[str, Candle]] = []  # closed candles, by symbol


def note_execution(view: View, event: ExecutionSeen) -> None:
    """Remember when a symbol was traded last: a young execution outranks an older share count (invariant 16)."""
    known = view.executed_at.get(event.symbol)
    if known is None or known < event.executed_at:
        view.executed_at[event.symbol] = event.executed_at
