"""Moments, durations and settings in words, as commands and reports show them. Pure."""

from collections.abc import Mapping
from datetime import datetime

from trader.time_zones import EASTERN


def clock_time(moment: datetime | None) -> str:
    """A moment as US Eastern time of day, or a dash."""
    return f"{moment.astimezone(EASTERN):%H:%M:%S}" if moment is not None else "-"


def real_time(moment: datetime | None) -> str:
    """A moment of the real clock with its date, in this computer's zone, or a dash."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}" if moment is not None else "-"


def duration(seconds: float) -> str:
    """Seconds as 1h02m, 3m20s or 12s."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def settings_lines(values: Mapping[str, object]) -> list[str]:
    """Settings by section, one line each: `risk  breaker_losses 4, max_trades_per_day 0`."""
    lines = []
    for name, value in values.items():
        nested = value.items() if isinstance(value, Mapping) else ()
        lines.append(f"  {name:<12}" + (", ".join(f"{key} {one}" for key, one in nested) or str(value)))
    return lines
