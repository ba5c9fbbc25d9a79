"""What commands print: lines, tables, JSON, and errors as two sentences."""

import os
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from state.errors import TraderError


def say(text: str = "") -> None:
    """Print a line and flush it. If standard output is closed or full, later output is dropped without an error."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError:  # a closed terminal or a full disk must not end the trader: it manages positions
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_json(value: Any) -> None:
    """A value as indented JSON on standard output."""
    say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def say_error(error: TraderError) -> None:
    """Two lines on standard error: what happened, and what to do."""
    sys.stderr.write(f"{error.what}\n{error.hint}\n")


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Headings and rows in aligned columns: numbers to the right, text to the left."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max([len(heading), *(len(row[i]) for row in cells)]) for i, heading in enumerate(headings)]
    lines = ["  ".join(heading.ljust(width) for heading, width in zip(headings, widths, strict=True)).rstrip()]
    lines.append("  ".join("-" * width for width in widths))
    for row, texts in zip(rows, cells, strict=True):
        parts = [
            text.rjust(width) if isinstance(value, int | float) else text.ljust(width)
            for value, text, width in zip(row, texts, widths, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return "\n".join(lines)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return str(value)
