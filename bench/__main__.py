"""`python -m bench`: measure, print the table; with --write also write docs/SPEED.md and docs/speed.svg."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import disk, disk_rows, durable, executions, market_data, restart, startup
from bench.chart import chart
from bench.measure import Row
from bench.report import page, table

DOCS = Path(__file__).resolve().parent.parent / "docs"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured. calls: per round and method. lag_s: duration of one measurement of the loop's delay."""

    rounds: int = 15
    calls: int = 60
    restarts: int = 11
    events: int = 10_000
    executions: int = 500
    many: int = 10_000
    lag_s: float = 4.0
    group_events: int = 64_000
    trades: int = 40_000


QUICK = Effort(
    rounds=2, calls=3, restarts=1, events=200, executions=4, many=30, lag_s=0.2, group_events=640, trades=5000
)


def groups(effort: Effort, folder: Path) -> dict[str, Callable[[], list[Row]]]:
    """The groups of rows, by their name for --only."""
    few = max(2, effort.rounds // 3)
    return {
        "durable": lambda: durable.rows(folder / "durable", effort.rounds, effort.calls),
        "group": lambda: disk_rows.group_commit(folder / "group", few, effort.group_events),
        "snapshot": lambda: disk_rows.snapshot(folder / "snapshot", effort.rounds, effort.calls),
        "lag": lambda: disk_rows.loop_lag(folder / "lag", few, effort.lag_s),
        "replay": lambda: disk_rows.replay(folder / "replay", effort.rounds, effort.events),
        "restart": lambda: restart.rows(folder / "restart", effort.restarts, effort.events, effort.executions),
        "executions": lambda: executions.rows(folder / "executions", effort.rounds, effort.calls, effort.many),
        "restart-executions": lambda: executions.restarts(folder / "meanwhile", effort.restarts, effort.many),
        "startup": lambda: startup.rows(folder / "startup", effort.restarts),
        "market-data": lambda: market_data.rows(effort.rounds, effort.trades),
    }


def measure(effort: Effort, only: Sequence[str] = (), *, mount: bool = True) -> tuple[list[Row], str]:
    """The rows of the named groups (default: all), and a description of the machine and disk."""
    found: list[Row] = []
    with disk.place(mount=mount) as place:
        for name, work in groups(effort, place.folder).items():
            if not only or name in only:
                sys.stderr.write(f"measuring {name} ...\n")
                found += work()
        return found, f"{disk.machine()}; {place.description}"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 1 if --check was given and a target is missed, else 0."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a short run to see the table; the numbers mean nothing"
    )
    parser.add_argument("--only", action="append", default=[], metavar="GROUP", help="repeat for several")
    parser.add_argument(
        "--no-mount", action="store_true", help="measure in the temporary folder, without a mounted ext4"
    )
    parser.add_argument("--write", action="store_true", help="also write docs/SPEED.md and docs/speed.svg")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    given = parser.parse_args(arguments)
    unknown = set(given.only) - set(groups(QUICK, DOCS))
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}; there are {', '.join(groups(QUICK, DOCS))}")
    rows, where = measure(QUICK if given.quick else Effort(), given.only, mount=not given.no_mount)
    sys.stdout.write(f"{where}\n\n{table(rows)}\n")
    if given.write:
        (DOCS / "SPEED.md").write_text(page(rows, where), encoding="utf-8")
        (DOCS / "speed.svg").write_text(chart(rows), encoding="utf-8")
    return 1 if given.check and any(row.reached is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
