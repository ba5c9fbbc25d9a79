"""The session clock: broker time, driven by the monotonic clock so that a system clock step cannot move it."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta

from paper_gateway.market.errors import MarketError
from paper_gateway.market.model import EASTERN


class SessionClock:
    """Session time = where it was set, plus the real seconds since then times the speed.

    `start` must be aware; `speed` is session seconds per real second, finite and above 0.
    Raises `MarketError` for anything else.
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
        """The session's time, aware, US Eastern; it never goes back."""
        return self._utc_at(time.monotonic()).astimezone(EASTERN)

    def set_speed(self, speed: float) -> None:
        """Go on from the present session time at another speed."""
        checked = _checked_speed(speed)
        monotonic_s = time.monotonic()
        self._base = self._utc_at(monotonic_s)
        self._base_monotonic_s = monotonic_s
        self._speed = checked

    def _utc_at(self, monotonic_s: float) -> datetime:
        # In UTC: adding to a zone's wall time would be an hour off across a daylight saving change.
        return self._base + timedelta(seconds=(monotonic_s - self._base_monotonic_s) * self._speed)


def _checked_speed(speed: float) -> float:
    if not math.isfinite(speed) or speed <= 0:
        raise MarketError(f"session speed {speed} is not a number above 0; use 1 for real pace")
    return float(speed)
