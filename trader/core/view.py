"""The live view: what the engine knows beside the state, and need not survive a restart. Changed by messages alone.

Prices, bars, what is in flight, which questions are open, which requests of the operator wait. A restart begins
with an empty view and fills it from IBKR.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from trader.broker.port import Bar, BrokerSnapshot
from trader.config.sections import EntryRules
from trader.core.bars import BarBuffer, Candle
from trader.core.reconciliation.plan import Row
from trader.core.strategy.indicators import atr, range_5m
from trader.core.strategy.ps60.breakout import SIDES, Breakout, Signal
from trader.core.strategy.ps60.setups import Setup
from trader.hours import MarketHours

Phase = Literal["starting", "recovering", "recovered", "trading"]


class SymbolMonitor:
    """One symbol's live bars, last price and setup. Without a setup it serves to manage a position."""

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
        self.breakouts = [Breakout(setup, side, rules) for side in SIDES] if setup is not None else []

    def take_price(self, price: float) -> None:
        """The newest last price; never NaN (f20)."""
        if math.isfinite(price) and price > 0:
            self.price = price

    def take_bar(self, bar: Bar) -> Candle | None:
        """The next 5-second bar of the feed; returns the candle that it closed."""
        candle = self.buffer.add(bar)
        self._unwritten.append(bar)
        if bar.volume > 0:
            self.take_price(bar.close)
        return candle

    def backfill(self, bars: Sequence[Bar], *, keep: bool = False) -> None:
        """Bars of the past, from disk or, to be kept on disk, from IBKR. They fill gaps and give no signals."""
        held = {bar.time for bar in self.buffer.bars}
        self.buffer.merge(bars)
        if keep:
            self._unwritten += [bar for bar in bars if bar.time not in held]
        if self.buffer.bars and math.isnan(self.price):
            self.price = self.buffer.bars[-1].close

    def take_unwritten(self) -> tuple[Bar, ...]:
        """Bars that came since this was asked last."""
        new, self._unwritten = tuple(self._unwritten), []
        return new

    def signals(self, candle: Candle) -> list[Signal]:
        """What a closed candle gives. Later ones may be closed already, in a burst of bars: not counted."""
        candles = [held for held in self.buffer.candles if held.time <= candle.time]
        return [signal for breakout in self.breakouts if (signal := breakout.on_candle(candles)) is not None]

    @property
    def atr(self) -> float | None:
        """Of 1-minute candles, dollars."""
        return atr(self.buffer.candles)

    @property
    def range_5m(self) -> float | None:
        """High less low of the last five candles, dollars."""
        return range_5m(self.buffer.candles)


class PendingPartial(msgspec.Struct, frozen=True):
    """The stop was sent smaller; the exit leaves when IBKR confirms it, and is given up at `until_s`."""

    shares: int
    reason: Literal["partial_1r", "partial_target1"]
    stop_ref: str
    stop_quantity: int  # that IBKR has to report, shares that the stop filled included
    until_s: float


class Recovery(msgspec.Struct):
    """The protection gate is being passed: at a start, or after a reconnect."""

    kind: Literal["start", "reconnect"]
    reason: str  # for the connection status, once it has passed
    pause_s: float
    rows: list[Row] = []  # every decision so far
    accepted: list[Row] = []  # what the operator accepted by --accept-broker, and the rows before that
    snapshot: BrokerSnapshot | None = None  # the one that the report shows


class Comparison(msgspec.Struct):
    """When IBKR is asked for everything, and what has to be seen twice."""

    asked: bool = False  # an answer is outstanding
    wanted: bool = False  # something happened that a comparison has to look at
    due_s: float = math.inf
    suspected: tuple[Row, ...] = ()  # an unexplained difference, seen once
    suspected_at_s: float = 0.0
    told: set[Row] = set()


class Adoption(msgspec.Struct):
    """An `adopt` that waits: for the instrument, then for IBKR to confirm the stop."""

    request_id: int
    since_s: float
    recorded: bool = False


class Flatten(msgspec.Struct):
    """A `flatten` that is under way. seen_before: the last answer of IBKR when the state came to be flat."""

    request_id: int
    since_s: float
    seen_before: BrokerSnapshot | None = None


class View(msgspec.Struct):
    """All of it, for one run."""

    phase: Phase = "starting"
    monitors: dict[str, SymbolMonitor] = {}
    instruments_asked: set[str] = set()
    opening: bool = False  # the market is being opened; MarketOpened follows the last answer
    opened: bool = False  # it was opened before: after a reconnect nothing is told again
    holes_asked: set[tuple[str, datetime]] = set()
    # Orders. Real seconds; infinite until the order is written.
    sent_at_s: dict[str, float] = {}
    changed_at_s: dict[str, float] = {}
    partials: dict[str, PendingPartial] = {}  # by symbol
    closing_since_s: dict[str, float] = {}  # by trade: when its stop was brought to the market
    dry_run_said: dict[str, str] = {}  # by symbol, the last that a dry run would have sent
    last_token: int = 0  # of the order references
    activity: int = 0  # counts what makes an older answer of IBKR stale
    # Comparing
    comparison: Comparison = msgspec.field(default_factory=Comparison)
    recovery: Recovery | None = None
    snapshot: BrokerSnapshot | None = None  # the last complete answer
    equity: float = 0.0
    buying_power: float = 0.0
    equity_minute: str = ""  # the last point of the equity curve
    connection_lost: bool = False
    restored: bool = False  # TWS said that its connection to IBKR is restored: compare again
    held_because: set[str] = set()  # reasons of our own for which entries are closed
    limits_checked_at: int = -1  # the event up to which the limits were looked at
    # The operator
    adoptions: dict[str, Adoption] = {}
    flatten: Flatten | None = None
    # Time
    ends_at: datetime | None = None
    kept_bars_at_s: float = 0.0
    holes_looked_at_s: float = 0.0
    # What was taken in and waits to be decided on
    changed: set[str] = set()  # symbols with executions
    priced: set[str] = set()
    candles: list[tuple[str, Candle]] = []
