"""`adopt SYM`: take over a foreign position of the account, with a stop and estimated values."""

import argparse

from trader.cli.commands.operator_request import ask_trader, report_answer
from trader.config.sections import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `adopt`."""
    parser.add_argument("symbol", metavar="SYM", help="the symbol, as `status` shows it")
    parser.add_argument(
        "--stop", type=float, metavar="PRICE", help="the stop; default: its own stop, else 1 percent away"
    )
    parser.add_argument(
        "--target",
        type=float,
        action="append",
        metavar="PRICE",
        help="a target for a partial; repeat for more",
    )
    parser.add_argument("--yes", action="store_true", help="also with a --stop that triggers at once")
    parser.add_argument("--json", action="store_true", help="the answer as JSON")


def run(args: argparse.Namespace, config: Config) -> int:
    """Ask the running trader."""
    request = {"symbol": args.symbol, "stop": args.stop, "targets": args.target or [], "yes": args.yes}
    answer = ask_trader(config, "adopt", request)
    text = "{symbol}: {quantity:+d} shares are managed now; stop at {stop_price} (permId {stop_perm_id})."
    return report_answer(answer, "adopt", text, as_json=args.json)
