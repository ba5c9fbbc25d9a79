"""The command line of the lab: run the campaigns, print the table, write it as JSON. Exit code 1 for failures.

python -m crashlab quick [--seed N] [--only storm,...]        minutes, bounded
python -m crashlab full --minutes 60 [--seed N] [--only ...]  every point once, then the storm until the end
python -m crashlab quirks [--quirk NAME] [--step NAME] ...    the quirk matrix, see crashlab.quirk_matrix
"""

from __future__ import annotations

import argparse
import logging
import platform
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crashlab import (
    filesystems,
    fuzz,
    groups,
    hostile,
    mutants,
    planted,
    powerloss,
    quirk_report,
    storm,
    syscalls,
    trader_calls,
)
from crashlab.report import DEFAULT_PATH, Tally, table, write_json

QUICK_STORM_MINUTES = 1.0
QUICK_TRADER_CALLS = 24


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to try. full: every case, else a sample. minutes: of the storm. seed: of all random choices."""

    full: bool
    minutes: float
    seed: int


Part = Callable[[Plan], list[Tally]]


def _powerloss(plan: Plan) -> list[Tally]:
    return [*powerloss.snapshots(every=50 if plan.full else 500, kills=200 if plan.full else 15), groups.groups()]


def _storm(plan: Plan) -> list[Tally]:
    return [storm.storm(plan.minutes, plan.seed)]


PARTS: dict[str, Part] = {
    "powerloss": _powerloss,
    "filesystems": lambda plan: filesystems.file_systems(every=1 if plan.full else 2),
    "syscalls": lambda plan: syscalls.state_calls(),
    "trader": lambda plan: [trader_calls.trader_calls(None if plan.full else QUICK_TRADER_CALLS, plan.seed)],
    "mutants": lambda plan: [mutants.mutate(planted.PLANTED)],
    "fuzz": lambda plan: fuzz.fuzz(20_000 if plan.full else 2_000, plan.seed),
    "hostile": lambda plan: [
        hostile.hostile_frames(5_000 if plan.full else 400, plan.seed),
        hostile.corrupted_answers(60 if plan.full else 8, plan.seed),
    ],
    "storm": _storm,
}
"""The parts in the order they run. The storm is last: in a full campaign it takes the remaining time."""


def main(argv: Sequence[str]) -> int:
    """Run the requested parts; returns the exit code."""
    if argv[:1] == ["quirks"]:
        return quirk_report.main(argv[1:])
    given = _parser().parse_args(argv)
    logging.disable(logging.CRITICAL)  # the faults provoke errors, and the program logs them
    seed = given.seed if given.seed is not None else random.randrange(1_000_000)
    wanted = given.only.split(",") if given.only else list(PARTS)
    began = time.monotonic()
    rows: list[Tally] = []
    sys.stdout.write(f"crash lab: {given.mode}, seed {seed}, {', '.join(wanted)}\n")
    for name in wanted:
        sys.stdout.write(f"[{time.monotonic() - began:5.0f} s] {name} ...\n")
        sys.stdout.flush()
        left = max(0.5, given.minutes - (time.monotonic() - began) / 60)
        plan = Plan(given.mode == "full", left if given.mode == "full" else QUICK_STORM_MINUTES, seed)
        rows += PARTS[name](plan)
    bad = sum(row.bad for row in rows)
    write_json(rows, given.json, mode=given.mode, seed=seed, python=platform.python_version(), bad=bad)
    sys.stdout.write(f"\n{table(rows)}\n\n")
    sys.stdout.write(f"{'NOTHING WAS LOST' if not bad else f'{bad} FAILURES'}; kept as {given.json}\n")
    if bad:
        sys.stdout.write(f"Try the same again: python -m crashlab {given.mode} --seed {seed}\n")
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m crashlab", description="Inject faults, and check that nothing is lost."
    )
    parser.add_argument("mode", choices=("quick", "full"), help="a bounded sample, or every case")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="duration of a full campaign (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, help="of all random choices (default: a new one, which is printed)")
    parser.add_argument("--only", type=_parts, metavar="PART,...", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--json", type=Path, default=DEFAULT_PATH, metavar="FILE", help="the report file")
    return parser


def _parts(text: str) -> str:
    unknown = [name for name in text.split(",") if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
