"""The benchmarks run, and their tables have the rows and columns of docs/SPEED.md. Times are not asserted."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import pytest

from bench.__main__ import QUICK, groups
from bench.chart import chart
from bench.durable import CORE, FLOOR, JOURNAL, SNAPSHOT
from bench.measure import BATCH, Call, Method, PeerMissingError, Ratio, Row, interleave, spread
from bench.report import page, table


@pytest.mark.parametrize("name", groups(QUICK, Path()))
def test_each_group_gives_rows_with_numbers_and_targets(name: str, tmp_path: Path) -> None:
    rows = groups(QUICK, tmp_path)[name]()
    measured = [row for row in rows if not row.note.endswith(("not installed", "installs it"))]
    numbers = [row.value for row in measured if not row.name.startswith("saved by ")]
    assert all(value is not None and value >= 0 for value in numbers)
    assert all(row.value is not None for row in measured), "what is saved may be below zero on a busy machine"
    assert any(row.target is not None and row.reached is not None for row in measured)


def test_the_journal_is_compared_with_its_floor_and_its_peers(tmp_path: Path) -> None:
    rows = groups(QUICK, tmp_path)["durable"]()
    against = {row.against: row for row in rows if row.name == JOURNAL}
    assert against[FLOOR].target == 1.15
    assert against[SNAPSHOT].target == 0.25
    assert against[CORE].target == 0.5
    assert {row.name for row in rows} >= {"sqlite3, WAL FULL", "Redis, appendfsync always"}


def method(name: str, calls: list[str]) -> Method:
    @contextmanager
    def opened(folder: Path) -> Iterator[Call]:
        assert folder.is_dir()
        yield lambda: calls.append(name)

    return Method(name, opened)


def folder_is_there(place: Path) -> bool:
    return place.is_dir()


def test_rounds_are_interleaved_and_take_turns(tmp_path: Path) -> None:
    calls: list[str] = []
    interleave([method("a", calls), method("b", calls)], tmp_path, rounds=1, count=2 * BATCH)
    turns = [name for name, same in groupby(calls) for _ in range(len(list(same)) // BATCH)]
    assert turns == ["a", "b", "a", "b", "b", "a"]  # each is warmed up once


def test_a_peer_that_is_missing_says_so(tmp_path: Path) -> None:
    @contextmanager
    def missing(place: Path) -> Iterator[Call]:
        if folder_is_there(place):
            raise PeerMissingError("it is not installed")
        yield lambda: None

    calls: list[str] = []
    found = interleave([method("a", calls), Method("b", missing)], tmp_path, rounds=1, count=1)
    assert found.missing == {"b": "it is not installed"}
    assert found.ratio("b", "a") is None


def test_a_ratio_is_a_median_with_its_quartiles() -> None:
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == Ratio(3.0, 1.5, 4.5)
    assert spread([2.0]) == Ratio(2.0, 2.0, 2.0)


def test_targets_are_judged_on_their_side() -> None:
    assert Row("g", "n", 1.0, "ms", "f", Ratio(1.1, 1.0, 1.2), 1.15).reached is True
    assert Row("g", "n", 1.0, "ms", "f", Ratio(1.2, 1.0, 1.2), 1.15).reached is False
    assert Row("g", "n", 60_000.0, "a second", target=50_000.0, better="high").reached is True
    assert Row("g", "n", None, "ms", target=1.0).reached is None


def test_the_page_shows_what_was_missed_and_what_was_not_measured() -> None:
    rows = [
        Row("a durable event, inline", "journal", 300.0, "µs", FLOOR, Ratio(1.3, 1.2, 1.4), 1.15),
        Row("a durable event, inline", "Redis", None, "µs", note="redis-server is not installed"),
    ]
    text = page(rows, "test machine")
    assert "| journal | 300.0 µs | 1.30 (1.20 to 1.40) |" in text
    assert "≤ 1.15: missed" in text
    assert "redis-server is not installed" in text
    assert "test machine" in text
    assert "not measured" in table(rows)
    bars = ElementTree.fromstring(chart(rows))
    assert "1.30 x" in "".join(bars.itertext())
