"""Mutation test: each of the planted faults must be noticed by the tests that are named with it.

A campaign that passes a broken program proves nothing. A mutant is one or two small edits of the source (see
`crashlab.edits`), applied to a temporary copy of the tree, with the tests that have to fail on it. A mutant whose
place is not found any more is an error, as is one that survives. `crashlab.planted` is the list.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from crashlab.edits import Edit, EditError, Function, apply
from crashlab.parallel import spread
from crashlab.report import ROOT, Tally

FAULT = "mutants"
COPIED = ("trader", "state", "observers", "paper_gateway", "crashlab", "tests", "scanner_output", "docs")
COPIED_FILES = ("trader.py", "trader.toml", "pyproject.toml", "Makefile", "README.md")
TIMEOUT_S = 120.0
_KILLED_BY = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
SOME_FAILED = 1  # pytest's exit code; with any other the tests did not run


@dataclass(frozen=True, slots=True)
class Mutant:
    """edits: each with the function that it changes. killers: files or tests, as pytest takes them."""

    name: str
    edits: tuple[tuple[Function, Edit], ...]
    killers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """killer: the first test that failed; problem: why the mutant was not killed, or could not be tried."""

    name: str
    killer: str = ""
    problem: str = ""


def mutate(mutants: list[Mutant], workers: int | None = None) -> Tally:
    """Try each; a mutant that survives, or cannot be applied, is counted as wrong."""
    tally = Tally(FAULT)
    with tally.timed():
        for verdict in spread(attempt, mutants, workers):
            tally.points += 1
            if verdict.problem:
                tally.fail("wrong", f"{verdict.name}: {verdict.problem}")
            else:
                tally.count("killed")
                tally.details.append(f"{verdict.name}: killed by {verdict.killer}")
    return tally


def attempt(mutant: Mutant) -> Verdict:
    """Apply one mutant to a copy of the tree and run its killers there."""
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    try:
        copy_tree(folder)
        if problem := plant(mutant, folder):
            return Verdict(mutant.name, problem=problem)
        return _run(mutant, folder)
    finally:
        shutil.rmtree(folder)


def copy_tree(target: Path) -> None:
    """Copy everything that the tests read, without caches."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for name in COPIED_FILES:
        if (ROOT / name).is_file():
            shutil.copy2(ROOT / name, target / name)


def plant(mutant: Mutant, folder: Path) -> str:
    """Apply the mutant's edits to the source in `folder`; why that was not possible, or an empty text."""
    try:
        for where, edit in mutant.edits:
            apply(where, edit, folder)
    except EditError as error:
        return f"{error}: the mutant has to follow the source"
    return ""


def _run(mutant: Mutant, folder: Path) -> Verdict:
    plain = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    command = [sys.executable, "-m", "pytest", *plain, *mutant.killers]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "TRADER_"))}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(mutant.name, problem=f"its tests did not end within {TIMEOUT_S:.0f} s")
    killer = _KILLED_BY.search(done.stdout)
    if done.returncode == SOME_FAILED and killer is not None:
        return Verdict(mutant.name, killer=killer[1])
    if done.returncode == 0:
        return Verdict(mutant.name, problem="it SURVIVED: a test is missing")
    output = done.stdout[-300:] + done.stderr[-300:]
    return Verdict(mutant.name, problem=f"pytest ended with {done.returncode}: {output}")
