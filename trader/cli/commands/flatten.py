"""`flatten`: pause durably, cancel entries, close every position of ours, verify. The only way that stops go."""

import argparse

from trader.cli.commands.operator_request import ask_trader, report_answer
from trader.config.sections import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `flatten`."""
    parser.add_argument("--json", action="store_true", help="the answer as JSON")


def run(args: argparse.Namespace, config: Config) -> int:
    """Ask the running trader, and wait until it is flat."""
    answer = ask_trader(config, "flatten", {})
    text = "Flat: every position of ours is closed, entries are paused. Today's P&L: ${daily_pnl:.2f}."
    return report_answer(answer, "flatten", text, as_json=args.json)
