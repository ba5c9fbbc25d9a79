"""The command line: parses it, loads the settings, runs one command and returns its exit code.

Each command is a module of `trader.cli.commands` with `add_arguments(parser)` and `run(args, config) -> int`. Only
the module of the given command is imported: a start does not wait for the others.
"""

import argparse
import difflib
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Protocol, cast

from state.errors import TraderError
from trader.config.loader import load_config
from trader.config.sections import Config
from trader.errors import UsageError
from trader.output import say_error

COMMANDS = {
    "run": "trade a session, resuming today's state if there is one (the default)",
    "status": "positions, stops, attempts and limits from the files, also while no trader runs",
    "sessions": "the runs of the trader: list them, show one",
    "checkpoints": "copies of the state: list, show, stats, prune, restore",
    "orders": "each order from its intent to its last status, from the journal",
    "report": "a day's trades, equity curve, filters, crashes and recoveries",
    "adopt": "take over a foreign position of the account",
    "pause": "no new entries, durably; stops and exits go on",
    "unpause": "allow entries again",
    "flatten": "pause, cancel entries, close every own position, verify",
    "doctor": "check port, account, clock, permissions, disk and versions",
}
SHARED_FLAGS: dict[str, tuple[str, str]] = {  # flag -> (setting, help)
    "--logs-dir": ("files.logs_dir", "folder of the state, journal and logs (default: logs)"),
    "--scanner-dir": ("files.scanner_dir", "folder of scanner_results_YYYYMMDD.json (default: scanner_output)"),
    "--gateway": ("gateway.endpoint", "embedded, or HOST:PORT of TWS or IB Gateway"),
    "--client-id": ("gateway.client_id", "API client id; IBKR lets only the id that sent an order change it"),
}


class CommandModule(Protocol):
    """What each module of trader.cli.commands offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own flags. A dest of the form `section.key` overrides that setting."""

    def run(self, args: argparse.Namespace, config: Config) -> int:
        """Run the command; returns the exit code. Raises TraderError."""


class _Parser(argparse.ArgumentParser):
    """Raises a UsageError instead of printing the whole usage and exiting."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}.", f"See `python3 {self.prog} --help`.")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line. A test compares `docs/COMMANDS.md` with it."""
    parser = _Parser(prog="trader.py", description="A crash-safe live trader for Interactive Brokers.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, help_text in COMMANDS.items():
        _declare(commands.add_parser(name, help=help_text, description=help_text), name)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code. An error is printed as what happened and what to do."""
    try:
        args = _parse(_with_command(argv))
        overrides = {key: value for key, value in vars(args).items() if "." in key and value is not None}
        config = load_config(args.config, os.environ, overrides)
        if args.command != "run" or args.reconcile_only:
            _mute_connection_attempts()
        code: int = _module(args.command).run(args, config)
    except TraderError as error:
        say_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader closed the pipe: no error
        return 0
    return code


def _mute_connection_attempts() -> None:
    """Without a log, Python would print each failed attempt to connect before the command's error."""
    for name in ("trader.connection", "trader.broker"):
        logging.getLogger(name).addHandler(logging.NullHandler())


def _with_command(argv: Sequence[str]) -> list[str]:
    """The arguments, with `run` put first if they begin with a flag. Raises UsageError for an unknown command."""
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        return ["run", *argv]
    if argv[0] in COMMANDS or argv[0].startswith("-"):
        return list(argv)
    near = difflib.get_close_matches(argv[0], COMMANDS, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"The commands are {', '.join(COMMANDS)}."
    raise UsageError(f"trader.py has no command {argv[0]!r}.", hint)


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Parse with the parser of the given command; `--help` without a command needs them all."""
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


def _module(name: str) -> CommandModule:
    return cast("CommandModule", importlib.import_module(f"trader.cli.commands.{name}"))
