"""Replay of a recorded day: its minutes are exact, and the error for a bad file names file and line."""

from __future__ import annotations

import csv
import os
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from paper_gateway.market import EASTERN, MarketDataError, replay_day

HEADER = "time,open,high,low,close,volume"
MINUTES = [
    "2025-10-21T09:30:00-04:00,445.66,447.05,445.17,446.53,529698",
    "2025-10-21T09:31:00-04:00,446.62,446.76,444.43,445.47,320312",
    "2025-10-21T09:32:00-04:00,445.4712,445.5,445.4712,445.5,9",
    "2025-10-21T09:35:00-04:00,446,446,446,446,0",
    "2025-10-21T09:36:00-04:00,446,446.2,445.9,446,2",
]


def folder_with(tmp_path: Path, lines: list[str], name: str = "TSLA.csv") -> Path:
    (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def recorded(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def assert_replays(folder: Path) -> None:
    """Every recorded minute with a trade equals both its one-minute bar and its twelve 5-second bars."""
    market = replay_day(folder)
    market.advance(market.start + timedelta(hours=7))
    for symbol in market.symbols:
        for row in recorded(folder / f"{symbol}.csv"):
            start = datetime.fromisoformat(row["time"])
            (bar,) = market.bars(symbol, start, start + timedelta(minutes=1), 60)
            assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (
                *(float(row[name]) for name in ("open", "high", "low", "close")),
                int(row["volume"]),
            )
            fives = market.bars(symbol, start, start + timedelta(minutes=1), 5)
            traded = [five for five in fives if five.count]
            assert len(fives) == 12
            assert sum(five.volume for five in fives) == bar.volume
            if traded:
                assert max(five.high for five in traded) == bar.high
                assert min(five.low for five in traded) == bar.low
                assert (traded[0].open, traded[-1].close) == (bar.open, bar.close)


def test_recorded_minutes_come_back_exactly(tmp_path: Path) -> None:
    quiet = "2025-10-21T09:35:00-04:00,445.5,445.5,445.5,445.5,0"
    assert_replays(folder_with(tmp_path, [HEADER, *MINUTES[:3], quiet, MINUTES[4]]))


def test_a_recorded_real_day_comes_back_exactly() -> None:
    root = Path(os.environ.get("TRADER_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data")
    folder = root / "2025-10-21" / "bars"
    if not folder.is_dir():
        pytest.skip(f"no recorded day in {folder}; set TRADER_DATA_DIR to a folder that holds one")
    assert_replays(folder)


def test_missing_minutes_are_flat_and_without_volume(tmp_path: Path) -> None:
    market = replay_day(folder_with(tmp_path, [HEADER, *MINUTES]))
    start = market.start + timedelta(minutes=3)
    ticks = market.advance(market.start + timedelta(minutes=10))
    assert not [tick for tick in ticks if start <= tick.time < start + timedelta(minutes=3)]
    bars = market.bars("TSLA", start, start + timedelta(minutes=3), 5)
    assert len(bars) == 36
    assert {(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.wap, bar.count) for bar in bars} == {
        (445.5, 445.5, 445.5, 445.5, 0, 445.5, 0)
    }


def test_a_minute_without_volume_moves_nothing(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, [HEADER, *MINUTES])
    late = replay_day(folder, time(9, 36))
    assert late.quote("TSLA").last == 445.5
    late.advance(late.start + timedelta(minutes=1))
    assert late.quote("TSLA").high == 447.05


def test_the_day_and_its_start_come_from_the_bars(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, [HEADER, *MINUTES])
    market = replay_day(folder)
    assert market.trading_date == date(2025, 10, 21)
    assert market.start == datetime(2025, 10, 21, 9, 30, tzinfo=EASTERN)
    assert market.quote("TSLA").prev_close == 445.66
    late = replay_day(folder, time(9, 32))
    assert late.quote("TSLA").last == 445.47
    assert late.quote("TSLA").volume == 529698 + 320312
    assert late.bars("TSLA", market.start, late.start, 60)[1].volume == 320312
    assert all(tick.time > late.start for tick in late.advance(late.start + timedelta(minutes=1)))


def test_hours_outside_the_session_are_left_out(tmp_path: Path) -> None:
    early = "2025-10-21T08:15:00-04:00,440,441,439,440,1000"
    late = "2025-10-21T16:00:00-04:00,440,441,439,440,1000"
    market = replay_day(folder_with(tmp_path, [HEADER, early, *MINUTES, late]))
    assert market.quote("TSLA").prev_close == 445.66
    ticks = market.advance(market.start + timedelta(hours=9))
    assert ticks[0].price == 445.66
    assert sum(tick.size for tick in ticks) == 529698 + 320312 + 9 + 2


def test_a_symbol_that_was_not_recorded_can_be_ensured(tmp_path: Path) -> None:
    market = replay_day(folder_with(tmp_path, [HEADER, *MINUTES]))
    market.ensure("SPY")
    assert {tick.symbol for tick in market.advance(market.start + timedelta(minutes=1))} == {"TSLA", "SPY"}


@pytest.mark.parametrize(
    ("lines", "where", "what"),
    [
        (["time,open,high,low,close", *MINUTES], "line 1", "column volume missing"),
        ([""], "line 1", "column time"),
        ([HEADER], "TSLA.csv", "no bar within regular hours"),
        ([HEADER, MINUTES[1], MINUTES[0]], "line 3", "does not come after"),
        ([HEADER, MINUTES[0], MINUTES[0]], "line 3", "does not come after"),
        ([HEADER, MINUTES[0].replace("445.66", "NaN")], "line 2", "open 'NaN' is not a finite"),
        ([HEADER, MINUTES[0].replace("445.66", "inf")], "line 2", "open 'inf' is not a finite"),
        ([HEADER, MINUTES[0].replace("445.66", "x")], "line 2", "open 'x' is not a number"),
        ([HEADER, MINUTES[0].replace("445.66", "-1")], "line 2", "below one cent"),
        ([HEADER, MINUTES[0].replace("447.05", "445.00")], "line 2", "within low and high"),
        ([HEADER, MINUTES[0].replace("446.53", "448")], "line 2", "within low and high"),
        ([HEADER, MINUTES[0].replace("529698", "-5")], "line 2", "not a whole number of shares"),
        ([HEADER, MINUTES[0].replace("529698", "1.5")], "line 2", "not a whole number of shares"),
        ([HEADER, MINUTES[0].rpartition(",")[0]], "line 2", "volume None is not a number"),
        ([HEADER, MINUTES[0].replace("-04:00", "")], "line 2", "no offset"),
        ([HEADER, MINUTES[0].replace("2025-10-21T", "yesterday ")], "line 2", "is not ISO"),
        ([HEADER, MINUTES[0].replace("09:30:00", "09:30:05")], "line 2", "not the start of a minute"),
        ([HEADER, MINUTES[0], MINUTES[1].replace("10-21", "10-22")], "line 3", "one folder holds one day"),
        ([HEADER, MINUTES[0].replace("10-21", "10-18")], "line 2", "not a trading day"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, lines: list[str], where: str, what: str) -> None:
    with pytest.raises(MarketDataError) as caught:
        replay_day(folder_with(tmp_path, lines))
    assert "TSLA.csv" in str(caught.value)
    assert where in str(caught.value)
    assert what in str(caught.value)


def test_files_of_two_days_do_not_mix(tmp_path: Path) -> None:
    folder_with(tmp_path, [HEADER, MINUTES[0]], "AMD.csv")
    with pytest.raises(MarketDataError, match=r"TSLA\.csv line 2: date 2025-10-22 among bars of 2025-10-21"):
        replay_day(folder_with(tmp_path, [HEADER, MINUTES[0].replace("10-21", "10-22")]))


def test_a_folder_without_bars_or_with_a_strange_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MarketDataError, match=r"no SYM\.csv"):
        replay_day(tmp_path)
    with pytest.raises(MarketDataError, match=r"my notes\.csv"):
        replay_day(folder_with(tmp_path, [HEADER, *MINUTES], "my notes.csv"))


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "TSLA.csv").write_bytes(b"time,open\xff\xfe\x00")
    with pytest.raises(MarketDataError, match=r"TSLA\.csv cannot be read as CSV"):
        replay_day(tmp_path)
