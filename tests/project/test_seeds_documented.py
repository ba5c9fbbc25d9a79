"""docs/SEEDS.md against the files that it names, the parsers, the Makefile and the tests."""

import re
import shlex
from pathlib import Path

import pytest

from trader.cli.parser import COMMANDS, command_parser

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "docs" / "SEEDS.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| feature "))
]
NOTHING = "\u2013"
CODE = re.compile(r"`([^`]+)`")


def test_each_row_is_whole() -> None:
    assert len(ROWS) > 100
    assert [row for row in ROWS if len(row) != 4 or not all(row)] == []


def test_each_feature_is_in_a_file_that_is_there() -> None:
    named = [path for row in ROWS for path in CODE.findall(row[1])]
    assert [path for path in named if not (ROOT / path).is_file()] == []
    assert [row[0] for row in ROWS if not CODE.findall(row[1]) and row[1] != NOTHING] == []


@pytest.mark.parametrize("shown", sorted({row[2] for row in ROWS if row[2] != NOTHING}))
def test_each_command_is_one(shown: str) -> None:
    (command,) = CODE.findall(shown)
    first, *rest = shlex.split(command)
    if first == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif first == "pytest":
        tests = re.findall(r"^(?:async )?def (test_\w+)", (ROOT / rest[0]).read_text(), re.MULTILINE)
        wanted = rest[rest.index("-k") + 1].split(" or ") if "-k" in rest else ["test_"]
        assert [word for word in wanted if not any(word in name for name in tests)] == []
    else:
        assert first in COMMANDS
        command_parser(first).parse_args(rest)
