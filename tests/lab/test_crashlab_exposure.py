"""The judge of the gateway's exposure log: naked and over-closing windows, reversals, entries, touched orders."""

import time
from itertools import pairwise
from typing import Any

import pytest

from crashlab.exposure import Bounds, Context, Judgement, Log, Row, Span, judge, judge_log, read_rows
from crashlab.processes import wait_for
from crashlab.report import Tally
from crashlab.verdict import START_S, judge_gateway, without_trader
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
        "TSLA: 100 shares naked for 2000 ms (replacement)",
        "TSLA: 100 shares over-closed for 3000 ms (own)",
    ]
    assert (found.longest_naked_s, found.longest_over_closing_s, found.most_over_closing) == (2.0, 3.0, 100)


def kinds(rows: list[Row], **context: Any) -> list[str]:
    found = judge_log(Log(rows), 9.0, Context(**context))
    return [window.kind for window in (*found.naked, *found.over_closing)]


@pytest.mark.parametrize(
    ("rows", "refusing", "expected"),
    [
        pytest.param([row(0, 0, c7=100, entering=100), row(1, 100, c7=100)], False, "activation", id="a"),
        pytest.param([row(0, 100)], True, "refused", id="b"),
        pytest.param([row(0, 100, protecting=100, c7=100), row(1, 100)], True, "refused", id="b after a stop"),
        pytest.param(
            [row(0, 100, protecting=100, c7=100), row(1, 100, protecting=50, c7=50)], False, "partial", id="c"
        ),
        pytest.param(
            [row(0, 100, protecting=100, c7=100), row(1, 100, protecting=50, c7=50)], True, "partial", id="c, too"
        ),
        pytest.param([row(0, 100, protecting=100, c7=100), row(1, 100)], False, "replacement", id="d"),
        pytest.param([row(0, 10, protecting=10, c7=10), row(1, 100, protecting=10, c7=10)], False, "replacement"),
        pytest.param([row(0, 100)], False, "replacement", id="an entry without a stop"),
        pytest.param([row(0, 100, protecting=100, c7=150)], False, "own", id="too large a stop"),
        pytest.param(
            [row(0, 100, protecting=100, c7=100), row(1, 60, own=100, protecting=100, c7=100)],
            False,
            "manual",
            id="part was sold manually",
        ),
        pytest.param(
            [row(0, 100, protecting=100, c7=100), row(1, 60, own=60, protecting=100, c7=100)],
            False,
            "own",
            id="part was sold by an exit",
        ),
    ],
)
def test_each_window_has_its_cause(rows: list[Row], refusing: bool, expected: str) -> None:
    assert kinds(rows, refusing=refusing) == [expected]


def test_a_window_that_begins_in_another_way_counts_as_refused_once_stops_are_refused() -> None:
    rows = [row(0, 0, c7=100, entering=100), row(1, 100, c7=100), row(1.1, 100), row(3, 0)]
    assert kinds(rows) == ["activation"]
    assert kinds(rows, refusing=True) == ["refused"]


def test_each_kind_has_its_own_bound() -> None:
    found = judge_log(Log([row(0, 100), row(2, 0)]), 9.0, Context(refusing=True))
    assert found.unprotected(Bounds()) == []
    assert found.unprotected(Bounds(refused=1.9)) == ["TSLA: 100 shares naked for 2000 ms (refused)"]
    assert (found.longest_of("refused"), found.longest_of("partial")) == (2.0, 0.0)
    rows = [row(0, 100, protecting=100, c7=100), row(1, 60, own=100, protecting=100, c7=100), row(4, 0)]
    sold = judge(rows, until_s=9.0)
    assert sold.wrong(Bounds(manual=5.0)) == []
    assert sold.wrong(Bounds(over_closing=5.0)) == ["TSLA: 40 shares over-closed for 3000 ms (manual)"]


