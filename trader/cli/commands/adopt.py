"""`adopt SYM`: take over a foreign position of the account, with a stop and estimated values."""

import argparse

from trader.cli.commands.operator_request import ask_trader, report_answer
from trader.config.sections import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `adopt`."""
    parser.add_argument("symbol", metavar="SYM", help="the symbol, as `status` shows it")
    parser.add_argument("--json", action="store_true", help="the answer as JSON")


def run(args: argparse.Namespace, config: Config) -> int:
    """Ask the running trader."""
    answer = ask_trader(config, "adopt", {"symbol": args.symbol})
    text = "{symbol}: {quantity:+d} shares are managed now; stop at {stop_price} (permId {stop_perm_id})."
    return report_answer(answer, "adopt", text, as_json=args.json)
