"""Judges a run by the gateway's exposure log: naked time, over-closing and reversals, also while no trader ran.

naked          shares of the trader's position that no live stop and no exit at the market covers
over-closing   live orders that would close more than is held and than working entries may still add
reversal       the position of the trader changed its sign without having been flat
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from paper_gateway.control_client import request


@dataclass(slots=True)
class Window:
    """A time in which up to `shares` of a symbol were naked or over-closed; in seconds since 1970."""

    symbol: str
    since_s: float
    until_s: float
    shares: int

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.until_s - self.since_s


@dataclass(slots=True)
class Judgement:
    """What a run's log shows. Windows in the order of their beginning."""

    naked: list[Window] = field(default_factory=list)
    over_closing: list[Window] = field(default_factory=list)
    reversals: list[str] = field(default_factory=list)

    @property
    def longest_naked_s(self) -> float:
        """Seconds; 0 if no share was ever naked."""
        return max((window.seconds for window in self.naked), default=0.0)

    @property
    def longest_over_closing_s(self) -> float:
        """Seconds; 0 if live orders never closed more than could be held."""
        return max((window.seconds for window in self.over_closing), default=0.0)

    @property
    def most_over_closing(self) -> int:
        """Shares."""
        return max((window.shares for window in self.over_closing), default=0)

    def longer_than(self, naked_s: float, over_closing_s: float) -> list[str]:
        """What exceeds these bounds, and each reversal, as sentences."""
        said = [
            f"{w.symbol}: {w.shares} shares naked for {w.seconds * 1000:.0f} ms"
            for w in self.naked
            if w.seconds > naked_s
        ]
        said += [
            f"{w.symbol}: {w.shares} shares over-closed for {w.seconds * 1000:.0f} ms"
            for w in self.over_closing
            if w.seconds > over_closing_s
        ]
        return said + self.reversals


def read_rows(port: int) -> list[dict[str, Any]]:
    """The whole log of a running gateway."""
    rows: list[dict[str, Any]] = []
    while True:
        answer = request(port, "exposure", since=len(rows))
        rows += answer["rows"]
        if len(rows) >= answer["total"]:
            return rows


def judge(rows: Iterable[dict[str, Any]], until_s: float, managed: Collection[str] = ()) -> Judgement:
    """Judge rows in the order of time. until_s: the end of the last window.

    managed: symbols whose whole position belongs to the trader (adopted ones); of others its own executions count.
    """
    judgement = Judgement()
    naked = _Spans(judgement.naked)
    over = _Spans(judgement.over_closing)
    signs: dict[str, int] = {}
    last_s = until_s
    for row in rows:
        symbol, at_s = row["symbol"], row["time_s"]
        owned = row["held"] if symbol in managed else _owned(row["held"], row["own"])
        naked.set(symbol, at_s, abs(owned) - row["protecting"])
        over.set(symbol, at_s, sum(row["closing"].values()) - abs(row["held"]) - row["entering"])
        sign = (owned > 0) - (owned < 0)
        if sign * signs.get(symbol, 0) < 0:
            judgement.reversals.append(f"{symbol}: the position was reversed at {row['session_time']}")
        signs[symbol] = sign
        last_s = max(last_s, at_s)
    naked.end(last_s)
    over.end(last_s)
    return judgement


def _owned(held: int, own: int) -> int:
    """The part of what is held that the trader's executions explain; 0 where they point the other way."""
    if held * own <= 0:
        return 0
    return min(held, own) if held > 0 else max(held, own)


class _Spans:
    """Opens and closes windows as a count rises above zero and falls back."""

    def __init__(self, into: list[Window]) -> None:
        self._into = into
        self._open: dict[str, Window] = {}

    def set(self, symbol: str, at_s: float, shares: int) -> None:
        window = self._open.get(symbol)
        if shares > 0 and window is None:
            self._open[symbol] = window = Window(symbol, at_s, at_s, shares)
            self._into.append(window)
        elif shares > 0 and window is not None:
            window.shares = max(window.shares, shares)
        elif window is not None:
            window.until_s = at_s
            del self._open[symbol]

    def end(self, at_s: float) -> None:
        for window in self._open.values():
            window.until_s = at_s
        self._open.clear()
