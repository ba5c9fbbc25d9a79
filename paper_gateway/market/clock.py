"""The session clock: the gateway's time. It runs on the monotonic clock, so system clock steps do not move it."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta

from paper_gateway.market.errors import MarketError
from paper_gateway.market.model import EASTERN


class SessionClock:
    """Session time = the start + real seconds since the start x speed.

    start: aware. speed: session seconds per real second, finite and above 0. Raises `MarketError` otherwise.
    """

    def __init__(self, start: datetime, speed: float) -> None:
        if start.tzinfo is None:
            raise MarketError(f"session start {start} has no time zone; give an aware US Eastern time")
        self._base = start.astimezone(UTC)
        self._base_monotonic_s = time.monotonic()
        self._speed = _checked_speed(speed)

    @property
    def speed(self) -> float:
        """Session seconds per real second."""
        return self._speed

    def now(self) -> datetime:
        """The session time, aware, in US/Eastern. It never goes back."""
        return self._utc_at(time.monotonic()).astimezone(EASTERN)

    def set_speed(self, speed: float) -> None:
        """Change the speed; the session time continues without a jump."""
        checked = _checked_speed(speed)
        monotonic_s = time.monotonic()
        self._base = self._utc_at(monotonic_s)
        self._base_monotonic_s = monotonic_s
        self._speed = checked

    def _utc_at(self, monotonic_s: float) -> datetime:
        # In UTC, because adding seconds to a local time is an hour off across a daylight saving change.
        return self._base + timedelta(seconds=(monotonic_s - self._base_monotonic_s) * self._speed)


def _checked_speed(speed: float) -> float:
    if not math.isfinite(speed) or speed <= 0:
        raise MarketError(f"session speed {speed} is not a number above 0; use 1 for real time")
    return float(speed)
