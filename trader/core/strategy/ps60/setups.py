"""The scanner's records: each becomes a `Setup`, or is skipped with the reason.

The file's format and the target formulas are in `docs/RULES.md`; `trader.runtime.scanner_file` reads it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from state.domain.model import Side
from trader.config.checks import SYMBOL
from trader.config.sections import UniverseRules
from trader.errors import ScannerError

FILE_LIMIT_BYTES = 16 * 1024 * 1024
RECORD_LIMIT = 10_000
FARTHEST_TARGET = 10.0  # a target farther from its pivot than so many ranges is not used
LEAST_PRICE = 0.01
MOST_PRICE = 2_000_000.0  # above every US stock, and far below the limit of the state file
TEXT_LIMIT = 200


class Setup(msgspec.Struct, frozen=True):
    """One symbol's plan for the day; prices in dollars, support < resistance, targets in order."""

    symbol: str
    resistance: float
    support: float
    target1: float
    target2: float
    target3: float
    downside1: float
    downside2: float
    score: float
    atr_pct: float | None = None  # of the daily bars, percent of the price
    close: float | None = None
    volume: float | None = None
    risk_reward: float | None = None
    reason: str = ""

    def pivot(self, side: Side) -> float:
        """The price whose break opens a trade: resistance for LONG, support for SHORT."""
        return self.resistance if side == "LONG" else self.support

    def targets(self, side: Side) -> tuple[float, float, float]:
        """Three targets, nearest first. A scan has two for SHORT; the third is support - 1.618 x range."""
        if side == "LONG":
            return self.target1, self.target2, self.target3
        third = self.support - 1.618 * (self.resistance - self.support)
        return self.downside1, self.downside2, max(LEAST_PRICE, min(round(third, 4), self.downside2))

    def target1_of(self, side: Side) -> float:
        """The first target on `side`."""
        return self.targets(side)[0]


class Skipped(msgspec.Struct, frozen=True):
    """A record that is not traded: its symbol, or `record N` where it has none, and why."""

    symbol: str
    why: str


class SetupList(msgspec.Struct, frozen=True):
    """The contents of one scanner's file. missing: symbols of `universe.symbols` that are not in it."""

    setups: tuple[Setup, ...]
    skipped: tuple[Skipped, ...]
    path: Path
    missing: tuple[str, ...] = ()

    def get(self, symbol: str) -> Setup | None:
        """The setup of `symbol`, if there is one."""
        return next((setup for setup in self.setups if setup.symbol == symbol), None)


class _Unusable(Exception):  # noqa: N818 - not an error of the program: it carries why a record is skipped
    """Why a record is skipped."""


def parse_setups(data: bytes | str, path: Path, rules: UniverseRules) -> SetupList:
    """The setups of one scanner's file; if there are more than `max_symbols`, those with the best scores.

    An invalid record is skipped and named in `skipped`. Of two records of a symbol the first counts. An empty
    object, `{}`, means no setups. Raises ScannerError if the file as a whole cannot be used.
    """
    setups: list[Setup] = []
    skipped: list[Skipped] = []
    seen: set[str] = set()
    for number, record in enumerate(_records(data, path), start=1):
        name = f"record {number}"
        try:
            symbol = _symbol(record)
            name = symbol
            if symbol in seen:
                raise _Unusable(f"it comes twice (record {number}); the first one counts")
            seen.add(symbol)
            setups.append(_setup(symbol, record, rules))
        except _Unusable as reason:
            skipped.append(Skipped(name, str(reason)))
    kept = sorted(setups, key=lambda setup: -setup.score)[: rules.max_symbols]
    for setup in setups:
        if setup not in kept:
            skipped.append(Skipped(setup.symbol, f"more than universe.max_symbols ({rules.max_symbols})"))
    missing = tuple(symbol for symbol in rules.symbols if symbol not in seen)
    return SetupList(tuple(setup for setup in setups if setup in kept), tuple(skipped), path, missing)


