"""A whole day through the core alone, twice, gives the same events byte for byte; the core reads no clock."""

import csv
import os
import subprocess
import sys
from datetime import date, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from core_day import CoreDay, bars_of

from trader.broker.port import Bar
from trader.config.sections import UniverseRules
from trader.core.strategy.ps60.setups import Setup, parse_setups
from trader.time_zones import EASTERN

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("TRADER_DATA_DIR") or ROOT.parent / "shared" / "data") / "2025-10-21"
DAY = date(2025, 10, 21)
needs_the_day = pytest.mark.skipif(
    not (FOLDER / "bars").is_dir(), reason=f"no recorded day in {FOLDER}: set TRADER_DATA_DIR to its parent"
)


def setups() -> dict[str, Setup]:
    path = FOLDER / "scanner_results_20251021.json"
    return {setup.symbol: setup for setup in parse_setups(path.read_bytes(), path, UniverseRules()).setups}


def recorded_bars(symbols: set[str]) -> list[tuple[str, Bar]]:
    bars = []
    for path in sorted((FOLDER / "bars").glob("*.csv")):
        if path.stem not in symbols:
            continue
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        candles = [
            SimpleNamespace(
                time=datetime.fromisoformat(row["time"]),
                **{name: float(row[name]) for name in ("open", "high", "low", "close", "volume")},
            )
            for row in rows
        ]
        bars += bars_of(path.stem, candles)
    return sorted(bars, key=lambda item: (item[1].time, item[0]))


def whole_day() -> CoreDay:
    found = setups()
    day = CoreDay(
        DAY, found, EASTERN.localize(datetime.combine(DAY, datetime.min.time().replace(hour=9, minute=30)))
    )
    day.begin()
    day.trade(recorded_bars(set(found)))
    return day


@cache
def the_day() -> CoreDay:
    """One day for both tests."""
    return whole_day()


@needs_the_day
def test_the_same_day_gives_the_same_events_to_the_byte() -> None:
    first, second = the_day(), whole_day()
    kinds = {item.kind for item in first.events}
    assert {"OrderIntended", "OrderModifyIntended", "ExecutionSeen", "EntryBlocked", "SignalTaken"} <= kinds
    assert first.journal() == second.journal()
    assert first.state.closed
    assert not first.state.positions, "closed at 15:55"


@needs_the_day
def test_a_day_with_every_clock_and_socket_taken_away() -> None:
    """In an interpreter whose clocks, sockets, files and event loops raise as soon as the day begins."""
    code = """
import sys
sys.path[:0] = ["tests/support", "tests/core"]
import builtins, asyncio, datetime, os, random, secrets, socket, threading, time
import test_core_day as story
found = story.setups()
bars = story.recorded_bars(set(found))
day = story.CoreDay(story.DAY, found, bars[0][1].time)

def never(*_, **__):
    raise AssertionError("the core called something outside")

for module, names in (
    (time, ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep")),
    (os, ("urandom", "open", "write", "read")),
    (random, ("random", "choice")),
    (secrets, ("choice", "token_hex")),
    (socket, ("socket",)),
    (asyncio, ("get_running_loop", "get_event_loop", "create_task", "sleep")),
    (threading, ("Thread",)),
    (builtins, ("open",)),
):
    for name in names:
        setattr(module, name, never)
day.begin()
day.trade(bars)
assert day.state.closed, "nothing was traded"
sys.stdout.write(str(len(day.events)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == len(the_day().events)
