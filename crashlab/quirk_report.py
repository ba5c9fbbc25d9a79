"""The command `quirks` of the lab: runs the matrix on all cores, prints its table, writes it as JSON."""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from crashlab import quirk_cases
from crashlab.parallel import spread
from crashlab.quirk_cases import Case
from crashlab.quirk_matrix import Cell, Job, Outcome, run_cell
from crashlab.quirk_steps import STEPS
from crashlab.report import ROOT

DEFAULT_PATH = ROOT / "build" / "quirk-report.json"
SEED = 1
LEGEND = "longest naked time in ms; + with a kill; ✗ broken, see below; (n) not possible under this quirk"


def main(argv: Sequence[str]) -> int:
    """Run the requested cells; returns the exit code: 1 if a bound is broken or a step was not completed."""
    given = _parser().parse_args(argv)
    seed = given.seed if given.seed is not None else random.randrange(1_000_000) if given.pairs else SEED
    try:
        cases = quirk_cases.pairs(given.pairs, seed) if given.pairs else quirk_cases.chosen(given.quirk)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    jobs = list(jobs_of(cases, given.step or list(STEPS), seed))
    sys.stdout.write(f"quirk matrix: {len(cases)} cases, {len(jobs)} cells, seed {seed}\n")
    cells = list(_progress(jobs, given.workers))
    broken = [cell for cell in cells if cell.broken]
    _write_json(cells, given.json, seed=seed, python=platform.python_version(), broken=len(broken))
    sys.stdout.write(f"\n{table(cells)}\n\n")
    sys.stdout.write(f"{len(broken)} of {len(cells)} cells are broken; kept as {given.json}\n")
    return 1 if broken else 0


def jobs_of(cases: Iterable[Case], steps: Iterable[str], seed: int) -> Iterator[Job]:
    """Each step of each case, without and with a kill."""
    wanted = list(steps)
    for case in cases:
        for step in wanted:
            for kill in (False, True):
                yield Job(case, step, kill, seed)


def _progress(jobs: Sequence[Job], workers: int | None) -> Iterator[Cell]:
    """The cells in their order, each with a line about it."""
    began = time.monotonic()
    for number, cell in enumerate(spread(run_cell, jobs, workers), 1):
        told = "; ".join(cell.broken) if cell.broken else cell.outcome
        name = f"{cell.case}, {cell.step}{', killed' if cell.kill else ''}"
        took = time.monotonic() - began
        sys.stdout.write(f"[{took:5.0f} s] {number}/{len(jobs)} {'✗' if cell.broken else '✓'} {name}: {told}\n")
        sys.stdout.flush()
        yield cell


def table(cells: Iterable[Cell]) -> str:
    """One row a case, one column a step, without and with a kill; below it what is broken or not possible."""
    cells = list(cells)
    columns = list(dict.fromkeys((cell.step, cell.kill) for cell in cells))
    by_place = {(cell.case, cell.step, cell.kill): cell for cell in cells}
    names = list(dict.fromkeys(cell.case for cell in cells))
    width = max((len(name) for name in names), default=10)
    head = "  ".join(f"{step}{'+' if kill else ''}".rjust(9) for step, kill in columns)
    lines = [f"{'quirk':<{width}}  {head}", "-" * (width + 11 * len(columns))]
    for name in names:
        shown = [_figure(by_place.get((name, *column))).rjust(9) for column in columns]
        lines.append(f"{name:<{width}}  {'  '.join(shown)}")
    lines += [f"({LEGEND})", *_totals(cells), *_broken(cells), *_reasons(cells)]
    return "\n".join(lines)


def _figure(cell: Cell | None) -> str:
    if cell is None:
        return ""
    figure = f"{cell.naked_ms:.0f}"
    figure = f"({figure})" if cell.outcome == "not possible" else figure
    return f"✗ {figure}" if cell.broken else figure


def _totals(cells: list[Cell]) -> list[str]:
    outcomes = ", ".join(
        f"{outcome} {sum(cell.outcome == outcome for cell in cells)}" for outcome in get_args(Outcome)
    )
    sums = {
        "reversals": sum(cell.reversals for cell in cells),
        "double entries": sum(cell.double_entries for cell in cells),
        "touched orders": sum(cell.touched for cell in cells),
        "states that differ": sum(bool(cell.differences) for cell in cells),
    }
    naked = max((cell.naked_ms for cell in cells), default=0.0)
    over = max((cell.over_closing_ms for cell in cells), default=0.0)
    shown = ", ".join(f"{number} {what}" for what, number in sums.items())
    return [f"{outcomes}; longest naked {naked:.0f} ms, longest over-closing {over:.0f} ms; {shown}"]


def _broken(cells: list[Cell]) -> list[str]:
    return [
        f"✗ {cell.case}, {cell.step}{', killed' if cell.kill else ''}: {'; '.join(cell.broken)}"
        for cell in cells
        if cell.broken
    ]


def _reasons(cells: list[Cell]) -> list[str]:
    """Each reason why a step was not possible, once a case."""
    found = {
        (cell.case, cell.step): cell.reason for cell in cells if cell.outcome == "not possible" and not cell.broken
    }
    return [f"  {case}, {step}: {reason}" for (case, step), reason in found.items()]


def _write_json(cells: list[Cell], path: Path, **about: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {**about, "cells": [asdict(cell) for cell in cells]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m crashlab quirks",
        description="Try each step of a trade under each quirk of the paper gateway, and judge what was naked.",
    )
    parser.add_argument("--quirk", action="append", default=[], help="only this one; repeat for more")
    parser.add_argument("--step", action="append", choices=tuple(STEPS), help="only this one; repeat for more")
    parser.add_argument("--pairs", type=int, default=0, metavar="N", help="N random pairs of quirks instead")
    parser.add_argument("--seed", type=int, help="of the pairs and of the moments of the kills")
    parser.add_argument("--workers", type=int, help="cells at a time (default: one a core)")
    parser.add_argument("--json", type=Path, default=DEFAULT_PATH, metavar="FILE", help="the report file")
    return parser
