"""What `trader/startup.py` saves: the imports of a start with each of its tricks and without it, in turns.

The child that measures a trick's absence replaces the function in `trader.startup` by one that does nothing, so the
trader itself needs no switch for it.
"""

from __future__ import annotations

import compileall
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench.measure import Call, Method, Row, interleave

ROOT = Path(__file__).resolve().parent.parent
GROUP = "the imports of a start, with and without its tricks"
WHOLE = "interpreter and imports"
# What is imported before the trader connects; the client library comes last, as in a start.
IMPORTS = (
    "import os, trader.cli.parser, trader.cli.commands.run, trader.runtime.app, trader.broker.ibkr.broker\n"
    "os._exit(0)"  # how the interpreter tidies up is no part of a start
)
# Trick of trader/startup.py -> what a child runs first to be without it.
WITHOUT = {
    "parts_of": "import contextlib, trader.startup\n"
    "trader.startup.parts_of = lambda *_, **__: contextlib.nullcontext()\n",
}
SAVES_MIN_MS = 15.0
"""A trick that saves less is not worth its code."""


def rows(folder: Path, rounds: int) -> list[Row]:
    """The imports as they are, without each trick, and the milliseconds that it saves."""
    for part in ("trader", "state"):  # as `make setup` leaves them
        compileall.compile_dir(ROOT / part, quiet=1)
    ways = [_way(WHOLE, ""), *(_way(name, code) for name, code in WITHOUT.items())]
    found = interleave(ways, folder, rounds, count=1)
    made = [Row(GROUP, WHOLE, _ms(found.values[WHOLE]), "ms")]
    for name in WITHOUT:
        saved = [off - on for off, on in zip(found.values[name], found.values[WHOLE], strict=True)]
        made += [
            Row(GROUP, f"without {name}", _ms(found.values[name]), "ms", WHOLE, found.ratio(name, WHOLE)),
            Row(GROUP, f"saved by {name}", _ms(saved), "ms", target=SAVES_MIN_MS, better="high"),
        ]
    return made


def _ms(seconds: list[float]) -> float:
    return median(seconds) * 1e3


def _way(name: str, before: str) -> Method:
    """A fresh interpreter that runs `before`, imports what a start imports, and ends."""

    @contextmanager
    def opened(_: Path) -> Iterator[Call]:
        command = [sys.executable, "-c", before + IMPORTS]
        yield lambda: subprocess.run(command, cwd=ROOT, check=True)

    return Method(name, opened)
