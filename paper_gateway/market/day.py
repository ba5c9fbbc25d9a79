"""The synthetic day as data: eight symbols, their levels, and the price steps of each.

A symbol's plan breaks one pivot: resistance for a LONG, support for a SHORT. Its steps are closes in percent
beyond that pivot in the direction of the breakout (negative: not broken), at minutes counted from the anchor,
the first minute of breakouts. Between near steps the price is a straight line with a little noise; between
distant steps and after the last one it follows a calm walk between support and resistance.

The candles that break out, on a day that starts by 09:45 (a later start moves them all by as much):

| symbol | candle | what happens |
|---|---|---|
| TSLA long | 09:45, 12:15 | momentum, runs through target1 |
| NVDA short | 09:45, 13:35 | momentum, runs through target1 |
| AMD long | 09:45, 09:55, 10:05 | momentum, twice back through the pivot; the third breakout exceeds the attempts |
| SMCI long | 09:45 | momentum, but a narrow range: too little room to target1 |
| PLTR long | 09:46, 11:25 | pullback to the pivot and retest at 09:48, runs; then momentum that fails |
| SOFI long | 09:46, 10:30 | holds on low volume and fails; then momentum, runs |
| HOOD long | 09:47, 14:45 | sustained for two minutes, runs; then momentum, runs |
| PATH short | 10:15 | choppy at first, then momentum, runs |
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from typing import Final, Literal

DEFAULT_DATE: Final = date(2025, 10, 6)
DEFAULT_START: Final = time(9, 44)
ENTRY_WINDOW_START: Final = time(9, 45)
APPROACH_MINUTES: Final = 15
"""Every plan's first step is this long before the anchor: 09:30 on a day that starts by 09:45."""

Side = Literal["LONG", "SHORT"]


@dataclass(frozen=True, slots=True)
class Step:
    """A candle of the script.

    minute: after the anchor. beyond_pct: its close in percent beyond the pivot. volume_ratio: its volume over
    the mean of the 20 candles before it; None for an ordinary volume. dip_pct: its low (high for a SHORT) in
    percent beyond the pivot, if it pulls back before it closes.
    """

    minute: int
    beyond_pct: float
    volume_ratio: float | None = None
    dip_pct: float | None = None


@dataclass(frozen=True, slots=True)
class SymbolPlan:
    """One symbol's levels in dollars, its values for the scanner file, and its script."""

    symbol: str
    side: Side
    resistance: float
    support: float
    prev_close: float
    minute_volume: int
    atr_pct: float
    score: int
    reason: str
    steps: tuple[Step, ...]


_STRONG = 2.0
"""Volume ratio of a momentum breakout (the rules require 1.3)."""
_MILD = 1.15
"""Volume ratio above the low-volume limit and below the one of momentum."""
_WEAK = 0.4
"""Volume ratio below the low-volume limit."""


def _approach(minute: int) -> tuple[Step, ...]:
    """To 0.15 % short of the pivot in the minute before `minute`."""
    return (Step(minute - 6, -0.45), Step(minute - 1, -0.15))


def _momentum(minute: int) -> tuple[Step, ...]:
    """A breakout of 0.65 % in one candle, closing 0.5 % beyond the pivot, on strong volume."""
    return (*_approach(minute), Step(minute, 0.5, _STRONG))


def _run(minute: int) -> tuple[Step, ...]:
    """After a breakout at `minute`: past 1R, past target1 within 14 minutes, then back to hit a trail."""
    return (
        Step(minute + 4, 1.15),
        Step(minute + 9, 2.0),
        Step(minute + 14, 2.8),
        Step(minute + 20, 3.3),
        Step(minute + 26, 1.8),
        Step(minute + 50, -1.2),
    )


def _stop_out(minute: int) -> tuple[Step, ...]:
    """After a breakout at `minute`: back through the pivot within three minutes."""
    return (Step(minute + 1, 0.42), Step(minute + 3, -0.35))


_FIRST = (Step(-APPROACH_MINUTES, -0.9),)

PLANS: Final[tuple[SymbolPlan, ...]] = (
    SymbolPlan(
        "TSLA",
        "LONG",
        444.77,
        422.0,
        440.4,
        210_000,
        4.9,
        95,
        "Tested 9x | 5-day high",
        (*_FIRST, *_momentum(0), *_run(0), Step(120, -1.0), *_momentum(150), *_run(150)),
    ),
    SymbolPlan(
        "NVDA",
        "SHORT",
        195.1,
        186.2,
        187.62,
        420_000,
        3.9,
        85,
        "Tested 7x | 5-day low",
        (*_FIRST, *_momentum(0), *_run(0), Step(200, -1.0), *_momentum(230), *_run(230)),
    ),
    SymbolPlan(
        "AMD",
        "LONG",
        208.4,
        197.9,
        206.1,
        150_000,
        5.2,
        85,
        "Tested 5x | 5-day high",
        (
            *_FIRST,
            *_momentum(0),
            *_stop_out(0),
            *_momentum(10),
            *_stop_out(10),
            *_momentum(20),
            Step(23, 0.8),
            Step(30, -0.6),
            Step(60, -1.5),
        ),
    ),
    SymbolPlan(
        "HOOD",
        "LONG",
        146.5,
        139.1,
        145.1,
        60_000,
        5.0,
        75,
        "Tested 3x",
        (
            *_FIRST,
            Step(-4, -0.45),
            Step(1, -0.1),
            Step(2, 0.15, _MILD),
            Step(3, 0.29, _MILD),
            Step(4, 0.43, _MILD),
            Step(5, 0.5, _MILD),
            Step(9, 1.05),
            Step(24, 2.8),
            Step(30, 3.2),
            Step(38, 1.9),
            Step(70, -1.2),
            Step(270, -1.0),
            *_momentum(300),
            *_run(300),
        ),
    ),
    SymbolPlan(
        "PLTR",
        "LONG",
        180.3,
        171.3,
        178.55,
        80_000,
        4.8,
        75,
        "Tested 14x | 10-day high",
        (
            *_FIRST,
            *_approach(1),
            Step(1, 0.55, _MILD),
            Step(2, -0.03, 1.0, -0.08),
            Step(3, 0.63, 1.25),
            *_run(3),
            Step(80, -1.0),
            *_momentum(100),
            *_stop_out(100),
            Step(115, -0.9),
        ),
    ),
    SymbolPlan(
        "SMCI",
        "LONG",
        52.6,
        51.4,
        52.1,
        130_000,
        4.4,
        65,
        "Consolidation zone | Tested 4x",
        (*_FIRST, *_momentum(0), Step(6, 0.8), Step(15, 0.6), Step(30, -0.8)),
    ),
    SymbolPlan(
        "SOFI",
        "LONG",
        26.4,
        25.05,
        26.15,
        300_000,
        4.7,
        65,
        "Tested 8x | 10-day high",
        (
            *_FIRST,
            *_approach(1),
            Step(1, 0.25, _WEAK),
            Step(2, 0.36, _WEAK),
            Step(3, 0.47, _WEAK),
            Step(5, -0.4),
            Step(30, -0.9),
            *_momentum(45),
            *_run(45),
        ),
    ),
    SymbolPlan(
        "PATH",
        "SHORT",
        13.7,
        13.0,
        13.12,
        110_000,
        4.6,
        55,
        "Tested 3x | 5-day closing low",
        (
            *_FIRST,
            Step(0, -0.35),
            Step(4, -0.75),
            Step(8, -0.35),
            Step(12, -0.75),
            Step(17, -0.35),
            *_approach(30),
            Step(30, 0.55, _STRONG),
            *_run(30),
        ),
    ),
)