def _records(data: bytes | str, path: Path) -> list[Any]:
    hint = "Run the scanner again."
    if len(data) > FILE_LIMIT_BYTES:
        raise ScannerError(f"{path} is larger than {FILE_LIMIT_BYTES // 2**20} MiB.", hint)
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        records = json.loads(text)
    except UnicodeDecodeError as error:
        raise ScannerError(f"{path} is not UTF-8: {error.reason} at byte {error.start}.", hint) from error
    except RecursionError as error:
        raise ScannerError(f"{path} is nested too deeply.", hint) from error
    except ValueError as error:
        raise ScannerError(f"{path} is not valid JSON: {error}.", hint) from error
    if records == {}:
        return []
    if not isinstance(records, list):
        raise ScannerError(f"{path} holds a {type(records).__name__}, not a list of records.", hint)
    if len(records) > RECORD_LIMIT:
        raise ScannerError(f"{path} has {len(records)} records, more than {RECORD_LIMIT}.", hint)
    return records


def _symbol(record: object) -> str:
    if not isinstance(record, dict):
        raise _Unusable(f"it is a {type(record).__name__}, not an object")
    symbol = record.get("symbol")
    if not isinstance(symbol, str) or not SYMBOL.fullmatch(symbol.strip().upper()):
        raise _Unusable(f"its symbol is {str(symbol)[:20]!r}")
    return symbol.strip().upper()


def _setup(symbol: str, record: dict[str, Any], rules: UniverseRules) -> Setup:
    if symbol in rules.avoid_symbols:
        raise _Unusable("it is one of universe.avoid_symbols")
    if rules.symbols and symbol not in rules.symbols:
        raise _Unusable("it is not one of the symbols asked for")
    resistance, support = _price(record, "resistance"), _price(record, "support")
    if support >= resistance:
        raise _Unusable(f"its support {support:g} is not below its resistance {resistance:g}")
    if resistance - support < LEAST_PRICE - 1e-9:
        raise _Unusable(f"its range, {support:g} to {resistance:g}, is less than a cent")
    score = _number(record.get("score"))
    if score is None:
        raise _Unusable("it has no score")
    if score < rules.min_score:
        raise _Unusable(f"its score {score:g} is below universe.min_score ({rules.min_score:g})")
    target1, target2, target3 = _targets(record, resistance, support)
    downside1, downside2 = _downsides(record, resistance, support)
    return Setup(
        symbol=symbol,
        resistance=resistance,
        support=support,
        target1=target1,
        target2=target2,
        target3=target3,
        downside1=downside1,
        downside2=downside2,
        score=score,
        atr_pct=_number(record.get("atr%")),
        close=_number(record.get("close")),
        volume=_number(record.get("volume")),
        risk_reward=_number(record.get("risk_reward")),
        reason=str(record.get("breakout_reason") or "")[:TEXT_LIMIT],
    )


def _targets(record: dict[str, Any], resistance: float, support: float) -> tuple[float, ...]:
    """The scan's three targets if they are in order and near enough, else all three by the formulas."""
    height = resistance - support
    given = [_number(record.get(key)) for key in ("target1", "target2", "target3")]
    if _in_order([resistance, *given], lambda price: price <= resistance + FARTHEST_TARGET * height):
        return tuple(price for price in given if price is not None)
    return tuple(round(resistance + factor * height, 4) for factor in (0.5, 1.0, 1.618))


def _downsides(record: dict[str, Any], resistance: float, support: float) -> tuple[float, ...]:
    """The scan's two downsides if they are in order and near enough, else both by the formulas, at least a cent."""
    height = resistance - support
    given = [_number(record.get(key)) for key in ("downside1", "downside2")]
    mirrored = [None if price is None else -price for price in given]
    if _in_order([-support, *mirrored], lambda price: -price > max(0.0, support - FARTHEST_TARGET * height)):
        return tuple(price for price in given if price is not None)
    return tuple(max(LEAST_PRICE, round(support - factor * height, 4)) for factor in (0.5, 1.0))


def _in_order(prices: list[float | None], near: Callable[[float], bool]) -> bool:
    known = [price for price in prices if price is not None]
    if len(known) < len(prices) or not all(near(price) for price in known[1:]):
        return False
    return all(nearer < farther for nearer, farther in pairwise(known))


def _price(record: dict[str, Any], key: str) -> float:
    price = _number(record.get(key))
    if price is None or not LEAST_PRICE <= price <= MOST_PRICE:
        raise _Unusable(f"its {key} is {str(record.get(key))[:20]!r}")
    return price


def _number(value: object) -> float | None:
    """A finite number, also from text such as "56.60"; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
