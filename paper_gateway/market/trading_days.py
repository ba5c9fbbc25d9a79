"""The trading days of NYSE and their closing times: weekends, holidays and the days they are observed, half days.

The rules are those of the NYSE holiday calendar (rule 7.2): a holiday on a Sunday is observed on Monday, one
on a Saturday on Friday. The exception is New Year's Day: on a Saturday it is not observed, because the
Friday is the last business day of the accounting year.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

from paper_gateway.market.model import EASTERN

OPEN_TIME: Final = time(9, 30)
CLOSE_TIME: Final = time(16, 0)
HALF_DAY_CLOSE_TIME: Final = time(13, 0)
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)

_MONDAY, _THURSDAY = 0, 3
_EXTRA_CLOSURES: Final = frozenset({date(2012, 10, 29), date(2012, 10, 30), date(2018, 12, 5), date(2025, 1, 9)})
"""Closures outside the rules: Hurricane Sandy and two national days of mourning."""


def is_trading_day(day: date) -> bool:
    """Whether the exchange opens on `day`."""
    return day.weekday() < 5 and day not in holidays(day.year)


def is_half_day(day: date) -> bool:
    """Whether `day` is a trading day that closes at 13:00.

    Half days are the day after Thanksgiving, and the trading day right before Independence Day or Christmas.
    (If that day is a Friday, it is the observed holiday itself.)
    """
    if not is_trading_day(day):
        return False
    if day == _nth_weekday(day.year, 11, _THURSDAY, 4) + DAY:
        return True
    return (day.month, day.day) in ((7, 3), (12, 24))


def session_open(day: date) -> datetime:
    """09:30 on `day`, whether it is a trading day or not."""
    return datetime.combine(day, OPEN_TIME, EASTERN)


def session_close(day: date) -> datetime:
    """The close on `day`: 13:00 on half days, else 16:00."""
    return datetime.combine(day, HALF_DAY_CLOSE_TIME if is_half_day(day) else CLOSE_TIME, EASTERN)


def session_minutes(day: date) -> int:
    """Whole minutes of the regular session on `day`: 390, or 210 on half days."""
    return (session_close(day) - session_open(day)) // MINUTE


def previous_trading_day(day: date) -> date:
    """The last trading day before `day`."""
    day -= DAY
    while not is_trading_day(day):
        day -= DAY
    return day


def bar_spans(session_s: int, bar_s: int, since_s: float, until_s: float) -> Iterator[tuple[int, int]]:
    """The bars within [since_s, until_s] of a session of `session_s` seconds, as (start, stop).

    Seconds count from 09:30. As from TWS, bars begin at multiples of `bar_s` after midnight and are cut at
    the open and the close: hourly bars start at 09:30, 10:00, 11:00.
    """
    open_s = OPEN_TIME.hour * 3600 + OPEN_TIME.minute * 60
    number = math.floor((max(since_s, 0) + open_s) / bar_s)
    while (start := max(number * bar_s - open_s, 0)) < session_s:
        stop = min((number + 1) * bar_s - open_s, session_s)
        if stop > until_s:
            return
        if start >= since_s:
            yield start, stop
        number += 1


def hours_text(first: date, days: int, opens: str = "0930", after_close: timedelta = timedelta(0)) -> str:
    """The hours of `days` calendar days from `first` on, in the format of TWS.

    after_close: time after the regular close that is included, for the extended trading hours.
    """
    return ";".join(_hours_of(first + DAY * n, opens, after_close) for n in range(days))


def _hours_of(day: date, opens: str, after_close: timedelta) -> str:
    if not is_trading_day(day):
        return f"{day:%Y%m%d}:CLOSED"
    return f"{day:%Y%m%d}:{opens}-{session_close(day) + after_close:%Y%m%d:%H%M}"


@lru_cache(maxsize=16)
def holidays(year: int) -> frozenset[date]:
    """The full-day closures of one calendar year."""
    days = {
        _nth_weekday(year, 1, _MONDAY, 3),  # Martin Luther King Jr. Day
        _nth_weekday(year, 2, _MONDAY, 3),  # Washington's Birthday
        _easter(year) - 2 * DAY,  # Good Friday
        _last_monday_of_may(year),  # Memorial Day
        _observed(date(year, 7, 4)),
        _nth_weekday(year, 9, _MONDAY, 1),  # Labor Day
        _nth_weekday(year, 11, _THURSDAY, 4),  # Thanksgiving
        _observed(date(year, 12, 25)),
    }
    new_year = date(year, 1, 1)
    if new_year.weekday() != 5:
        days.add(_observed(new_year))
    if year >= 2022:
        days.add(_observed(date(year, 6, 19)))  # Juneteenth
    return frozenset(days | {day for day in _EXTRA_CLOSURES if day.year == year})


def _observed(day: date) -> date:
    return day + {5: -DAY, 6: DAY}.get(day.weekday(), timedelta(0))


def _nth_weekday(year: int, month: int, weekday: int, nth: int) -> date:
    first = date(year, month, 1)
    return first + DAY * ((weekday - first.weekday()) % 7 + 7 * (nth - 1))


def _last_monday_of_may(year: int) -> date:
    last = date(year, 5, 31)
    return last - DAY * last.weekday()


def _easter(year: int) -> date:
    """Easter Sunday in the Gregorian calendar, by Gauss's method with Lilius's corrections."""
    golden = year % 19
    century = year // 100
    moon_shift = (century - century // 4 - (8 * century + 13) // 25 + 19 * golden + 15) % 30
    moon = moon_shift - (moon_shift // 28) * (1 - (29 // (moon_shift + 1)) * ((21 - golden) // 11))
    to_sunday = (year + year // 4 + moon + 2 - century + century // 4) % 7
    offset = moon - to_sunday
    month = 3 + (offset + 40) // 44
    return date(year, month, offset + 28 - 31 * (month // 4))
