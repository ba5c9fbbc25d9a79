"""The results of the campaigns: rows, as a table and as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_PATH = ROOT / "build" / "crash-report.json"
KEPT_FAILURES = 20  # messages of each row; more failures are only counted


@dataclass
class Tally:
    """One row: a fault and its results.

    points: cases tried. lost: acknowledged events that were gone. resurrected: unacknowledged events that were
    read after new ones had been written. unprotected: managed positions without their stop for longer than is
    allowed. wrong: all other failures: a state that differs from the gateway's, an order sent twice, a traceback, a
    lost file. naked_ms: the longest time that shares were naked; None if it was not measured.
    skipped: why nothing could be tried here, or empty. failures: the first messages.
    """

    fault: str
    points: int = 0
    lost: int = 0
    resurrected: int = 0
    unprotected: int = 0
    wrong: int = 0
    naked_ms: float | None = None
    seconds: float = 0.0
    skipped: str = ""
    note: str = ""
    counts: dict[str, int] = field(default_factory=dict)  # other numbers that show how much was tried
    details: list[str] = field(default_factory=list)  # messages below the table
    failures: list[str] = field(default_factory=list)

    @property
    def bad(self) -> int:
        return self.lost + self.resurrected + self.unprotected + self.wrong

    def fail(self, kind: str, message: str) -> None:
        """Count one failure. kind: lost, resurrected, unprotected or wrong."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(f"{kind}: {message}")

    def count(self, what: str, by: int = 1) -> None:
        """Add to one of `counts`."""
        self.counts[what] = self.counts.get(what, 0) + by

    def saw_naked(self, seconds: float) -> None:
        """Keep the longest naked time."""
        self.naked_ms = max(self.naked_ms or 0.0, seconds * 1000)

    def add(self, other: Tally) -> None:
        """Add the results of another process for the same fault."""
        for name in ("points", "lost", "resurrected", "unprotected", "wrong"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.naked_ms is not None:
            self.saw_naked(other.naked_ms / 1000)
        for what, number in other.counts.items():
            self.count(what, number)
        self.details += other.details
        self.failures = (self.failures + other.failures)[:KEPT_FAILURES]

    @contextmanager
    def timed(self) -> Iterator[Tally]:
        """Add the duration of the block to `seconds`."""
        began = time.monotonic()
        try:
            yield self
        finally:
            self.seconds += time.monotonic() - began


def table(rows: Iterable[Tally]) -> str:
    """The rows as text, then the sum, then the messages."""
    rows = list(rows)
    width = max([len(row.fault) for row in rows], default=10)
    head = f"{'fault':<{width}}  {'tried':>9}  {'lost':>5}  {'resurrected':>11}  {'unprotected':>14}  {'wrong':>5}"
    lines = [head + "  seconds", "-" * (len(head) + 9)]
    for row in rows:
        if row.skipped:
            lines.append(f"{row.fault:<{width}}  not tried: {row.skipped}")
            continue
        beside = ", ".join(filter(None, [row.note, *(f"{n:,} {what}" for what, n in row.counts.items())]))
        lines.append(f"{_line(row, width)}  {beside}".rstrip())
    total = Tally("all", seconds=sum(row.seconds for row in rows))
    for row in rows:
        total.add(row)
    total.counts, total.details = {}, []
    lines += ["-" * (len(head) + 9), _line(total, width)]
    lines += [f"  {row.fault}: {message}" for row in rows for message in row.details]
    lines += [f"✗ {row.fault}: {message}" for row in rows for message in row.failures]
    return "\n".join(lines)


def _line(row: Tally, width: int) -> str:
    naked = "" if row.naked_ms is None else f", {row.naked_ms:,.0f} ms"
    return (
        f"{row.fault:<{width}}  {row.points:>9,}  {row.lost:>5}  {row.resurrected:>11}"
        f"  {f'{row.unprotected}{naked}':>14}"
        f"  {row.wrong:>5}  {row.seconds:>7.1f}"
    )


def write_json(rows: Iterable[Tally], path: Path = DEFAULT_PATH, **about: object) -> None:
    """Write the rows as JSON. about: how they were made (seed, minutes, Python)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {**about, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
