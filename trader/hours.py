"""Market hours of an instrument from TWS's contract details, and the entry window and flatten time they give.

`liquidHours` is a list of days: `20251006:0930-20251006:1600;20251007:CLOSED` (older: `20251006:0930-1600`;
several sessions of one day are separated by commas). It covers the next few days only. For any other date the
hours are *assumed*: regular hours on weekdays, but a close at 13:00 on the three days on which the exchanges close
early in most years, so that a wrong assumption closes positions too early rather than too late.
Half days by rule: https://www.nyse.com/markets/hours-calendars.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cache

from trader.config.sections import EntryRules
from trader.errors import MarketDataError
from trader.time_zones import EASTERN, zone

REGULAR_OPEN, REGULAR_CLOSE, HALF_DAY_CLOSE = time(9, 30), time(16, 0), time(13, 0)
SATURDAY = 5

_CLOSED = re.compile(r"(\d{8}):CLOSED")
_SESSION = re.compile(r"(\d{8}):(\d{4})-(?:(\d{8}):)?(\d{4})")


@dataclass(frozen=True, slots=True)
class Session:
    """Open from `opens` to `closes` (exclusive), both aware, US Eastern."""

    opens: datetime
    closes: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.opens <= moment < self.closes


@dataclass(frozen=True)
class MarketHours:
    """Sessions by the date they open on. A date with an empty tuple is closed; a missing date is assumed."""

    sessions: Mapping[date, tuple[Session, ...]] = field(default_factory=dict)

    @classmethod
    def from_contract(cls, liquid_hours: str, time_zone: str) -> MarketHours:
        """Read `liquidHours` and `timeZoneId` of a contract's details. Empty hours: every date is assumed.

        Raises MarketDataError, naming the part, for text that cannot be read.
        """
        tz = zone(time_zone) if time_zone.strip() else EASTERN
        sessions: dict[date, tuple[Session, ...]] = {}
        for day in filter(None, (part.strip() for part in liquid_hours.split(";"))):
            closed = _CLOSED.fullmatch(day)
            if closed:
                sessions.setdefault(_date(closed[1], day), ())
                continue
            for opens, closes in _day_sessions(day):
                session = Session(*(tz.localize(naive).astimezone(EASTERN) for naive in (opens, closes)))
                known = sessions.get(session.opens.date(), ())
                sessions[session.opens.date()] = tuple(sorted((*known, session), key=lambda s: s.opens))
        return cls(sessions)

    def assumed(self, day: date) -> bool:
        """Whether IBKR sent no hours for `day`, so that they are assumed."""
        return day not in self.sessions

    def warning(self, day: date) -> str | None:
        """A sentence if the hours of `day` are assumed, else None."""
        if not self.assumed(day):
            return None
        close = self.close_time(day)
        hours = f"a close at {close:%H:%M}" if close else "a closed market"
        return f"IBKR sent no trading hours for {day}; {hours} is assumed."

    def sessions_on(self, day: date) -> tuple[Session, ...]:
        """The sessions that open on `day`, in order; empty if the market is closed."""
        known = self.sessions.get(day)
        return known if known is not None else _assumed_sessions(day)

    def is_open(self, now: datetime) -> bool:
        """Whether the market is open at `now` (aware)."""
        local = now.astimezone(EASTERN)
        days = (local.date() - timedelta(days=1), local.date())  # a session may run past midnight
        return any(local in session for day in days for session in self.sessions_on(day))

    def open_time(self, day: date) -> datetime | None:
        """When the first session of `day` opens; None if the market is closed."""
        sessions = self.sessions_on(day)
        return sessions[0].opens if sessions else None

    def close_time(self, day: date) -> datetime | None:
        """When the last session of `day` closes, on half days too; None if the market is closed."""
        sessions = self.sessions_on(day)
        return sessions[-1].closes if sessions else None

    def entry_window(self, day: date, rules: EntryRules) -> tuple[datetime, datetime] | None:
        """Start and end (exclusive) of the time for entries on `day`; None if there is none.

        On a day that closes early, `window_end` moves by as much: with a close at 13:00 instead of 16:00, 15:00
        becomes 12:00. `window_start` stays.
        """
        opens, closes = self.open_time(day), self.close_time(day)
        if opens is None or closes is None:
            return None
        start = max(_at(day, rules.window_start), opens)
        end = _at(day, rules.window_end)
        early = _at(day, REGULAR_CLOSE) - closes
        if early > timedelta(0):
            end -= early
        return (start, end) if start < end else None

    def flatten_time(self, day: date, rules: EntryRules) -> datetime | None:
        """When the trader's own positions are closed; None if the market is closed on `day`.

        `flatten_at`, but never later than `half_day_flatten_minutes_before_close` before the close.
        """
        closes = self.close_time(day)
        if closes is None:
            return None
        before_close = closes - timedelta(minutes=rules.half_day_flatten_minutes_before_close)
        return min(_at(day, rules.flatten_at), before_close)


def _day_sessions(day: str) -> list[tuple[datetime, datetime]]:
    """The sessions of one `;` part, as naive local times. After a comma the date may be missing."""
    sessions = []
    first = day.partition(":")[0]
    for part in day.split(","):
        text = part if ":" in part else f"{first}:{part}"
        match = _SESSION.fullmatch(text.strip())
        if not match:
            raise _bad(day)
        opens, closes = _naive(match[1], match[2], day), _naive(match[3] or match[1], match[4], day)
        if closes <= opens:
            raise _bad(day)
        sessions.append((opens, closes))
    return sessions


@cache  # each position asks for each price; a year has few dates
def _assumed_sessions(day: date) -> tuple[Session, ...]:
    if day.weekday() >= SATURDAY:
        return ()
    close = HALF_DAY_CLOSE if _may_close_early(day) else REGULAR_CLOSE
    return (Session(_at(day, REGULAR_OPEN), _at(day, close)),)


def _may_close_early(day: date) -> bool:
    """3 July, 24 December, and the Friday after the fourth Thursday of November."""
    if (day.month, day.day) in {(7, 3), (12, 24)}:
        return True
    friday = 4
    return day.month == 11 and day.weekday() == friday and 23 <= day.day <= 29


def _at(day: date, moment: time) -> datetime:
    return EASTERN.localize(datetime.combine(day, moment))


def _date(text: str, part: str) -> date:
    return _naive(text, "0000", part).date()


def _naive(day: str, moment: str, part: str) -> datetime:
    try:
        if moment == "2400":
            return datetime.strptime(day, "%Y%m%d") + timedelta(days=1)  # noqa: DTZ007 - the zone is the contract's
        return datetime.strptime(day + moment, "%Y%m%d%H%M")  # noqa: DTZ007 - the zone is the contract's
    except ValueError as error:
        raise _bad(part) from error


def _bad(part: str) -> MarketDataError:
    return MarketDataError(
        f"IBKR's trading hours contain {part[:60]!r}, which is not a session.",
        "Sessions are expected as 20251006:0930-20251006:1600; report this instrument.",
    )
