"""The gateway's command line: parsing and checks."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

from paper_gateway.accounts import OpeningPosition
from paper_gateway.errors import ControlError, UsageError
from paper_gateway.market.symbols import SYMBOL
from paper_gateway.quirks import Quirks

DEFAULT_PORT = 17497
DEFAULT_DATE = date(2025, 10, 6)
DEFAULT_START = time(9, 44)
_ACCOUNT = re.compile(r"D[UF]\d{4,10}")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one gateway process. start: time of day in US/Eastern; None for the market's default."""

    port: int
    replay: Path | None
    speed: float
    start: time | None
    date: date
    seed: int
    accounts: tuple[str, ...]
    cash: float
    positions: tuple[OpeningPosition, ...]
    pacing: bool
    executions_of: str
    quirks: Quirks
    symbols: tuple[str, ...]
    log: Path | None


def parse(argv: Sequence[str]) -> Options:
    """Parse the flags. Exits with 2 on a wrong flag; raises UsageError for a positions file that cannot be used."""
    given = _parser().parse_args(argv)
    accounts = tuple(dict.fromkeys(given.account or ["DU1234567"]))
    return Options(
        port=given.port,
        replay=given.replay,
        speed=given.speed,
        start=given.start,
        date=given.date,
        seed=given.seed,
        accounts=accounts,
        cash=given.cash,
        positions=read_positions(given.positions, accounts) if given.positions else (),
        pacing=given.pacing,
        executions_of=given.executions_of,
        quirks=_quirks(given.quirk or []),
        symbols=tuple(symbol for several in given.symbols or () for symbol in several),
        log=given.log,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m paper_gateway",
        description="A simulated TWS on loopback: the TWS socket protocol and a simulated market. Not IBKR.",
        epilog="Control a running one with: python3 -m paper_gateway ctl --help",
    )
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help="0 for any free port (default %(default)s)"
    )
    parser.add_argument("--replay", type=Path, metavar="DIR", help="replay SYM.csv files of 1-minute bars")
    parser.add_argument("--speed", type=_positive, default=1.0, help="session seconds per second (default 1)")
    parser.add_argument("--start", type=_time, metavar="HH:MM[:SS]", help="session time to begin at, US/Eastern")
    parser.add_argument("--date", type=_date, default=DEFAULT_DATE, help="trading date of the synthetic day")
    parser.add_argument("--seed", type=int, default=1, help="seed of the synthetic day (default 1)")
    parser.add_argument("--account", type=_account, action="append", help="repeat for several (default DU1234567)")
    parser.add_argument("--cash", type=_positive, default=100_000.0, help="USD in each account (default 100000)")
    parser.add_argument("--positions", type=Path, metavar="FILE", help="JSON list of opening positions")
    parser.add_argument("--pacing", action="store_true", help="enforce IBKR's historical data limits")
    parser.add_argument(
        "--executions-of",
        choices=("all", "own"),
        default="all",
        help="the executions that a filter with client id 0 selects (default all)",
    )
    parser.add_argument(
        "--quirk",
        action="append",
        metavar="NAME[=VALUE]",
        help="behave as a real TWS may, see docs/GATEWAY.md; repeat for several",
    )
    parser.add_argument(
        "--symbols",
        type=_symbols,
        action="append",
        metavar="SYM,SYM",
        help="stocks to know besides the listed ones; repeat for more",
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="log to FILE, rotated")
    return parser


def _quirks(texts: Sequence[str]) -> Quirks:
    try:
        return Quirks.parse(texts)
    except ControlError as error:
        raise UsageError(error.message, error.hint) from None


def read_positions(file: Path, accounts: Sequence[str]) -> tuple[OpeningPosition, ...]:
    """Read a JSON list of {symbol, quantity, avg_cost[, account]}. Raises UsageError naming file and entry."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"the positions file {file} cannot be read: {error}", "give a JSON list") from None
    if not isinstance(entries, list):
        raise UsageError(f"the positions file {file} is not a JSON list", "write [{symbol, quantity, avg_cost}]")
    positions = [_opening(entry, f"{file}, entry {number}", accounts) for number, entry in enumerate(entries, 1)]
    if len({(one.account, one.symbol) for one in positions}) < len(positions):
        raise UsageError(f"the positions file {file} names a symbol twice for one account", "keep one of them")
    return tuple(positions)


def _opening(entry: Any, where: str, accounts: Sequence[str]) -> OpeningPosition:
    hint = "write {symbol, quantity (whole, signed, not 0), avg_cost (above 0)[, account]}"
    if not isinstance(entry, dict):
        raise UsageError(f"{where} is not an object", hint)
    symbol, quantity, cost = entry.get("symbol"), entry.get("quantity"), entry.get("avg_cost")
    account = entry.get("account", accounts[0])
    if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol):
        raise UsageError(f"{where}: {symbol!r} is not a stock symbol", hint)
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity == 0:
        raise UsageError(f"{where}: quantity {quantity!r} is not a whole number of shares", hint)
    if not isinstance(cost, int | float) or isinstance(cost, bool) or not math.isfinite(cost) or cost <= 0:
        raise UsageError(f"{where}: avg_cost {cost!r} is not a price", hint)
    if account not in accounts:
        raise UsageError(f"{where}: account {account!r} is not one of {', '.join(accounts)}", hint)
    return OpeningPosition(account, symbol, quantity, float(cost))


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is not a port")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number greater than 0")
    return number


def _time(text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a time such as 09:45") from None


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a date such as 2025-10-06") from None


def _symbols(text: str) -> tuple[str, ...]:
    symbols = tuple(part.strip() for part in text.split(","))
    wrong = [symbol for symbol in symbols if not SYMBOL.fullmatch(symbol)]
    if wrong:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is not a stock symbol such as TSLA or BRK B")
    return symbols


def _account(text: str) -> str:
    if not _ACCOUNT.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text} is not a paper account such as DU1234567")
    return text
