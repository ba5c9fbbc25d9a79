"""The quirk matrix: its cases, its table, and a few of its cells."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crashlab import __main__ as command_line
from crashlab import quirk_cases, quirk_matrix, quirk_report
from crashlab.quirk_cases import BY_NAME, CASES, Case, chosen, pair, pairs, why_not_possible
from crashlab.quirk_matrix import Cell, Job, run_cell
from crashlab.quirk_steps import STEPS, step_of
from paper_gateway.quirks import QUIRKS, known

SEED = 20251006


@pytest.mark.parametrize(
    ("case", "step", "kill"),
    [
        ("none", "entry", True),
        ("none", "partial", True),
        ("notice=399", "entry", False),
        ("modify-early-echo=0.3", "trail", False),
        ("purge=1", "flatten", True),
        ("times=dash", "adopt", False),
    ],
)
def test_a_cell_keeps_the_bounds(case: str, step: str, kill: bool) -> None:
    cell = run_cell(Job(BY_NAME[case], step, kill, SEED))
    assert (cell.outcome, cell.broken) == ("done", [])
    assert len(cell.spans) == int(kill)


def test_a_step_that_is_not_completed_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quirk_matrix, "LIMIT_S", 1.0)
    cell = run_cell(Job(Case("nothing exists", ("swallow-orders=all",)), "flatten", kill=False, seed=SEED))
    assert cell.outcome == "failed"
    assert "not completed within 1 s" in cell.broken[0]


def test_every_quirk_has_a_case_or_a_reason() -> None:
    tried = {quirk.partition("=")[0] for case in CASES for quirk in case.quirks}
    assert tried | quirk_cases.LEFT_OUT.keys() == {quirk.name for quirk in QUIRKS}
    assert tried & quirk_cases.LEFT_OUT.keys() == set()
    assert len(BY_NAME) == len(CASES)
    for case in CASES:
        assert set(case.early) <= set(case.quirks)
        for quirk in case.quirks:
            name, _, value = quirk.partition("=")
            assert known(name).check(value)


def test_what_is_not_possible_has_a_reason() -> None:
    for (case, step), why in quirk_cases.NOT_POSSIBLE.items():
        assert (case in BY_NAME, step in STEPS, bool(why)) == (True, True, True), (case, step)
    assert quirk_cases.NOT_POSSIBLE.keys() >= quirk_cases.NAKED_ALLOWED
    assert not why_not_possible(BY_NAME["none"], "entry")
    both = pair(BY_NAME["none"], BY_NAME["stale"])
    assert why_not_possible(both, "trail") == why_not_possible(BY_NAME["stale"], "trail")


def test_cases_are_chosen_by_their_own_name_or_that_of_a_quirk() -> None:
    assert chosen([]) == list(CASES)
    assert [case.name for case in chosen(["ref-length"])] == ["ref-length=20", "ref-length=32"]
    assert [case.name for case in chosen(["ref-length=20"])] == ["ref-length=20"]
    with pytest.raises(ValueError, match="there is no case 'ref-lenght'"):
        chosen(["ref-lenght"])


def test_a_seed_always_gives_the_same_pairs() -> None:
    found = pairs(40, 7)
    assert found == pairs(40, 7) != pairs(40, 8)
    assert len({case.name for case in found}) == 40
    for case in found:
        names = [quirk.partition("=")[0] for quirk in case.quirks]
        assert len(names) == len(set(names)), "one quirk has one value"
        assert "none" not in case.parts


def test_a_full_exit_without_prices_is_that_of_the_end_of_the_day() -> None:
    assert step_of("exit", far_price=True) is not step_of("exit", far_price=False)
    assert step_of("trail", far_price=True) is step_of("trail", far_price=False)


CELLS = [
    Cell("none", "trail", kill=False, outcome="done", naked_ms=12.4),
    Cell("none", "trail", kill=True, outcome="failed", naked_ms=4012.0, broken=["TSLA: 5 shares naked"]),
    Cell("stale", "trail", kill=False, outcome="not possible", reason="no price"),
]


def test_the_table_shows_what_is_broken_and_what_is_not_possible() -> None:
    shown = quirk_report.table(CELLS)
    assert shown.splitlines()[2].split() == ["none", "12", "✗", "4012"]
    assert shown.splitlines()[3].split() == ["stale", "(0)"]
    assert "✗ none, trail, killed: TSLA: 5 shares naked" in shown
    assert "stale, trail: no price" in shown
    assert "longest naked 4012 ms" in shown


@pytest.fixture
def without_cells(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Cell]], None]:
    """Replaces the cells that are tried."""

    def give(cells: list[Cell]) -> None:
        def spread(*_: Any) -> Iterator[Cell]:
            return iter(cells)

        monkeypatch.setattr(quirk_report, "spread", spread)

    return give


@pytest.mark.parametrize(("cells", "code"), [(CELLS, 1), ([CELLS[0], CELLS[2]], 0)])
def test_the_command_fails_if_anything_is_broken(
    cells: list[Cell], code: int, tmp_path: Path, without_cells: Callable[[list[Cell]], None]
) -> None:
    without_cells(cells)
    path = tmp_path / "report.json"
    assert command_line.main(["quirks", "--step", "trail", "--json", str(path)]) == code
    kept = json.loads(path.read_text())
    assert (kept["broken"], len(kept["cells"])) == (code, len(cells))


def test_an_unknown_quirk_is_a_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["quirks", "--quirk", "nothing"]) == 2
    assert "there is no case 'nothing'" in capsys.readouterr().err
