"""Formats the rows as a table for the terminal and as the page docs/SPEED.md."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from bench.measure import Ratio, Row

HEAD = """# Speed

What crash safety costs, and how long a restart takes. Times differ between machines, ratios much less. So each row
is measured against its floor or its peer in the same interleaved run. A ratio is the median of the rounds, with the
quartiles as its spread. Repeat the measurement with

    make bench

which prints this table and writes this page and the plot. Measured on a {where}.

![durable events and restarts against their floors and peers](speed.svg)

"""
COLUMNS = "| | measured | ratio | against | target |\n|---|---|---|---|---|\n"
NOTES = """## How to read it

- The floor of a durable event is one `pwrite` and one `fdatasync` into a file of full size. No durable write can
  take less. The journal adds encoding, a checksum and the chain of checksums.
- Every peer writes the same event with the same encoder, and is warm: its files have reached their size. Raw
  sqlite3 in WAL mode with synchronous=FULL is about as fast as the journal. The journal is used because a person
  can read it with `less`, because it tells a torn tail from damage, and because the snapshot beside it is one JSON
  file.
- A state file without a journal needs a whole snapshot per event, or `json.dump` with a rename. The latter is not
  durable: without a flush a power loss takes the last seconds.
- The floor of a restart is what any program on ib_insync has to do: start the interpreter, import the library,
  connect and sync. The trader imports only the parts of ib_insync that it uses (`trader/startup.py`). The time that
  this saves is spent on lock, replay, reconciliation and protection.
- Market data: ib_insync decodes every message into its tickers; the trader decodes only the messages it uses.
- The rows in milliseconds and in events a second depend on the load of the machine. "nothing is written" is the
  delay of the event loop without any work of the trader, under the same disk load.
- If SQLAlchemy Core takes less than twice the floor, the target of half its time cannot be reached.
- Replay time is mostly checking: each event is decoded, its checksum and chain are verified, it is decoded as its
  type and applied; about 2 µs in all.
- Taking in an execution: the engine's handling of the execution and its commission, without disk and socket. A
  comparison: from the answers of IBKR to the decision. A restart after executions: they come while the trader is
  dead, so that it reads and records all of them; its floor is the same client, which only reads them.
- A row marked *missed* did not reach its target. The number is as measured.
- A restart uses the bytecode that `make setup` compiles. Without it, and with `PYTHONDONTWRITEBYTECODE` set,
  compiling the trader's hundred modules takes as long again as importing them.
"""


def table(rows: Iterable[Row]) -> str:
    """Plain text, with one block for each group."""
    lines = []
    for group, members in groupby(rows, key=lambda row: row.group):
        lines.append(group)
        for row in members:
            numbers = f"{row.name:<52} {_value(row):>18}  {_ratio(row.ratio):>22}"
            lines.append(f"  {numbers}  {_against(row):<48} {_verdict(row)}".rstrip())
        lines.append("")
    return "\n".join(lines)


def page(rows: Iterable[Row], where: str) -> str:
    """The page docs/SPEED.md. where: a description of machine and disk."""
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