def test_a_stop_that_lives_for_a_moment_does_not_end_a_naked_window() -> None:
    """Each new stop is set Inactive at once: the position is naked all the while."""
    blinks = [row(0, 100), row(2, 100, protecting=100, c7=100), row(2.001, 100), row(4, 0)]
    assert windows(judge(blinks, 9.0)) == [("naked", 100, 4.0)]
    holds = [row(0, 100), row(2, 100, protecting=100, c7=100), row(2.5, 100), row(4, 0)]
    assert windows(judge(holds, 9.0)) == [("naked", 100, 2.0), ("naked", 100, 1.5)]
    again = [row(0, 100), row(2, 0), row(2.001, 100), row(4, 0)]
    assert len(judge(again, 9.0).naked) == 2, "two positions, one after the other"


@pytest.mark.parametrize(
    ("rows", "own", "manual"),
    [
        pytest.param([row(0, 100, c7=100), row(1, -20, own=-20)], 1, 0, id="an exit of too many shares"),
        pytest.param([row(0, 40, own=100, c7=100), row(1, -60, own=0)], 1, 0, id="a stop of too many shares"),
        pytest.param(
            [
                row(0, 100, protecting=100, c7=100),
                row(1, 0, own=100, protecting=100, c7=100),
                row(1.2, -100, own=0),
            ],
            0,
            1,
            id="sold manually, then the stop filled",
        ),
        pytest.param([row(0, 100), row(1, -50, own=100), row(2, -50, own=100)], 0, 0, id="reversed manually"),
        pytest.param([row(0, 100), row(1, 0, own=0), row(2, -100)], 0, 0, id="closed, then a new short"),
        pytest.param([row(0, -100), row(1, 30, own=30)], 1, 0, id="a short bought back twice"),
    ],
)
def test_a_reversal_is_made_by_closing_executions_of_the_trader(rows: list[Row], own: int, manual: int) -> None:
    found = judge(rows, until_s=2.0)
    assert (len(found.reversals), len(found.manual_reversals)) == (own, manual)


def test_a_stop_or_an_exit_that_opens_a_position_is_a_reversal() -> None:
    """The position was closed already; a second closing order found nothing to close."""
    ref = "ps60-TSLA-L-S1-0h4kq9x2mz.0h4kq9x2n1"
    opened = [entry(1, "ps60-TSLA-L-E1-0h4kq9x2mz"), entry(2, ref), entry(3, "ps60-TSLA-L-X1-0h4")]
    rows = [row(0, 100), row(1, 0), row(2, -100)]
    assert len(judge_log(Log(rows, opened), 3.0, Context()).reversals) == 2
    reversed_at_once = [row(0, 100), row(1, -100)]
    assert len(judge_log(Log(reversed_at_once, opened), 3.0, Context()).reversals) == 1, "told once"


def test_time_in_which_the_trader_could_not_act_does_not_count() -> None:
    rows = [row(1, 100), row(5, 0)]

    def longest(*spans: Span) -> float:
        return judge_log(Log(rows), 9.0, Context(spans=spans)).longest_naked_s

    assert longest() == 4.0
    assert longest(Span(0, 2, "outage")) == 3.0
    assert longest(Span(2, 4, "outage"), Span(3, 4.5, "dropped")) == 1.5, "what they share is taken once"
    assert longest(Span(6, 7, "outage")) == 4.0
    assert longest(Span(2, 4, "dead", open_only=True)) == 2.0
    assert longest(Span(0, 4, "dead", open_only=True)) == 4.0, "it became naked while no trader ran"
    assert longest(Span(0, 4, "dead", open_only=True, under_way_s=1.1)) == 1.0, "IBKR took so long for a change"


def test_an_adopted_position_counts_from_its_adoption_on() -> None:
    rows = [row(0, 100, own=0), row(4, 100, own=0, protecting=100, c7=100)]
    assert windows(judge_log(Log(rows), 9.0, Context())) == []
    assert windows(judge_log(Log(rows), 9.0, Context(adopted={"TSLA": 3.0}))) == [("naked", 100, 1.0)]
    assert windows(judge_log(Log(rows[:1]), 9.0, Context(adopted={"TSLA": 3.0}))) == [("naked", 100, 6.0)]


