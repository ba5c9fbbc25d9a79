"""The command line: parses, loads the configuration, runs one command, and is the only place that exits.

Each command is a module of `trader.cli.commands` with `add_arguments(parser)` and `run(args, config) -> int`. They
are imported when they are used, so that a restart pays for no other command.
"""

import argparse
import difflib
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from state.errors import TraderError
from trader.config.loader import load_config
from trader.errors import UsageError
from trader.output import say_error

COMMANDS = {
    "run": "trade a session, resuming today's state if there is one (the default)",
    "status": "what the files say of positions, stops, attempts and limits, also while the trader is dead",
    "sessions": "the runs of the trader: list them, show one",
    "checkpoints": "kept copies of the state: list, show, stats, prune, restore",
    "orders": "every order's life from intent to its last status, from the journal",
    "report": "a day's trades, equity curve, filters, crashes and recoveries",
    "adopt": "take over a position of the account that is not ours",
    "pause": "no new entries, durably; stops and exits go on",
    "unpause": "allow entries again",
    "flatten": "pause, cancel entries, close every position of ours, verify",
    "doctor": "check port, account, clock, permissions, disk and versions",
}
SHARED_FLAGS: dict[str, tuple[str, str]] = {  # flag -> (setting, help)
    "--logs-dir": ("files.logs_dir", "where the state, journal and logs are (default: logs)"),
    "--scanner-dir": ("files.scanner_dir", "where scanner_results_YYYYMMDD.json are (default: scanner_output)"),
    "--gateway": ("gateway.endpoint", "embedded, or HOST:PORT of TWS or IB Gateway"),
    "--client-id": ("gateway.client_id", "API client id; stops can be managed only under the id that sent them"),
}


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong as every other error is told, instead of printing the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}.", f"See `python3 {self.prog} --help`.")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; `docs/COMMANDS.md` is held to it by a test."""
    parser = _Parser(prog="trader.py", description="A crash-safe live trader for Interactive Brokers.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, help_text in COMMANDS.items():
        _declare(commands.add_parser(name, help=help_text, description=help_text), name)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code. An error is a sentence of what happened and one of what to do."""
    try:
        args = _parse(_with_command(argv))
        overrides = {key: value for key, value in vars(args).items() if "." in key and value is not None}
        config = load_config(args.config, os.environ, overrides)
        if args.command != "run" or args.reconcile_only:
            _keep_tries_quiet()
        code: int = _module(args.command).run(args, config)
    except TraderError as error:
        say_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away: not our error
        return 0
    return code


def _keep_tries_quiet() -> None:
    """A command that answers and ends has no log; a failed try would stand between the sentences of its error."""
    for name in ("trader.runtime.connection", "trader.broker"):
        logging.getLogger(name).addHandler(logging.NullHandler())


def _with_command(argv: Sequence[str]) -> list[str]:
    """The arguments with `run` before them where they begin with a flag of it. Raises UsageError."""
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        return ["run", *argv]
    if argv[0] in COMMANDS or argv[0].startswith("-"):
        return list(argv)
    near = difflib.get_close_matches(argv[0], COMMANDS, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"The commands are {', '.join(COMMANDS)}."
    raise UsageError(f"trader.py has no command {argv[0]!r}.", hint)


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Only the named command's module is imported, unless help on all of them is wanted."""
    name = arguments[0]
    if name not in COMMANDS:
        return build_parser().parse_args(arguments)
    args = command_parser(name).parse_args(arguments[1:])
    args.command = name
    return args


def command_parser(name: str) -> argparse.ArgumentParser:
    """The command line of one command."""
    parser = _Parser(prog=f"trader.py {name}", description=COMMANDS[name])
    _declare(parser, name)
    return parser


def _declare(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings (default: trader.toml)")
    for flag, (setting, text) in SHARED_FLAGS.items():
        parser.add_argument(flag, dest=setting, metavar=flag.lstrip("-").upper(), help=text)
    _module(name).add_arguments(parser)


def _module(name: str) -> "CommandModule":
    module: CommandModule = importlib.import_module(f"trader.cli.commands.{name}")  # type: ignore[assignment]  # checked by use
    return module


class CommandModule:
    """What a module of trader.cli.commands offers."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Declare the command's own flags; a dest with a dot in it overrides that setting."""

    @staticmethod
    def run(args: argparse.Namespace, config: object) -> int:
        """Do it; returns the exit code."""
        return 0
