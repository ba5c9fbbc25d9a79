"""The command `crash-safe-trader` of an installed package: the same command line as `python3 trader.py`."""

import sys

from trader.cli.parser import main as run_command_line


def main() -> None:
    """Run the command that the arguments name and exit with its code."""
    sys.exit(run_command_line(sys.argv[1:]))