def entry(perm_id: int, order_ref: str, client_id: int = 7) -> dict[str, Any]:
    return {
        "perm_id": perm_id,
        "order_ref": order_ref,
        "client_id": client_id,
        "symbol": "TSLA",
        "filled": 100,
    }


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([entry(1, "ps60-TSLA-L-E1-0h4kq9x2mz"), entry(2, "ps60-TSLA-L-E2-0h4kq9x2mz")], 0),
        ([entry(1, "ps60-TSLA-L-E1-0h4kq9x2mz"), entry(2, "ps60-TSLA-L-E1-0h4kq9x2mz")], 1),
        ([entry(1, "ps60-TSLA-L-E1-0h4kq9x2mz"), entry(2, "ps60-TSLA-L-E1-0h4kr1c7p3")], 1),
        ([entry(1, "ps60-TSLA-L-E1-0h4kq"), entry(2, "ps60-TSLA-L-E1-0h4kr")], 1),
        ([entry(1, "ps60-TSLA-L-E1-0h4kq9x2mz"), entry(2, "ps60-TSLA-L-E1-0h4kr1c7p3", client_id=8)], 0),
        ([entry(1, "ps60-TSLA-L-E1-0h4kq9x2mz"), entry(2, "ps60-TSLA-S-E1-0h4kr1c7p3")], 0),
        ([entry(1, ""), entry(2, ""), entry(3, "mine"), entry(4, "mine")], 0),
    ],
)
def test_two_filled_entries_of_one_trade_are_found(entries: list[dict[str, Any]], expected: int) -> None:
    found = judge_log(Log([], entries), 1.0, Context())
    assert len(found.double_entries) == len(found.wrong(Bounds())) == expected


def test_only_requests_of_the_traders_count_as_touched() -> None:
    requests = [
        {"client_id": 7, "perm_id": 1, "order_ref": "", "what": "cancel"},
        {"client_id": 0, "perm_id": 2, "order_ref": "ps60-TSLA-L-S1-0h4kq9x2mz.0h4kq9x2n1", "what": "change"},
    ]
    found = judge_log(Log([], [], requests), 1.0, Context(client_ids={7}))
    assert found.touched == ["client 7: cancel of a manual order (1)"]
    assert judge_log(Log([], [], requests), 1.0, Context(client_ids={8})).touched == []


def test_the_gateway_logs_each_change_once() -> None:
    with RunningGateway("--speed", "1", "--start", "11:00", "--date", "2025-10-06") as gateway:
        gateway.ctl("trade", symbol="TSLA", side="BUY", shares=30)
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=30, stop=1.0)
        rows = read_rows(gateway.port)
    final = rows[-1]
    assert (final["held"], final["own"], final["protecting"], final["closing"]) == (30, 0, 30, {"0": 30})
    assert all(left != right for left, right in pairwise(rows))
    assert [one["time_s"] for one in rows] == sorted(one["time_s"] for one in rows)


def test_a_campaign_counts_what_a_gateway_logged() -> None:
    tally = Tally("a campaign")
    with RunningGateway("--speed", "1", "--start", "11:00", "--date", "2025-10-06") as gateway:
        gateway.ctl("trade", symbol="TSLA", side="BUY", shares=30)
        wait_for(lambda: judge(read_rows(gateway.port), time.time(), ["TSLA"]).longest_naked_s > 0.2)
        judge_gateway(tally, gateway, Context(managed=["TSLA"]), "here", Bounds(replacement=0.2))
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=30, stop=1.0)
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=30, stop=1.0)
        wait_for(lambda: judge(read_rows(gateway.port), time.time(), ["TSLA"]).longest_over_closing_s > 0.2)
        judge_gateway(tally, gateway, Context(managed=["TSLA"]), "there", Bounds(manual=0.2))
    assert (tally.unprotected, tally.wrong) == (1, 1)
    assert tally.naked_ms is not None
    assert tally.naked_ms > 200
    assert [text.split(" for ")[0] for text in tally.failures] == [
        "unprotected: here: TSLA: 30 shares naked",
        "wrong: there: TSLA: 30 shares over-closed",
    ]


def test_the_time_without_a_trader_ends_with_the_next_ones_agreement() -> None:
    assert without_trader(10.0, 11.0, agreed_s=12.5).until_s == 12.5
    assert without_trader(10.0, 11.0).until_s == 11.0 + START_S
    assert without_trader(10.0, 11.0).open_only
