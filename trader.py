#!/usr/bin/env python3
"""`python3 trader.py`: runs trader.cli, under the Python of .venv where this one lacks the packages."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV_PYTHON = ROOT / ".venv" / "bin" / "python"
NEEDED = ("ib_insync", "msgspec", "pytz", "dateutil")


def hand_over() -> None:
    """Run again under .venv's Python where the packages cannot be imported; without a .venv name `make setup`."""
    from importlib.util import find_spec

    if all(find_spec(name) is not None for name in NEEDED):
        return
    if VENV_PYTHON.exists() and Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        os.execv(VENV_PYTHON, [str(VENV_PYTHON), str(ROOT / "trader.py"), *sys.argv[1:]])  # noqa: S606 - no shell wanted
    sys.exit("The trader's packages are not installed. Run `make setup`, then `python3 trader.py` again.")


if __name__ == "__main__":
    hand_over()
    from trader.cli.parser import main

    sys.exit(main(sys.argv[1:]))
