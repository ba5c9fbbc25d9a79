"""`flatten`: pause durably, cancel entries, close every own position, verify. No other command removes stops."""

import argparse

from trader.cli.commands.operator_request import ask_trader, report_answer
from trader.config.sections import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `flatten`."""
    parser.add_argument("--json", action="store_true", help="the answer as JSON")


def run(args: argparse.Namespace, config: Config) -> int:
    """Ask the running trader, and wait until no own position is left."""
    answer = ask_trader(config, "flatten", {})
    text = "Flat: every own position is closed, entries are paused. Today's P&L: ${daily_pnl:.2f}.{note}"
    return report_answer(answer, "flatten", text, as_json=args.json)
