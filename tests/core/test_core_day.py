"""A whole day through the core alone, twice, gives the same events byte for byte; the core reads no clock.

The recorded day needs its bars; the generated one is the paper gateway's scripted day, so every clone has it.
"""

import csv
import os
import subprocess
import sys
from datetime import date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
from core_day import CoreDay, bars_of

from paper_gateway.market.day import PLANS
from paper_gateway.market.model import PRICE_SCALE
from paper_gateway.market.synthetic import symbol_day
from trader.broker.port import Bar
from trader.config.sections import UniverseRules
from trader.core.strategy.ps60.setups import Setup, parse_setups
from trader.time_zones import EASTERN

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("TRADER_DATA_DIR") or ROOT.parent / "shared" / "data") / "2025-10-21"
DATES = {"generated": date(2025, 10, 6), "recorded": date(2025, 10, 21)}
SCANS = {
    "generated": ROOT / "scanner_output" / "scanner_results_20251006.json",
    "recorded": FOLDER / "scanner_results_20251021.json",
}
needs_the_day = pytest.mark.skipif(
    not (FOLDER / "bars").is_dir(), reason=f"no recorded day in {FOLDER}: set TRADER_DATA_DIR to its parent"
)
each_day = pytest.mark.parametrize("source", ["generated", pytest.param("recorded", marks=needs_the_day)])


def setups(source: str) -> dict[str, Setup]:
    path = SCANS[source]
    return {setup.symbol: setup for setup in parse_setups(path.read_bytes(), path, UniverseRules()).setups}


def bars(source: str) -> list[tuple[str, Bar]]:
    """The day's 5-second bars of every symbol that has a setup, in order of time."""
    candles = recorded_candles if source == "recorded" else generated_candles
    found = [item for symbol in setups(source) for item in bars_of(symbol, candles(symbol))]
    return sorted(found, key=lambda item: (item[1].time, item[0]))


def recorded_candles(symbol: str) -> list[SimpleNamespace]:
    path = FOLDER / "bars" / f"{symbol}.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        SimpleNamespace(
            time=datetime.fromisoformat(row["time"]),
            **{name: float(row[name]) for name in ("open", "high", "low", "close", "volume")},
        )
        for row in rows
    ]


def generated_candles(symbol: str) -> list[SimpleNamespace]:
    opening = beginning("generated")
    plan = next(plan for plan in PLANS if plan.symbol == symbol)
    return [
        SimpleNamespace(
            time=opening + timedelta(minutes=candle.minute),
            volume=float(candle.volume),
            **{name: getattr(candle, name) / PRICE_SCALE for name in ("open", "high", "low", "close")},
        )
        for candle in symbol_day(plan, DATES["generated"], 1, anchor=15).candles
    ]


def beginning(source: str) -> datetime:
    return EASTERN.localize(datetime.combine(DATES[source], time(9, 30)))


def whole_day(source: str) -> CoreDay:
    day = CoreDay(DATES[source], setups(source), beginning(source))
    day.begin()
    day.trade(bars(source))
    return day


@cache
def the_day(source: str) -> CoreDay:
    """One day for both tests."""
    return whole_day(source)


@each_day
def test_the_same_day_gives_the_same_events_to_the_byte(source: str) -> None:
    first, second = the_day(source), whole_day(source)
    kinds = {item.kind for item in first.events}
    assert {"OrderIntended", "OrderModifyIntended", "ExecutionSeen", "EntryBlocked", "SignalTaken"} <= kinds
    assert first.journal() == second.journal()
    assert first.state.closed
    assert not first.state.positions, "closed at 15:55"


@each_day
def test_a_day_with_every_clock_and_socket_taken_away(source: str) -> None:
    """In an interpreter whose clocks, sockets, files and event loops raise as soon as the day begins."""
    code = """
import sys
sys.path[:0] = ["tests/support", "tests/core"]
import builtins, asyncio, datetime, os, random, secrets, socket, threading, time
import test_core_day as story
source = sys.argv[1]
bars = story.bars(source)
day = story.CoreDay(story.DATES[source], story.setups(source), bars[0][1].time)

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
    done = subprocess.run(
        [sys.executable, "-c", code, source], cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == len(the_day(source).events)
