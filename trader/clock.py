"""Session time: IBKR's time, carried forward by the monotonic clock at the session's speed.

Dates and times of day come from this clock. How often files are written goes by real time.

`reqCurrentTime` answers in whole seconds: an answer T means that IBKR's time was between T and T + 1 when it was
sent. T is therefore a lower bound:

- A clock behind T is set to T.
- A clock ahead of T by at most `STEP_LIMIT_S` session seconds (times the speed, if that is above 1) is kept.
- A clock further ahead is set to T, but the time that it shows never decreases: it stays the same until IBKR's
  time has reached it.

The first answer after `restart()` sets the clock forwards or backwards; call that for a new gateway or a new
connection, before trading starts. Before the first answer the computer's clock is used.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from trader.errors import BrokerError
from trader.time_zones import EASTERN

STEP_LIMIT_S = 2.0
DRIFT_LIMIT_S = 2.0


@dataclass(frozen=True, slots=True)
class _Anchor:
    epoch_s: float
    monotonic_s: float
    speed: float

    def at(self, monotonic_s: float) -> float:
        return self.epoch_s + (monotonic_s - self.monotonic_s) * self.speed


class Clock:
    """Session time. Not thread-safe: only the event loop's thread may use it."""

    def __init__(
        self,
        *,
        real_gateway: bool = True,
        monotonic: Callable[[], float] | None = None,
        system: Callable[[], float] | None = None,
    ) -> None:
        """`monotonic` and `system` return seconds (default: this computer's clocks).

        `real_gateway`: whether `warning` reports drift; an embedded gateway's time differs on purpose.
        """
        self.real_gateway = real_gateway
        self._monotonic = monotonic or time.monotonic
        self._system = system or time.time
        self._anchor: _Anchor | None = None
        self._fresh = True
        self._latest_s = -math.inf
        self._drift_s: float | None = None  # system clock minus session clock at the last sync

    @property
    def speed(self) -> float:
        """Session seconds per real second."""
        return self._anchor.speed if self._anchor else 1.0

    def timestamp(self) -> float:
        """Session time in seconds since 1970. It never decreases, except after `restart()`."""
        if self._anchor is None:
            return self._system()
        self._latest_s = max(self._latest_s, self._anchor.at(self._monotonic()))
        return self._latest_s

    def now(self) -> datetime:
        """Session time, aware, US Eastern."""
        return datetime.fromtimestamp(self.timestamp(), EASTERN)

    def trading_date(self) -> date:
        """The US Eastern calendar date of the session."""
        return self.now().date()

    def restart(self) -> None:
        """Let the next `sync` set the clock forwards or backwards: for a new gateway or a new connection."""
        self._fresh = True

    def sync(self, broker_epoch_s: float, at_monotonic: float | None = None, speed: float = 1.0) -> float:
        """Take an answer to `reqCurrentTime`. Returns the step in session seconds; 0.0 if the clock was kept.

        `at_monotonic`: when the answer came, on the monotonic clock (default: now). `speed`: the gateway's; a real
        one has 1. Raises BrokerError for a time or a speed out of range.
        """
        _check_answer(broker_epoch_s, speed)
        at = self._monotonic() if at_monotonic is None else at_monotonic
        before = self._anchor.at(at) if self._anchor else math.nan
        ahead = before - broker_epoch_s
        if self._fresh or not math.isfinite(ahead):
            self._latest_s = -math.inf
            after = broker_epoch_s
        elif ahead < 0 or ahead > STEP_LIMIT_S * max(1.0, speed):
            after = broker_epoch_s
        else:
            after = before
        self._fresh = False
        self._anchor = _Anchor(after, at, speed)
        self._drift_s = self._system() - (self._monotonic() - at) - after
        return 0.0 if math.isnan(before) else after - before

    def warning(self) -> str | None:
        """A sentence if this computer's clock and a real gateway's differ by more than 2 s, else None."""
        if not self.real_gateway or self._drift_s is None or abs(self._drift_s) <= DRIFT_LIMIT_S:
            return None
        way = "ahead of" if self._drift_s > 0 else "behind"
        return (
            f"This computer's clock is {abs(self._drift_s):.1f} s {way} IBKR's. The trader follows IBKR's; "
            "set the computer's clock (NTP)."
        )


def _check_answer(broker_epoch_s: float, speed: float) -> None:
    if not math.isfinite(broker_epoch_s) or not 0 < broker_epoch_s < 2**33:
        raise BrokerError(
            f"The gateway sent {broker_epoch_s} as its time, which is not a valid time.", "Restart the gateway."
        )
    if not math.isfinite(speed) or speed <= 0:
        raise BrokerError(f"The gateway's speed is {speed}.", "Restart the gateway with a speed above 0.")
