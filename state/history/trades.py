"""A trading date from its journal: the state at any moment, trades, the equity curve, a summary.

Pure: records in, values out. `state.history.orders` makes the orders from the same records. Moments are of the
session's clock, which is an event's `time`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from state.domain.apply import new_state
from state.domain.events import EntryBlocked, EquityAnchored, EquityMarked, Event, SessionStarted
from state.domain.model import Position, Side, TraderState
from state.errors import StateError
from state.storage.codec import decode_event, replay_event
from state.storage.journal import Record


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the journal with its event. The event must not be changed."""

    record: Record
    event: Event

    @property
    def sequence(self) -> int:
        return self.record.sequence

    @property
    def recorded_at(self) -> str:
        """The writer's real clock, ISO 8601."""
        return self.record.time


@dataclass(frozen=True, slots=True)
class Past:
    """The state after event `sequence`, and what it was rebuilt from."""

    state: TraderState
    source: str


class Exit(msgspec.Struct, kw_only=True):
    """Shares of a trade that one order closed, at their mean price."""

    time: datetime
    price: float
    shares: int
    reason: str
    pnl: float
    estimated: bool = False


class Trade(msgspec.Struct, kw_only=True):
    """A trade from entry to flat; `exit_*` are None and reason is "" while it is open.

    pnl: realized so far, commissions included; pnl_pct: of the entry value; duration_s: session time.
    r_multiple: pnl divided by what the first stop would have lost, None where that is unknown.
    """

    trade_id: str
    symbol: str
    side: Side
    status: str  # open or closed
    shares: int
    held: int
    entry_time: datetime
    entry_price: float
    exit_time: datetime | None
    exit_price: float | None
    reason: str
    pnl: float
    pnl_pct: float
    r_multiple: float | None
    duration_s: float
    commissions: float
    path: str
    attempt: int
    pivot: float
    target1: float
    initial_stop: float
    stop_price: float
    recovery: str
    estimated: bool
    exits: list[Exit]


class EquityPoint(msgspec.Struct, frozen=True):
    """The last mark of one minute: portfolio value and the day's realized P&L, in the account's currency."""

    time: datetime
    equity: float
    daily_pnl: float


class Block(msgspec.Struct, frozen=True):
    """A confirmed breakout whose entry a filter blocked."""

    time: datetime
    symbol: str
    side: Side
    path: str
    filter: str


class DaySummary(msgspec.Struct, kw_only=True):
    """The day in numbers. Money in the account's currency; pnl_pct of the equity at the start, if known."""

    trades: int
    open_positions: int
    winners: int
    losers: int
    win_rate: float | None
    pnl: float
    pnl_pct: float | None
    pnl_estimated: bool
    gross_profit: float
    gross_loss: float
    commissions: float
    best: float | None
    worst: float | None
    mean_duration_s: float | None
    start_equity: float | None
    last_equity: float | None
    max_drawdown: float
    reasons: dict[str, int]
    entry_paths: dict[str, int]
    filter_blocks: dict[str, int]


def decode(records: Iterable[Record]) -> tuple[list[Entry], list[str]]:
    """The records with their events, and a sentence for each that this version cannot read."""
    entries: list[Entry] = []
    problems: list[str] = []
    for record in records:
        try:
            entries.append(Entry(record, decode_event(record.type, record.data)))
        except StateError as error:
            problems.append(f"Event {record.sequence}: {error.what}")
    return entries, problems


def sequence_at(entries: Sequence[Entry], moment: datetime) -> int:
    """The last event at or before `moment` (aware). StateError where there is none."""
    for entry in reversed(entries):
        if entry.event.time <= moment:
            return entry.sequence
    first = f"the first event is of {entries[0].event.time.isoformat()}" if entries else "its journal is empty"
    raise StateError(f"Nothing is known of {moment.isoformat()}: {first}.", "Give a later moment of that date.")


def rebuild(entries: Sequence[Entry], target: int, checkpoints: Iterable[tuple[str, TraderState]]) -> Past:
    """The state after event `target`: from a checkpoint and the events that follow it, or from the first event.

    checkpoints: (name, state) in the order in which they are tried; the states are changed. One that does not
    belong to this journal is skipped. StateError where neither a checkpoint nor the journal reaches the event.
    """
    problem = "the journal does not reach back to its first event"
    for name, base in (*_of_this_journal(entries, target, checkpoints), *_beginning(entries)):
        events = 0
        try:
            for entry in entries:
                if base.sequence < entry.sequence <= target:
                    # decoded again, as the state keeps and later changes the values of an event
                    replay_event(base, entry.record.type, entry.record.data, entry.sequence)
                    events += 1
        except StateError as error:
            problem = error.what
            continue
        if base.sequence == target:
            return Past(base, f"{name} and {events} events of the journal")
    raise StateError(
        f"The state after event {target} cannot be rebuilt: {problem}.",
        "Give a moment before the damage, or look at the checkpoints: `checkpoints list`.",
    )


def _of_this_journal(
    entries: Sequence[Entry], target: int, checkpoints: Iterable[tuple[str, TraderState]]
) -> Iterator[tuple[str, TraderState]]:
    """Those whose session began in this journal and that are not later than the target."""
    began = {e.event.session_id: e.sequence for e in entries if isinstance(e.event, SessionStarted)}
    for name, state in checkpoints:
        if state.session_id in began and began[state.session_id] <= state.sequence <= target:
            yield name, state


