"""A small part of the storm, its random choices, and the report of all campaigns."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from crashlab import __main__ as command_line
from crashlab import faults, storm
from crashlab.compare import sent_twice
from crashlab.report import Tally, table, write_json
from paper_gateway.quirks import known as known_quirk

SEED = 20251006


def test_after_a_short_storm_state_and_truth_agree(nothing_lost: Callable[..., None]) -> None:
    tally = storm.one_round(SEED, 1, steps=5)
    nothing_lost(tally)
    assert tally.naked_ms is not None, "the exposure log was judged"
    assert tally.counts["sessions"] == 1
    assert tally.counts["entries"] > 0


def test_the_same_seed_draws_the_same_faults() -> None:
    assert faults.draw(7, 3, 200) == faults.draw(7, 3, 200)
    assert faults.draw(7, 3, 200) != faults.draw(8, 3, 200)
    known = {*faults.FAULTS, *faults.PROCESS_FAULTS}
    assert {step.fault for step in faults.draw(7, 3, 600)} == known - faults.NOT_YET.keys()
    assert {step.kill for step in faults.draw(7, 3, 200)} == {True, False}


def test_what_is_not_withstood_yet_is_known_and_has_a_reason() -> None:
    known = {*faults.FAULTS, *faults.PROCESS_FAULTS, *(f"quirk {quirk}" for quirk in faults.QUIRKS)}
    assert faults.NOT_YET.keys() <= known
    assert all(faults.NOT_YET.values())
    for quirk in faults.QUIRKS:
        name, _, value = quirk.partition("=")
        assert known_quirk(name).check(value)


@pytest.mark.parametrize(
    ("fault", "choose", "expected"),
    [
        ("drop", 0.0, 0.7),
        ("outage", 0.0, 0.0),
        ("silence", 0.0, 0.0),
        ("silence", 0.99, None),
        ("partial", 0.0, None),
    ],
)
def test_only_faults_that_keep_the_trader_from_acting_excuse_it(
    fault: str, choose: float, expected: float | None
) -> None:
    step = faults.Step(fault, choose, amount=0.7, wait_s=0.1, kill=False, kill_after_s=0.0, down_s=0.0)
    assert faults.unreachable_s(step) == expected


def test_orders_that_were_sent_twice_are_found() -> None:
    entry = {"order_ref": "ps60-TSLA-L-E1-0h4kq9x2mz", "perm_id": 1}
    truth = {"open_orders": [entry], "completed_orders": [], "executions": [entry | {"perm_id": 2}]}
    assert sent_twice(truth, []) == ["ps60-TSLA-L-E1-0h4kq9x2mz has the permIds [1, 2]"]
    signal = ("TSLA", "LONG", "2025-10-06T09:46:00-04:00")
    assert sent_twice({name: [] for name in truth}, [signal, signal]) == [f"the signal {signal} was taken 2 times"]


def test_the_report_counts_and_says_what_failed(tmp_path: Path) -> None:
    good, bad = Tally("good", points=2_000, note="of 3"), Tally("bad", points=1)
    bad.fail("lost", "event 7")
    good.count("kills", 5)
    good.saw_naked(0.25)
    good.add(Tally("part", naked_ms=120.0))
    shown = table([good, bad, Tally("absent", skipped="no strace")])
    assert "0, 250 ms" in shown, "the longest naked time"
    assert "2,001" in shown
    assert "of 3, 5 kills" in shown
    assert "not tried: no strace" in shown
    assert "✗ bad: lost: event 7" in shown
    write_json([good, bad], tmp_path / "report.json", seed=1)
    kept = json.loads((tmp_path / "report.json").read_text())
    assert (kept["seed"], kept["rows"][1]["lost"]) == (1, 1)


def test_a_failure_is_exit_code_1_and_says_how_to_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Tally("planted", points=1)
    bad.fail("unprotected", "TSLA")
    monkeypatch.setitem(command_line.PARTS, "planted", lambda _: [bad])
    monkeypatch.setattr(logging, "disable", lambda _: None)
    code = command_line.main(["quick", "--only", "planted", "--seed", "5", "--json", str(tmp_path / "r.json")])
    assert code == 1
    assert "python -m crashlab quick --seed 5" in capsys.readouterr().out


def test_a_part_that_does_not_exist_is_a_wrong_usage() -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["quick", "--only", "nothing"])
