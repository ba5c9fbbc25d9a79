"""The judge of the gateway's exposure log: naked windows, over-closing windows, reversals."""

from itertools import pairwise
from typing import Any

import pytest

from crashlab.exposure import Judgement, judge, read_rows
from paper_gateway.testing import RunningGateway


def row(
    at_s: float, held: int, *, own: int | None = None, protecting: int = 0, entering: int = 0, **closing: int
) -> dict[str, Any]:
    """A row as the gateway gives it. closing: by client id, as `c7=100`. own: all that is held by default."""
    return {
        "time_s": at_s,
        "session_time": f"10:00:{at_s:04.1f}",
        "symbol": "TSLA",
        "held": held,
        "own": held if own is None else own,
        "protecting": protecting,
        "entering": entering,
        "closing": {name[1:]: shares for name, shares in closing.items()},
    }


def windows(judgement: Judgement) -> list[tuple[str, int, float]]:
    naked = [("naked", one.shares, one.seconds) for one in judgement.naked]
    return naked + [("over", one.shares, one.seconds) for one in judgement.over_closing]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([row(0, 100, protecting=100, c7=100)], [], id="protected"),
        pytest.param([row(0, 100), row(2, 100, protecting=100, c7=100)], [("naked", 100, 2.0)], id="naked"),
        pytest.param([row(0, 100, protecting=60, c7=60)], [("naked", 40, 9.0)], id="in part, to the end"),
        pytest.param([row(0, -50, protecting=50, c7=50), row(3, 0)], [], id="short"),
        pytest.param([row(0, 100, protecting=200, c7=100, c8=100)], [("over", 100, 9.0)], id="two clients' stops"),
        pytest.param([row(0, 10, protecting=100, entering=90, c7=100)], [], id="the entry still works"),
        pytest.param([row(0, 100, own=0)], [], id="foreign shares"),
        pytest.param([row(0, 150, own=100, protecting=100, c7=100)], [], id="foreign shares beside own"),
        pytest.param([row(0, 50, own=100)], [("naked", 50, 9.0)], id="part was sold by hand"),
    ],
)
def test_windows_are_found(rows: list[dict[str, Any]], expected: list[tuple[str, int, float]]) -> None:
    assert windows(judge(rows, until_s=9.0)) == expected


def test_a_position_that_changes_its_sign_is_a_reversal() -> None:
    found = judge([row(0, 100, protecting=100, c7=100), row(1, -100)], until_s=1.5)
    assert len(found.reversals) == 1
    assert found.longer_than(1.0, 1.0) == found.reversals
    assert (
        judge([row(0, 100, protecting=100, c7=100), row(1, 0), row(2, -5, protecting=5, c7=5)], 3).reversals == []
    )


def test_an_adopted_position_counts_whole() -> None:
    assert windows(judge([row(0, 100, own=0)], 4.0, managed=["TSLA"])) == [("naked", 100, 4.0)]


def test_bounds_are_told_in_sentences() -> None:
    found = judge([row(0, 100), row(2, 100, protecting=200, c7=200), row(5, 0)], until_s=9.0)
    assert found.longer_than(1.0, 1.0) == [
        "TSLA: 100 shares naked for 2000 ms",
        "TSLA: 100 shares over-closed for 3000 ms",
    ]
    assert (found.longest_naked_s, found.longest_over_closing_s, found.most_over_closing) == (2.0, 3.0, 100)


def test_the_gateway_logs_each_change_once() -> None:
    with RunningGateway("--speed", "1", "--start", "11:00", "--date", "2025-10-06") as gateway:
        gateway.ctl("trade", symbol="TSLA", side="BUY", shares=30)
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=30, stop=1.0)
        rows = read_rows(gateway.port)
    final = rows[-1]
    assert (final["held"], final["own"], final["protecting"], final["closing"]) == (30, 0, 30, {"0": 30})
    assert all(left != right for left, right in pairwise(rows))
    assert [one["time_s"] for one in rows] == sorted(one["time_s"] for one in rows)
