"""docs/FAILURES.md against the code and the tests: every code has its row, and every row's tests exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ("trader", "state", "observers", "paper_gateway", "crashlab", "bench", "tests")
# f01 to f39, g01 to g39, p01 to p19, i1 to i19, as a word or as a part of a test's name.
CODE = re.compile(r"(?<![A-Za-z0-9])(?:[fg][0-3][0-9]|p[01][0-9]|i1?[0-9])(?![A-Za-z0-9])")
PAGE = (ROOT / "docs" / "FAILURES.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([fgip]\d+) \| (.+) \| (.+) \|$", PAGE, flags=re.MULTILINE)
SOURCES = {
    path: path.read_text(encoding="utf-8")
    for folder in PROGRAM
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path != Path(__file__)
}
TESTS = {
    name
    for path, text in SOURCES.items()
    if path.name.startswith("test_")
    for name in re.findall(r"def (test_\w+)\(", text)
}


def test_the_families_are_complete() -> None:
    codes = [code for code, _, _ in ROWS]
    assert len(set(codes)) == len(codes)
    expected = [f"f{n:02}" for n in range(1, 25)] + [f"p{n:02}" for n in range(1, 20)]
    expected += [f"i{n}" for n in range(1, 18)]
    assert [code for code in codes if not code.startswith("g")] == expected


def test_every_code_that_is_used_has_its_row() -> None:
    documented = {code for code, _, _ in ROWS}
    used = {
        f"{code} in {path.relative_to(ROOT)}"
        for path, text in SOURCES.items()
        for code in CODE.findall(text)
        if code not in documented
    }
    assert used == set()


@pytest.mark.parametrize(("code", "sentence", "tests"), ROWS, ids=[row[0] for row in ROWS])
def test_each_row_is_one_sentence_with_tests_that_exist(code: str, sentence: str, tests: str) -> None:
    assert sentence.endswith("."), code
    named = re.findall(r"`(\w+)`", tests)
    assert named, code
    assert set(named) <= TESTS


def test_every_failure_has_a_test_of_its_name() -> None:
    """So that `pytest -k f15` finds it. Invariants 2 and 3 are held by the rows of the decision table."""
    named = {code for name in TESTS for code in CODE.findall(name)}
    assert {code for code, _, _ in ROWS} - named == {"i2", "i3"}
