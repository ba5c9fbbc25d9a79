"""docs/COMMANDS.md and README.md against the parsers and the Makefile, both ways."""

import argparse
import contextlib
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest

from paper_gateway import ctl, options
from trader.cli.parser import COMMANDS, build_parser, command_parser
from trader.core.reconciliation.plan import Decision

ROOT = Path(__file__).resolve().parents[2]
TRADER = "python3 trader.py"
GATEWAY = "python3 -m paper_gateway"
CTL = f"{GATEWAY} ctl"
SHARED = "Flags of every command"
FLAG = re.compile(r"`(--[a-z][a-z-]*)")


def sections() -> dict[str, str]:
    """COMMANDS.md by its headings."""
    text = (ROOT / "docs" / "COMMANDS.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


SECTIONS = sections()


def table_of(section: str) -> list[str]:
    """The rows of the tables of a section, without their headings."""
    rows = [line for line in SECTIONS[section].splitlines() if line.startswith("| `")]
    assert rows, f"{section} has no table"
    return rows


def documented_flags(section: str) -> set[str]:
    return {flag for row in table_of(section) for flag in FLAG.findall(row.split("|")[1])}


def examples(section: str) -> list[str]:
    """The command lines of a section's code blocks."""
    blocks = re.findall(r"^```\n(.*?)^```$", SECTIONS[section], flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    """The long flags of a parser itself, without those of its commands."""
    return {text for action in parser._actions for text in action.option_strings if text.startswith("--")}


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def parsed(parser: argparse.ArgumentParser, text: list[str]) -> None:
    """Parse an example; it exits with 2 if it is wrong, and with 0 after --help."""
    with contextlib.ExitStack() as stack:
        if "--help" in text:
            stack.enter_context(pytest.raises(SystemExit, match="0"))
        parser.parse_args(text)


def test_every_command_has_its_section_and_no_other_has() -> None:
    titles = [title for title in SECTIONS if title not in (SHARED, GATEWAY, CTL)]
    assert sorted(titles) == sorted(COMMANDS)
    assert commands_of(build_parser()).keys() == COMMANDS.keys()


def test_the_shared_flags_are_those_that_every_command_has() -> None:
    common = set.intersection(*(flags_of(command_parser(name)) for name in COMMANDS))
    assert documented_flags(SHARED) == common - {"--json"}


@pytest.mark.parametrize("name", COMMANDS)
def test_flags_of_a_command(name: str) -> None:
    own = flags_of(command_parser(name)) - documented_flags(SHARED)
    rows = [line for line in SECTIONS[name].splitlines() if line.startswith("| `--")]
    assert {flag for row in rows for flag in FLAG.findall(row.split("|")[1])} == own
    used = " ".join(examples(name))
    assert {flag for flag in own if flag not in used} == set(), "without an example"


@pytest.mark.parametrize("line", [line for name in (SHARED, *COMMANDS) for line in examples(name)])
def test_examples_of_the_trader_are_understood(line: str) -> None:
    assert line.startswith(TRADER), line
    text = shlex.split(line.removeprefix(TRADER))
    if not text or text[0].startswith("--"):
        text.insert(0, "run")
    parsed(build_parser(), text)


def test_the_gateways_flags() -> None:
    parser = options._parser()
    assert documented_flags(GATEWAY) == flags_of(parser)
    used = " ".join(examples(GATEWAY))
    assert {flag for flag in flags_of(parser) if flag not in used} == set(), "without an example"
    for line in examples(GATEWAY):
        parsed(parser, shlex.split(line.removeprefix(GATEWAY)))


def test_the_gateways_control_commands() -> None:
    parser = ctl.build_parser()
    commands = commands_of(parser)
    rows = {row.split("`")[1].split()[0]: row for row in table_of(CTL)}
    assert rows.keys() == commands.keys()
    lines = examples(CTL)
    for name, command in commands.items():
        flags = flags_of(command) - {"--help"}
        assert set(FLAG.findall(rows[name])) == flags, name
        used = " ".join(line for line in lines if f" {name}" in line)
        assert used, f"{name} has no example"
        assert {flag for flag in flags if flag not in used} == set(), f"{name}: without an example"
    for flag in flags_of(parser):
        assert f"`{flag}" in SECTIONS[CTL], flag
    for line in lines:
        parsed(parser, shlex.split(line.removeprefix(CTL)))


def test_the_exit_codes_are_those_of_the_errors() -> None:
    from state import errors as of_state
    from trader import errors as of_trader

    kinds = [*vars(of_state).values(), *vars(of_trader).values()]
    used = {kind.exit_code for kind in kinds if isinstance(kind, type) and issubclass(kind, of_state.TraderError)}
    text = (ROOT / "docs" / "COMMANDS.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d) \|", text, flags=re.MULTILINE)}
    assert documented == used | {0}


def test_make_targets_are_in_the_readme() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):.*## ", makefile, flags=re.MULTILINE)) - {"help"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`make ([a-z-]+)`", readme))
    assert named == targets


DOCS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_files_and_tests_that_are_named_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    written = {"logs", "archive", "quarantine", "journal", "checkpoints", "sessions", "recovery", "bars"}
    for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+(?:/|\.py|\.md|\.toml|/\.[a-z]+))`", text):
        top = name.split("/")[0]
        if "/" in name and top not in written:
            assert (ROOT / name).exists() or (ROOT / "paper_gateway" / name).exists(), name
    sources = "\n".join(test.read_text(encoding="utf-8") for test in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_[a-z0-9_]+)`", text):
        assert f"def {name}(" in sources, name


def test_every_invariant_names_its_proof() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|(.*)$", text, flags=re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 18))
    assert all("`test_" in row for _, row in rows)


def test_every_decision_is_in_the_recovery_table() -> None:
    text = (ROOT / "docs" / "RECOVERY.md").read_text(encoding="utf-8")
    named = {row.split("|")[4].strip().strip("`") for row in text.splitlines() if row.count("|") > 6} - {"decision"}
    assert {name for name in named if name.strip("-")} == set(get_args(Decision))
