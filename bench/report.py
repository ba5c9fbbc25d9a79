"""The rows as a table for the terminal and as the page docs/SPEED.md."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from bench.measure import Ratio, Row

HEAD = """# Speed

What crash safety costs, and what a restart takes. Times travel badly between machines, ratios travel well: each
row is measured against its floor or its peer in the same interleaved run, as the median of the rounds with the
quartiles as its spread. Do it again with

    make bench

which prints this table and writes this page and the plot. Measured on a {where}.

![durable events and restarts against their floors and peers](speed.svg)

"""
COLUMNS = "| | measured | ratio | against | target |\n|---|---|---|---|---|\n"
NOTES = """## How to read it

- The floor of a durable event is one `pwrite` and one `fdatasync` into a file filled beforehand: no program that
  keeps its word can do with less. The journal adds encoding, a checksum and a chain.
- Every peer writes the same event, encoded by the same encoder, and is warm: its files have their size. Raw
  sqlite3 in WAL mode with synchronous=FULL is about as fast as the journal; the journal is used because a person
  can read it with `less`, a torn tail is told from damage, and the snapshot beside it is one JSON file.
- The whole snapshot per event, and `json.dump` with a rename, are what a state file without a journal has to do.
  The latter promises nothing: without a flush the last seconds are gone with the power.
- A restart's floor is what any program on ib_insync has to do: start the interpreter, import the library, connect
  and sync. The trader imports only the parts of ib_insync that it uses (`trader/startup.py`), which is how it
  can afford to lock, replay, reconcile and protect besides.
- Market data: ib_insync decodes every message into its tickers; the trader's line decodes what the trader reads.
- The rows in milliseconds and events a second depend on how busy the machine is; "nothing is written" is how late
  the loop was without any work of the trader's, beside the same noise.
- Half of SQLAlchemy Core is out of reach where Core takes less than twice the floor: no write is faster than that.
- Replay is bounded by checking: each event is decoded, followed in its chain by its checksum, decoded as its kind
  and applied, about 2 µs in all.
- A row that says *missed* is one: the number stands as it was measured.
- A restart runs the bytecode that `make setup` leaves. Where there is none and Python may keep none
  (`PYTHONDONTWRITEBYTECODE`), compiling the trader's hundred modules costs as much again as importing them.
"""


def table(rows: Iterable[Row]) -> str:
    """Plain text, a block a group."""
    lines = []
    for group, members in groupby(rows, key=lambda row: row.group):
        lines.append(group)
        for row in members:
            numbers = f"{row.name:<52} {_value(row):>18}  {_ratio(row.ratio):>22}"
            lines.append(f"  {numbers}  {_against(row):<48} {_verdict(row)}".rstrip())
        lines.append("")
    return "\n".join(lines)


def page(rows: Iterable[Row], where: str) -> str:
    """The page docs/SPEED.md; `where` describes machine and disk."""
    parts = [HEAD.format(where=where)]
    for group, members in groupby(rows, key=lambda row: row.group):
        parts.append(f"## {group[0].upper()}{group[1:]}\n\n{COLUMNS}")
        for row in members:
            cells = (row.name.strip(), _value(row), _ratio(row.ratio), _against(row), _verdict(row))
            parts.append(f"| {' | '.join(cells)} |\n")
        parts.append("\n")
    return "".join(parts) + NOTES


def _value(row: Row) -> str:
    if row.value is None:
        return "not measured"
    digits = 0 if row.value >= 1000 else 1
    return f"{row.value:,.{digits}f} {row.unit}"


def _ratio(ratio: Ratio | None) -> str:
    return f"{ratio.middle:.2f} ({ratio.low:.2f} to {ratio.high:.2f})" if ratio is not None else ""


def _against(row: Row) -> str:
    return f"of {row.against}" if row.ratio is not None else row.note


def _verdict(row: Row) -> str:
    if row.target is None:
        return ""
    limit = f"{'≤' if row.better == 'low' else '≥'} {row.target:,g}"
    return f"{limit}: {'reached' if row.reached else 'missed' if row.reached is False else 'not measured'}"