def _beginning(entries: Sequence[Entry]) -> Iterator[tuple[str, TraderState]]:
    if entries and entries[0].sequence == 1 and isinstance(entries[0].event, SessionStarted):
        start = entries[0].event
        yield "the beginning", new_state(start.trading_date, start.account, start.gateway)


def trades_of(state: TraderState) -> list[Trade]:
    """Every trade of a state in the order of its entry, open ones included."""
    return [_trade(position, state.time) for position in sorted(state.trades, key=lambda p: p.entry_time)]


def _trade(position: Position, now: datetime | None) -> Trade:
    is_open = position.held > 0
    risk = abs(position.entry_price - position.initial_stop) * position.shares
    value = position.entry_price * position.shares
    until = position.exit_time or now or position.entry_time
    return Trade(
        trade_id=position.trade_id,
        symbol=position.symbol,
        side=position.side,
        status="open" if is_open else "closed",
        shares=position.shares,
        held=position.held,
        entry_time=position.entry_time,
        entry_price=position.entry_price,
        exit_time=position.exit_time,
        exit_price=position.exit_price,
        reason="" if is_open else position.exit_reason or "unknown",
        pnl=round(position.realized_pnl, 2),
        pnl_pct=round(100 * position.realized_pnl / value, 4) if value else 0.0,
        r_multiple=round(position.realized_pnl / risk, 2) if risk > 0 and not position.estimated else None,
        duration_s=max(0.0, (until - position.entry_time).total_seconds()),
        commissions=round(position.commissions, 2),
        path=position.path,
        attempt=position.attempt,
        pivot=position.pivot,
        target1=position.target1,
        initial_stop=position.initial_stop,
        stop_price=position.stop_price,
        recovery=position.recovery,
        estimated=position.estimated or position.pnl_estimated,
        exits=_exits(position),
    )


def _exits(position: Position) -> list[Exit]:
    exits = [
        Exit(
            time=part.time,
            price=part.price,
            shares=part.shares,
            reason=part.reason,
            pnl=round(part.pnl, 2),
            estimated=part.estimated,
        )
        for part in position.partials_taken
    ]
    if position.held == 0 and position.exit_time is not None and position.exit_price is not None:
        earlier = position.partials_taken
        last = Exit(
            time=position.exit_time,
            price=position.exit_price,
            shares=position.shares + position.oversold - sum(part.shares for part in earlier),
            reason=position.exit_reason or "unknown",
            pnl=round(position.realized_pnl - sum(part.pnl for part in earlier), 2),
            estimated=position.pnl_estimated,
        )
        exits.append(last)
    return exits


def equity_curve(entries: Iterable[Entry]) -> list[EquityPoint]:
    """The portfolio value by the minute: the last mark of each, in the order of time."""
    minutes: dict[datetime, EquityPoint] = {}
    for entry in entries:
        event = entry.event
        if not isinstance(event, EquityAnchored | EquityMarked):
            continue
        minute = event.time.replace(second=0, microsecond=0)
        daily_pnl = event.daily_pnl if isinstance(event, EquityMarked) else 0.0
        minutes[minute] = EquityPoint(event.time, event.equity, daily_pnl)
    return [minutes[minute] for minute in sorted(minutes)]


def blocks_of(entries: Iterable[Entry]) -> list[Block]:
    """Every confirmed breakout whose entry a filter blocked."""
    return [
        Block(event.time, event.symbol, event.side, event.path, event.filter)
        for event in (entry.event for entry in entries)
        if isinstance(event, EntryBlocked)
    ]


def max_drawdown(curve: Iterable[EquityPoint]) -> float:
    """The largest fall from a high of the curve, as a positive amount."""
    high, worst = float("-inf"), 0.0
    for point in curve:
        high = max(high, point.equity)
        worst = max(worst, high - point.equity)
    return round(worst, 2)


def summarize(state: TraderState, curve: Sequence[EquityPoint]) -> DaySummary:
    """The day in numbers, from its last state and its equity curve."""
    closed = [trade for trade in trades_of(state) if trade.status == "closed"]
    results = [trade.pnl for trade in closed]
    winners = sum(pnl > 0 for pnl in results)
    start = state.risk.start_equity
    reasons: dict[str, int] = {}
    for trade in closed:
        reasons[trade.reason] = reasons.get(trade.reason, 0) + 1
    return DaySummary(
        trades=len(closed),
        open_positions=len(state.positions),
        winners=winners,
        losers=sum(pnl < 0 for pnl in results),
        win_rate=winners / len(closed) if closed else None,
        pnl=round(state.daily_pnl, 2),
        pnl_pct=round(100 * state.daily_pnl / start, 4) if start else None,
        pnl_estimated=state.daily_pnl_estimated,
        gross_profit=round(sum(pnl for pnl in results if pnl > 0), 2),
        gross_loss=round(sum(pnl for pnl in results if pnl < 0), 2),
        commissions=round(sum(trade.commissions for trade in state.trades), 2),
        best=max(results, default=None),
        worst=min(results, default=None),
        mean_duration_s=sum(trade.duration_s for trade in closed) / len(closed) if closed else None,
        start_equity=start,
        last_equity=curve[-1].equity if curve else None,
        max_drawdown=max_drawdown(curve),
        reasons=reasons,
        entry_paths=dict(state.entry_paths),
        filter_blocks=dict(state.filter_blocks),
    )
