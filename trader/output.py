"""What commands print: lines, tables, JSON, and errors as two sentences. Nothing printed controls the terminal."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from state.errors import TraderError
from trader.plain_text import json_printable, plain, printable


def say(text: str = "") -> None:
    """Print one line; a line end in the text does not begin a second one."""
    _write(plain(text, None))


def say_lines(texts: Iterable[str]) -> None:
    """Print each text as one line."""
    _write("\n".join(plain(text, None) for text in texts))


def say_block(text: str) -> None:
    """Print text with line ends of its own, such as a table. Texts of others in it must be plain already."""
    _write(printable(text))


def _write(text: str) -> None:
    """Print and flush. If standard output is closed or full, later output is dropped without an error."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError:  # a closed terminal or a full disk must not end the trader: it manages positions
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_json(value: Any) -> None:
    """A value as indented JSON on standard output."""
    _write(json_printable(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()))


def say_error(error: TraderError) -> None:
    """Two lines on standard error: what happened, and what to do."""
    sys.stderr.write(f"{plain(error.what, None)}\n{plain(error.hint, None)}\n")


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
    return plain(str(value), None)
