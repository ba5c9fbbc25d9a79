"""A second implementation of `docs/RULES.md`, over 1-minute candles: what a recorded day should give.

It is written from that page alone and imports nothing of `trader.core.strategy.ps60`. Minutes are counted from
midnight. SHORT is computed as LONG with negative prices.

The price at which an entry filled, and its stop, come from `fill_of`. Within a minute the price goes open, low,
high, close if it rises, and open, high, low, close if it falls, as in the replay.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

EPSILON = 1e-9
WINDOW = (9 * 60 + 45, 15 * 60)  # entries, 09:45-15:00
AVOIDED = ("SPY", "QQQ", "DIA", "IWM")


class Candle(NamedTuple):
    """One minute; prices in dollars, negative for SHORT."""

    minute: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Signal(NamedTuple):
    """A signal: the minute of the candle that confirms it, and of the candle that broke the pivot."""

    candle: int
    broke: int
    path: str


class Fill(NamedTuple):
    """How an entry filled: dollars, minute, and the price of its stop."""

    price: float
    minute: int
    stop: float


class Exit(NamedTuple):
    """How a trade ended: reason, minute, minute of the partial (None: no partial), and whether it gained."""

    reason: str
    minute: int
    partial: int | None
    gained: bool


@dataclass(frozen=True)
class Decision:
    """A signal and its verdict: the filter that blocked it, or `enter` and how the trade ended."""

    symbol: str
    side: str
    signal: Signal
    pivot: float
    verdict: str
    exit: Exit | None = None


FillOf = Callable[[str, Signal], Fill]


def read_day(folder: Path) -> tuple[dict[str, list[Candle]], dict[str, dict[str, float]]]:
    """Candles and scanner's records by symbol, of those that are both recorded and traded."""
    (scan,) = folder.glob("scanner_results_*.json")
    records = {record["symbol"]: record for record in json.loads(scan.read_text())}
    traded = [s for s in records if s not in AVOIDED and (folder / "bars" / f"{s}.csv").exists()]
    return {symbol: _candles(folder / "bars" / f"{symbol}.csv") for symbol in traded}, records


def _candles(file: Path) -> list[Candle]:
    with file.open() as rows:
        found = []
        for row in csv.DictReader(rows):
            at = datetime.fromisoformat(row["time"])
            numbers = (float(row[key]) for key in ("open", "high", "low", "close", "volume"))
            found.append(Candle(at.hour * 60 + at.minute, *numbers))
    assert [c.minute for c in found] == list(range(found[0].minute, found[0].minute + len(found)))
    return found


def mirrored(candle: Candle) -> Candle:
    return Candle(candle.minute, -candle.open, -candle.low, -candle.high, -candle.close, candle.volume)


# Signals


def ratio(candles: list[Candle], at: int) -> float:
    """A candle's volume over the mean of the up to 20 before it; NaN below five."""
    before = candles[max(0, at - 20) : at]
    return candles[at].volume / (sum(c.volume for c in before) / len(before)) if len(before) >= 5 else math.nan


def atr(candles: list[Candle]) -> float:
    """Mean true range of the last 14 candles; NaN below five."""
    ranges = [
        max(c.high, candles[i - 1].close if i else c.high) - min(c.low, candles[i - 1].close if i else c.low)
        for i, c in enumerate(candles)
    ][-14:]
    return sum(ranges) / len(ranges) if len(candles) >= 5 else math.nan


@dataclass
class _Break:
    start: int
    touched: int = -99
    held: bool = True


def signals(candles: list[Candle], pivot: float) -> list[Signal]:
    """Every LONG signal of a day (of the day with negative prices for SHORT)."""
    found: list[Signal] = []
    pending: list[_Break] = []
    for at in range(1, len(candles)):
        candle, before = candles[at], candles[at - 1]
        breaks = before.close <= pivot < candle.close
        momentum = breaks and _is_momentum(candles, at)
        confirmed = []
        for broke in list(pending):
            path = _confirmation(broke, candles, at, pivot)
            if path:
                confirmed.append(Signal(candle.minute, candles[broke.start].minute, path))
            if path or at - broke.start >= 4:
                pending.remove(broke)
        if momentum:
            found.append(Signal(candle.minute, candle.minute, "momentum"))
        elif confirmed:
            found.append(confirmed[0])
        elif breaks:
            pending.append(_Break(at))
    return found


def _is_momentum(candles: list[Candle], at: int) -> bool:
    candle, body = candles[at], candles[at].close - candles[at].open
    large = body >= 0.003 * abs(candle.open) - EPSILON or body >= 2 * atr(candles[:at]) - EPSILON
    return ratio(candles, at) >= 1.3 - EPSILON and body > 0 and large


def _confirmation(broke: _Break, candles: list[Candle], at: int, pivot: float) -> str:
    """The path by which this candle confirms an earlier break; "" if it does not."""
    candle, near = candles[at], 0.003 * abs(pivot)
    if at - broke.start <= 2 and candle.low <= pivot + near + EPSILON:
        broke.touched = at
    broke.held &= candle.close > pivot and candle.low >= pivot - near - EPSILON
    again = candle.close > pivot and candle.close > candles[at - 1].close and ratio(candles, at) >= 1.2 - EPSILON
    if at - broke.touched <= 2 and again:
        return "pullback_retest"
    return "sustained" if broke.held and at - broke.start == 2 else ""


