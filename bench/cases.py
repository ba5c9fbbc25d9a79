"""Data for the measurements: one event, a state with positions, a long journal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path

from msgspec.structs import replace

from state.domain.apply import new_state
from state.domain.events import EntryBlocked, EquityMarked, Event
from state.domain.model import Position, TraderState
from state.manager import StateManager

DATE, ACCOUNT, GATEWAY = "2025-10-06", "DU1234567", "bench"
START = datetime(2025, 10, 6, 14, 0, tzinfo=UTC)
EVENT: Event = EntryBlocked(
    time=START, symbol="TSLA", side="LONG", path="momentum", pivot=449.8, break_time=START, filter="low_volume"
)


def state_of(positions: int) -> TraderState:
    """A state with this many positions. With two, its snapshot has 2 KB."""
    state = new_state(DATE, ACCOUNT, GATEWAY)
    for number in range(positions):
        state.positions[f"SYM{number}"] = _position(f"SYM{number}")
    return state


def _position(symbol: str) -> Position:
    return Position(
        trade_id=f"ps60-{symbol}-L-E1-6aehh53yrs",
        symbol=symbol,
        con_id=141071472,
        side="LONG",
        entry_price=132.52,
        entry_time=START,
        shares=188,
        held=188,
        pivot=132.9,
        target1=135.25,
        target2=137.6,
        target3=140.09,
        stop_price=131.9,
        initial_stop=131.9,
        stop_ref=f"ps60-{symbol}-L-S1-6aehh53yrs",
        path="momentum",
    )


def lengthen_journal(logs: Path, events: int, account: str = ACCOUNT, gateway: str = GATEWAY) -> None:
    """Append `events` events, mixed as on a trading day, to the journal of a logs folder. No trader may use it."""
    with StateManager.open(logs, "bench-filler") as manager:
        found = manager.loaded.state
        date = found.trading_date if found is not None else DATE
        account, gateway = (found.account, found.gateway) if found is not None else (account, gateway)
        manager.begin(date, account, gateway, START)
        kinds = cycle((EVENT, EquityMarked(time=START, equity=1e5, daily_pnl=12.5), EVENT, EVENT))
        for number in range(events):
            manager.record(replace(next(kinds), time=START + timedelta(seconds=number)))
            if number % 500 == 499:
                manager.flush()
        manager.flush()
