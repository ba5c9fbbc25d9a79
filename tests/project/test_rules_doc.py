"""docs/RULES.md against the code: its tables are read and its examples computed."""

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from signals import evaluate

from trader.config.sections import EntryRules, ExitRules, SizeRules
from trader.core.bars import Candle
from trader.core.sizing import size_entry, stop_price
from trader.core.strategy.ps60.breakout import ENTRY_PATHS
from trader.core.strategy.ps60.exits import MoveStop, PositionView, TakePartial, decide
from trader.core.strategy.ps60.filters import FILTER_NAMES
from trader.core.strategy.ps60.setups import Setup
from trader.time_zones import EASTERN

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "RULES.md").read_text(encoding="utf-8")
TEN = EASTERN.localize(datetime.fromisoformat("2025-10-06T10:00:00"))
MINUTE = timedelta(minutes=1)
QUIET = [Candle(TEN - (10 - n) * MINUTE, 99.5, 99.6, 99.4, 99.5, 1000.0) for n in range(10)]
SETUP = Setup("TSLA", 100.0, 90.0, 105.0, 110.0, 116.18, 85.0, 80.0, score=80)


def section(title: str) -> str:
    return re.split(r"^##+ ", TEXT.split(f"# {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def table_rows(text: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return rows[2:]  # without heading and rule


@pytest.mark.parametrize("path", ENTRY_PATHS)
def test_each_paths_example_gives_its_signal(path: str) -> None:
    rows = [row for row in table_rows(section(path)) if re.fullmatch(r"10:\d\d", row[0])]
    candles = [*QUIET]
    for name, *numbers, _ in rows:
        open_, high, low, close, volume = (float(number.replace(",", "")) for number in numbers)
        candles.append(Candle(TEN + int(name[3:]) * MINUTE, open_, high, low, close, volume))
    signals = evaluate(SETUP, candles, EntryRules())
    assert [(signal.path, signal.candle_time) for signal in signals] == [(path, candles[-1].time)]
    assert f"**{path}**" in rows[-1][-1]


def test_the_filters_stand_in_their_order() -> None:
    assert [row[0].strip("`") for row in table_rows(section("Filters"))] == list(FILTER_NAMES)


def test_the_example_of_stop_and_size() -> None:
    rules = SizeRules()
    assert stop_price("LONG", 100.0, 100.5, rules, 0.01) == 100.0
    assert size_entry(100_000, 100.5, 100.0, 400_000, rules) == 248
    assert stop_price("LONG", 100.0, 100.1, rules, 0.01) == 99.79
    assert "**248 shares**" in section("Stop and size")
    assert "**99.79**" in section("Stop and size")


def test_the_example_of_exits() -> None:
    view = PositionView(
        symbol="TSLA",
        side="LONG",
        shares=100,
        held=100,
        entry_price=100.0,
        entry_time=TEN,
        initial_stop=99.5,
        stop_price=99.5,
        target1=102.5,
    )
    taken = []
    for price in (100.5, 100.5, 101.12, 101.13, 102.5, 103.0):
        for action in decide(view, price, TEN + MINUTE, ExitRules(), None):
            taken.append((price, action))
            if isinstance(action, TakePartial):
                view = replace(view, held=view.held - action.shares, partials=view.partials | {action.reason})
            if isinstance(action, MoveStop):
                view = replace(view, stop_price=action.price)
    assert taken == [
        (100.5, TakePartial(50, "partial_1r")),
        (100.5, MoveStop(100.0, "breakeven")),
        (101.13, MoveStop(100.11, "trail")),
        (102.5, TakePartial(25, "partial_target1")),
        (102.5, MoveStop(101.47, "trail")),
        (103.0, MoveStop(101.97, "trail")),
    ]
    for figure in ("101.13", "100.11", "101.47", "101.97"):
        assert figure in section("Exits")
