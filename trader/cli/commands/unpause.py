"""`unpause`: allow entries again. Without a running trader it applies to the next start."""

import argparse

from trader.cli.commands.pause import set_paused
from trader.config.sections import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `unpause`."""
    parser.add_argument("--json", action="store_true", help="the answer as JSON")


def run(args: argparse.Namespace, config: Config) -> int:
    """Tell the running trader, or leave a request for the next start."""
    return set_paused(args, config, paused=False, reason="by the operator")