# Filters and exits


def first_stop(side: str, pivot: float, price: float) -> float:
    """At the pivot, not nearer than 0.3 % of the price, on the cent away from the entry."""
    if side == "LONG":
        return math.floor(min(pivot, price * 0.997) * 100 + EPSILON) / 100
    return math.ceil(max(pivot, price * 1.003) * 100 - EPSILON) / 100


def at_the_next_open(side: str, signal: Signal, after: Candle, pivot: float) -> Fill:
    """The entry of a trader without any delay."""
    return Fill(after.open, signal.candle + 1, first_stop(side, pivot, after.open))


def exit_of(candles: list[Candle], fill: Fill, target1: float) -> Exit:
    """How a LONG trade ends. `candles` from the minute of the entry on."""
    entry, stop, risk = fill.price, fill.stop, fill.price - fill.stop
    partial: int | None = None
    reason, banked, left = "stop_loss_hit", 0.0, 1.0
    for candle in candles:
        if partial is None and candle.minute >= fill.minute + 8 and min(candle.open, candle.low) <= entry:
            return Exit("time_rule", candle.minute, None, False)
        for price in _corners(candle):
            if price <= stop + EPSILON:
                gained = banked + left * (stop - entry) > EPSILON
                return Exit(reason, candle.minute, partial, gained)
            if partial is None and price >= entry + risk - EPSILON:
                partial, stop, reason = candle.minute, entry, "breakeven_stop_hit"
                banked, left = 0.5 * risk, 0.5
            if partial is not None and price - 0.01 * abs(price) > stop + 0.001 * abs(price):
                stop, reason = price - 0.01 * abs(price), "trailing_stop_hit"
            assert price < target1, "a day on which target 1 is reached needs that rule here too"
    return Exit("end_of_day", candles[-1].minute, partial, banked > 0)


def _corners(candle: Candle) -> tuple[float, float, float, float]:
    turns = (candle.low, candle.high) if _rises(candle) else (candle.high, candle.low)
    return candle.open, *turns, candle.close


def _rises(candle: Candle) -> bool:
    # With negative prices the direction is reversed too; an unchanged price counts as rising.
    return candle.close > candle.open or (candle.close == candle.open and candle.open > 0)


def work_out(folder: Path, windows: list[tuple[int, int]], fill_of: FillOf | None = None) -> list[Decision]:
    """The decisions of a trader that runs during `windows` (minutes at which candles close, first and last)."""
    days, records = read_day(folder)
    by_time: list[tuple[Signal, str, str]] = []
    for symbol, day in days.items():
        record = records[symbol]
        by_time += [(signal, symbol, "LONG") for signal in signals(day, record["resistance"])]
        by_time += [(signal, symbol, "SHORT") for signal in signals([*map(mirrored, day)], -record["support"])]
    decisions: list[Decision] = []
    for signal, symbol, side in sorted(by_time):
        if any(first <= signal.candle + 1 <= last for first, last in windows):
            decisions.append(_decide(decisions, days[symbol], records[symbol], symbol, side, signal, fill_of))
    return decisions


def _decide(
    earlier: list[Decision],
    day: list[Candle],
    record: dict[str, float],
    symbol: str,
    side: str,
    signal: Signal,
    fill_of: FillOf | None,
) -> Decision:
    pivot, target = (
        (record["resistance"], record["target1"]) if side == "LONG" else (record["support"], record["downside1"])
    )
    at = signal.candle - day[0].minute
    verdict = _filter(earlier, day[: at + 1], symbol, side, signal, target)
    if verdict:
        return Decision(symbol, side, signal, pivot, verdict)
    after = day[at + 1]
    fill = fill_of(symbol, signal) if fill_of else at_the_next_open(side, signal, after, pivot)
    rest = day[fill.minute - day[0].minute :]
    if side == "SHORT":
        rest, fill, target = [*map(mirrored, rest)], Fill(-fill.price, fill.minute, -fill.stop), -target
    return Decision(symbol, side, signal, pivot, "enter", exit_of(rest, fill, target))


def _filter(
    earlier: list[Decision], day: list[Candle], symbol: str, side: str, signal: Signal, target1: float
) -> str:
    """The first filter that blocks, of those that matter on this day; "" for none."""
    now, price = signal.candle + 1, day[-1].close
    trades = [(one, one.exit) for one in earlier if one.exit is not None]
    ended = sorted((end for _, end in trades if end.minute < now), key=lambda end: end.minute)
    held = [one.symbol for one, end in trades if end.minute >= now]
    room = (target1 - price) * (1 if side == "LONG" else -1)
    five = day[-5:]
    blocks = {
        "circuit_breaker": len(ended) >= 4 and not any(end.gained for end in ended[-4:]),
        "entry_window": not WINDOW[0] <= now < WINDOW[1],
        "already_held": symbol in held,
        "max_attempts": sum((one.symbol, one.side) == (symbol, side) for one, _ in trades) >= 2,
        "max_positions": len(held) >= 5,
        "low_volume": not ratio(day, len(day) - 1) >= 0.7,
        "choppy_market": not max(c.high for c in five) - min(c.low for c in five) >= 0.5 * atr(day),
        "room_to_target": room < 0.015 * price,
    }
    return next((name for name, applies in blocks.items() if applies), "")
