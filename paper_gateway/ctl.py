"""`python3 -m paper_gateway ctl`: the control commands from the command line.

Exit codes: 0 done, 1 refused, 2 wrong usage, 7 no gateway listens.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from paper_gateway.control_client import request
from paper_gateway.errors import ControlError, UnreachableError
from paper_gateway.faults import KINDS
from paper_gateway.options import DEFAULT_PORT

EXIT_REFUSED = 1
EXIT_UNREACHABLE = 7


def main(argv: Sequence[str]) -> int:
    """Send one command. Prints the answer to stdout as JSON, or an error and a hint to stderr."""
    given = vars(build_parser().parse_args(argv))
    port, command = given.pop("port"), given.pop("command")
    given.pop("json", None)
    arguments = {name: value for name, value in given.items() if value is not None}
    try:
        answer = request(port, command, **arguments)
    except ControlError as error:
        sys.stderr.write(f"{error.message}. {error.hint}".rstrip() + "\n")
        return EXIT_UNREACHABLE if isinstance(error, UnreachableError) else EXIT_REFUSED
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser, with one sub-command for each control command."""
    parser = argparse.ArgumentParser(prog="python3 -m paper_gateway ctl", description="Control a paper gateway.")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _queries(commands)
    _orders(commands)
    _market(commands)
    _connection(commands)
    return parser


def _queries(commands: Any) -> None:
    for name, text in (
        ("info", "gateway id, accounts, session time, clients"),
        ("truth", "positions, orders, executions, account"),
    ):
        commands.add_parser(name, help=text).add_argument("--json", action="store_true", help="the default")
    exposure = commands.add_parser("exposure", help="what was held, protected and closing after each change")
    exposure.add_argument("--since", type=int, default=0, help="the first row (default: 0)")
    quirk = commands.add_parser("quirk", help="behave as a real TWS may; without a name: list what is on")
    quirk.add_argument("name", nargs="?")
    quirk.add_argument("value", nargs="?")
    quirk.add_argument("--off", action="store_true", default=None)
    commands.add_parser("stop", help="end the gateway")
    commands.add_parser("speed", help="change the session's speed").add_argument("speed", type=float)


def _orders(commands: Any) -> None:
    trade = commands.add_parser("trade", help="enter an order manually, as in TWS")
    trade.add_argument("symbol")
    trade.add_argument("side", choices=("BUY", "SELL"))
    trade.add_argument("shares", type=int)
    trade.add_argument("--account")
    trade.add_argument("--limit", type=float, help="a resting order instead of one at the market")
    trade.add_argument("--stop", type=float)
    fill = commands.add_parser("fill", help="fill an order, whole or in part")
    fill.add_argument("order", help="permId or orderRef")
    fill.add_argument("--shares", type=int)
    fill.add_argument("--price", type=float)
    cancel = commands.add_parser("cancel", help="cancel an order manually, as in TWS")
    cancel.add_argument("order", help="permId or orderRef")
    reject = commands.add_parser("reject", help="reject the next order that matches")
    reject.add_argument("--symbol")
    reject.add_argument("--role", help="a text that the orderRef contains")
    reject.add_argument("--code", type=int)
    reject.add_argument("--text")
    repeat = commands.add_parser("repeat", help="send an execution again")
    repeat.add_argument("exec_id")
    correct = commands.add_parser("correct", help="correct an execution (.01 becomes .02)")
    correct.add_argument("exec_id")
    correct.add_argument("--price", type=float)
    correct.add_argument("--shares", type=int)


def _market(commands: Any) -> None:
    hold = commands.add_parser("hold", help="fill no orders of a symbol")
    hold.add_argument("symbol")
    hold.add_argument("--off", action="store_true", default=None)
    partial = commands.add_parser("partial", help="limit the next fill of a symbol to this many shares")
    partial.add_argument("symbol")
    partial.add_argument("shares", type=int)
    price = commands.add_parser("price", help="set the market price")
    price.add_argument("symbol")
    price.add_argument("price", type=float)


def _connection(commands: Any) -> None:
    drop = commands.add_parser("drop", help="close the clients' sockets")
    drop.add_argument("--client", type=int)
    drop.add_argument("--refuse", type=float, metavar="S", help="and close new ones for S seconds")
    silence = commands.add_parser("silence", help="stop sending one kind of message")
    silence.add_argument("kind", choices=(*KINDS, "all"))
    silence.add_argument("--for", type=float, metavar="S")
    silence.add_argument("--off", action="store_true", default=None)
    delay = commands.add_parser("delay", help="send one kind of message late")
    delay.add_argument("kind", choices=(*KINDS, "all"))
    delay.add_argument("ms", type=int, nargs="?")
    delay.add_argument("--off", action="store_true", default=None)
    code = commands.add_parser("code", help="send a system message such as 1100 to all clients")
    code.add_argument("code", type=int)
    code.add_argument("--text")
    restart = commands.add_parser("restart", help="restart as TWS does every night")
    restart.add_argument("--roll-back", type=int, metavar="N", help="lower the next valid ids by N")
    restart.add_argument("--down", type=float, metavar="S", help="and close new connections for S seconds")
    stick = commands.add_parser("stick", help="keep a client id in use after its socket is closed")
    stick.add_argument("client", type=int)
    stick.add_argument("--for", type=float, metavar="S")
