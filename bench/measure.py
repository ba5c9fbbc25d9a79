"""Interleaved runs, medians and spreads, which make two measurements on one machine comparable.

A round alternates between the methods, a few calls of each at a time, in a changing order. A method's value is the
median of its calls in that round. A ratio is computed within each round and reported as the median of the rounds,
with the quartiles as its spread. So other load of the machine affects both sides of a ratio equally.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Literal

Call = Callable[[], object]
Better = Literal["low", "high"]
BATCH = 4
"""Calls of one method in a row: enough to warm its caches, few enough that all methods meet the same load."""


class PeerMissingError(Exception):
    """A peer is not installed on this machine. Its row says so."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method to be measured. open: gets a folder of its own, and yields a function that makes one call."""

    name: str
    open: Callable[[Path], AbstractContextManager[Call]]


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of one method to another: median and quartiles of the rounds."""

    middle: float
    low: float
    high: float


@dataclass(slots=True)
class Row:
    """A row of the table. value: of this method, in `unit`. ratio: of this method to `against`.

    target: for the ratio, or for the value if there is no ratio. better: whether low or high values reach it.
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
        """Whether the target is met; None if there is no target, or nothing was measured."""
        measured = self.ratio.middle if self.ratio is not None else self.value
        if self.target is None or measured is None:
            return None
        return measured <= self.target if self.better == "low" else measured >= self.target


@dataclass(slots=True)
class Rounds:
    """The values of each method, one for each round. missing: methods that could not be opened, and why."""

    values: dict[str, list[float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def middle(self, name: str) -> float | None:
        """The median of the rounds; None for a missing method."""
        return median(self.values[name]) if self.values.get(name) else None

    def ratio(self, name: str, against: str) -> Ratio | None:
        """Median and quartiles of the ratios within the rounds; None if a method is missing."""
        if not self.values.get(name) or not self.values.get(against):
            return None
        return spread([a / b for a, b in zip(self.values[name], self.values[against], strict=True)])

    def note(self, name: str) -> str:
        """Why there is no value, or an empty text."""
        return self.missing.get(name, "")


def spread(values: Sequence[float]) -> Ratio:
    """Median and quartiles of at least one value."""
    if len(values) < 2:
        return Ratio(values[0], values[0], values[0])
    low, _, high = quantiles(values, n=4)
    return Ratio(median(values), low, high)


def timed(once: Call, count: int) -> list[float]:
    """The duration of each of `count` calls, in seconds."""
    clock, taken = time.perf_counter, []
    for _ in range(count):
        began = clock()
        once()
        taken.append(clock() - began)
    return taken


def interleave(methods: Iterable[Method], folder: Path, rounds: int, count: int) -> Rounds:
    """Open every method in a folder of its own, warm it up, then measure `rounds` rounds of `count` calls each."""
    found = Rounds()
    with ExitStack() as stack:
        opened: list[tuple[str, Call]] = []
        for method in methods:
            place = folder / method.name.replace(" ", "-").replace("/", "-")
            place.mkdir(parents=True)
            try:
                once = stack.enter_context(method.open(place))
            except PeerMissingError as error:
                found.missing[method.name] = str(error)
                continue
            timed(once, min(count, BATCH))
            opened.append((method.name, once))
        for _ in range(rounds):
            for name, value in _round(opened, count).items():
                found.values.setdefault(name, []).append(value)
    return found


def _round(opened: list[tuple[str, Call]], count: int) -> dict[str, float]:
    """The median of `count` calls of each method."""
    taken: dict[str, list[float]] = {name: [] for name, _ in opened}
    for cycle in range(-(-count // BATCH)):
        turn = cycle % len(opened)
        for name, once in opened[turn:] + opened[:turn]:
            taken[name] += timed(once, min(count, BATCH))
    return {name: median(values) for name, values in taken.items()}
