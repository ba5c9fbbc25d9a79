"""docs/GLOSSARY.md against the code: no public name contains a word that the glossary retires."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("trader", "state", "observers", "paper_gateway", "crashlab", "bench")
CODE = re.compile(r"`([^`]+)`")
NOTHING = "\u2013"


def rows(heading: str) -> list[list[str]]:
    """The table under a heading, a list of cells a row, without its head."""
    text = (ROOT / "docs" / "GLOSSARY.md").read_text(encoding="utf-8")
    part = re.split(r"^#", text.split(f"# {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


TERMS = rows("Glossary")
EXCEPTIONS = rows("Exceptions")
RETIRED = {word for row in TERMS for word in CODE.findall(row[2])}


def snake_case(name: str) -> str:
    """OrderSender -> order_sender, HTTPError -> http_error, MAX_LINES -> max_lines."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return parted.lower()


def declared(body: list[ast.stmt]) -> Iterator[str]:
    """The names that a module or a class assigns: constants, class attributes, fields."""
    for statement in body:
        targets: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def names_of(path: Path) -> Iterator[str]:
    """Folders and module, then classes, functions, parameters, constants and attributes; no local variables."""
    yield from path.relative_to(ROOT).with_suffix("").parts
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    yield from declared(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name
            yield from declared(node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def is_exception(name: str, where: str) -> bool:
    return any(
        fnmatchcase(name, pattern) and where.startswith(start)
        for patterns, starts, _ in EXCEPTIONS
        for pattern in CODE.findall(patterns)
        for start in CODE.findall(starts)
    )


def retired_names(package: str) -> set[str]:
    """`name in file: word` for each public name with a retired word."""
    found: set[str] = set()
    for path in sorted((ROOT / package).rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        for name in names_of(path):
            plain = snake_case(name)
            if name.startswith("_") or is_exception(plain, where):
                continue
            found |= {f"{name} in {where}: {word}" for word in set(plain.split("_")) & RETIRED}
    return found


def test_the_tables_are_whole() -> None:
    assert len(TERMS) > 20
    assert [row for row in TERMS + EXCEPTIONS if len(row) != 3 or not all(row)] == []
    assert {"memory", "books", "desk", "gate", "line", "watch", "hand", "settle", "words", "flip"} <= RETIRED
    assert [row[2] for row in TERMS if CODE.sub("", row[2]).strip(f", {NOTHING}")] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_has_a_retired_word(package: str) -> None:
    assert retired_names(package) == set()


def test_names_are_split_into_words() -> None:
    assert [snake_case(name) for name in ("OrderDesk", "LINE_LIMIT_BYTES", "is_ours", "JSONLines")] == [
        "order_desk",
        "line_limit_bytes",
        "is_ours",
        "json_lines",
    ]
