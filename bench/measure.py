"""Interleaved runs, medians and spreads: what makes two numbers of one machine comparable.

A round goes through the ways again and again, a few calls of each at a time, in an order that changes; a way's
value is the median of its calls in that round. A ratio is taken within a round and told as the median of the
rounds, with the quartiles as its spread, so that what the machine does meanwhile hits both sides alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Literal

Once = Callable[[], object]
Better = Literal["low", "high"]
BATCH = 4
"""Calls of one way before the next has its turn: enough to be in its stride, few enough to share the weather."""


class PeerMissingError(Exception):
    """A peer that is not installed on this machine; its row says so."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do the thing measured. `open` gets a folder of its own and yields what does it once."""

    name: str
    open: Callable[[Path], AbstractContextManager[Once]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """One way over another: median of the rounds and their quartiles."""

    middle: float
    low: float
    high: float


@dataclass(slots=True)
class Row:
    """A line of the table. value: of this way, in `unit`. ratio: this way over `against`.

    target: what the ratio, or where there is none the value, must reach; `better` says on which side.
    """

    group: str
    name: str
    value: float | None
    unit: str
    against: str = ""
    ratio: Ratio | None = None
    target: float | None = None
    better: Better = "low"
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is met; None where there is none, or nothing was measured."""
        measured = self.ratio.middle if self.ratio is not None else self.value
        if self.target is None or measured is None:
            return None
        return measured <= self.target if self.better == "low" else measured >= self.target


@dataclass(slots=True)
class Rounds:
    """The values of each way, one a round; `missing`: ways that could not be opened, and why."""

    values: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def middle(self, name: str) -> float | None:
        """The median over the rounds; None for a way that is missing."""
        return median(self.values[name]) if self.values.get(name) else None

    def ratio(self, name: str, against: str) -> Ratio | None:
        """The ratios within the rounds, summed up."""
        if not self.values.get(name) or not self.values.get(against):
            return None
        return spread([a / b for a, b in zip(self.values[name], self.values[against], strict=True)])

    def note(self, name: str) -> str:
        """Why there is no value."""
        return self.missing.get(name, "")


def spread(values: Sequence[float]) -> Ratio:
    """Median and quartiles of at least one value."""
    if len(values) < 2:
        return Ratio(values[0], values[0], values[0])
    low, _, high = quantiles(values, n=4)
    return Ratio(median(values), low, high)


def timed(once: Once, count: int) -> list[float]:
    """What each of `count` calls took, in seconds."""
    clock, taken = time.perf_counter, []
    for _ in range(count):
        began = clock()
        once()
        taken.append(clock() - began)
    return taken


def interleave(ways: Iterable[Way], folder: Path, rounds: int, count: int) -> Rounds:
    """Open every way in a folder of its own, warm each up, then measure `rounds` rounds of `count` calls each."""
    found = Rounds()
    with ExitStack() as stack:
        opened: list[tuple[str, Once]] = []
        for way in ways:
            place = folder / way.name.replace(" ", "-").replace("/", "-")
            place.mkdir(parents=True)
            try:
                once = stack.enter_context(way.open(place))
            except PeerMissingError as error:
                found.missing[way.name] = str(error)
                continue
            timed(once, min(count, BATCH))
            opened.append((way.name, once))
        for _ in range(rounds):
            for name, value in _round(opened, count).items():
                found.values.setdefault(name, []).append(value)
    return found


def _round(opened: list[tuple[str, Once]], count: int) -> dict[str, float]:
    """The median of `count` calls of each way."""
    taken: dict[str, list[float]] = {name: [] for name, _ in opened}
    for cycle in range(-(-count // BATCH)):
        turn = cycle % len(opened)
        for name, once in opened[turn:] + opened[:turn]:
            taken[name] += timed(once, min(count, BATCH))
    return {name: median(values) for name, values in taken.items()}
