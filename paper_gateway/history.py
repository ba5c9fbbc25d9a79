"""Historical bar requests: parsing, bar times and sizes, and IBKR's pacing limits. No I/O."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from paper_gateway.errors import RequestRefused
from paper_gateway.market import EASTERN, Bar

DAY_S = 86400
SESSION_S = 23400  # 09:30 to 16:00
MAX_BARS = 10_000
"""The most bars in one answer: about two sessions of five-second bars."""

BAR_SIZES = {
    "5 secs": 5,
    "10 secs": 10,
    "15 secs": 15,
    "30 secs": 30,
    "1 min": 60,
    "2 mins": 120,
    "3 mins": 180,
    "5 mins": 300,
    "10 mins": 600,
    "15 mins": 900,
    "20 mins": 1200,
    "30 mins": 1800,
    "1 hour": 3600,
    "2 hours": 7200,
    "3 hours": 10800,
    "4 hours": 14400,
    "8 hours": 28800,
    "1 day": DAY_S,
}
"""Bar sizes in seconds, by the names of TWS. `1 secs`, weeks and months are not supported."""

_UNITS_DAYS = {"D": 1, "W": 7, "M": 30, "Y": 365}
_DURATION = re.compile(r"(\d{1,5}) ([SDWMY])")
_SHOWN = frozenset({"TRADES", "MIDPOINT", "BID", "ASK", "ADJUSTED_LAST"})
_NOT_LIVE = frozenset({"BID_ASK", "ADJUSTED_LAST"})
_WITH_VOLUME = frozenset({"TRADES", "ADJUSTED_LAST"})


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """A parsed request. start, end: in US/Eastern. bar_s: in seconds."""

    start: datetime
    end: datetime
    bar_s: int
    format_date: int
    has_volume: bool

    def shown(self, bar: Bar) -> tuple[str, Bar]:
        """A bar as the client sees it, with its date. Without volume, volume, wap and count are -1."""
        if self.has_volume:
            bar = replace(bar, wap=round(bar.wap, 3))
        else:
            bar = replace(bar, volume=-1, wap=-1.0, count=-1)
        return format_time(bar.start, self.bar_s, self.format_date), bar


def refused(cause: str) -> RequestRefused:
    """Error 320 for an invalid request: it ends the request in every client. For ib_async 321 is a warning."""
    return RequestRefused(320, f"Error reading request: {cause}")


def not_live(cause: str) -> RequestRefused:
    """Error 321 for a request that cannot be kept up to date, as recorded."""
    return RequestRefused(321, f"Error validating request.-'D' : cause - {cause} not supported with live updates")


def parse_query(
    end: str, bar_size: str, duration: str, show: str, format_date: int, now: datetime, *, keep: bool
) -> HistoryQuery:
    """Parse the fields of a request. Raises RequestRefused for an invalid one."""
    if bar_size not in BAR_SIZES:
        raise refused(f"Historical data bar size setting is invalid: {bar_size[:40]!r}")
    if keep and end:
        raise not_live("End date")
    if keep and show.upper() in _NOT_LIVE:
        raise not_live("Source price")
    if show.upper() not in _SHOWN:
        raise refused(f"What to show field is missing or incorrect: {show[:40]!r}")
    if format_date not in (1, 2):
        raise refused(f"formatDate must be 1 or 2, not {format_date}")
    last = min(parse_time(end), now) if end else now
    bar_s = BAR_SIZES[bar_size]
    start = bar_start(_begin(last, duration), bar_s)
    if (last - start).days * SESSION_S / bar_s > MAX_BARS:
        raise refused(f"Historical data request for too many bars: {duration} of {bar_size}")
    return HistoryQuery(start, last, bar_s, format_date, show.upper() in _WITH_VOLUME)


def _begin(end: datetime, duration: str) -> datetime:
    match = _DURATION.fullmatch(duration.strip().upper())
    if match is None or int(match[1]) == 0:
        raise refused(f"Historical data query duration is invalid: {duration[:40]!r}")
    count, unit = int(match[1]), match[2]
    if unit == "S":
        return end - timedelta(seconds=count)
    if count * _UNITS_DAYS[unit] > 366:
        raise refused("the paper gateway has at most one year of history")
    # "1 D" is the session of the day that contains the end, not the 24 hours before it
    days = count * _UNITS_DAYS[unit]
    midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
    return _days_back(midnight, days) if unit == "D" else midnight - timedelta(days=days)


def _days_back(midnight: datetime, sessions: int) -> datetime:
    """The midnight at which the last `sessions` weekdays begin; the day of `midnight` is the last of them."""
    day = midnight
    left = sessions - 1
    while left > 0 or day.weekday() >= 5:
        left -= day.weekday() < 5
        day -= timedelta(days=1)
    return day


def parse_time(text: str) -> datetime:
    """Parse `20251006 15:00:00 US/Eastern`, the same without a zone (US/Eastern), or `20251006-19:00:00` (UTC)."""
    try:
        if "-" in text[:9]:
            return datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC).astimezone(EASTERN)
        stamp, _, zone = text.replace("  ", " ").partition(" ")
        clock, _, zone = zone.partition(" ")
        where = ZoneInfo(zone) if zone else EASTERN
        parsed = datetime.strptime(f"{stamp} {clock or '00:00:00'}", "%Y%m%d %H:%M:%S").replace(tzinfo=where)
        return parsed.astimezone(EASTERN)
    except (ValueError, ZoneInfoNotFoundError):
        raise refused(f"Invalid date or time: {text[:60]!r}") from None


def bar_start(moment: datetime, bar_s: int) -> datetime:
    """When the bar that contains `moment` begins: at a multiple of bar_s after midnight US/Eastern."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if bar_s >= DAY_S:
        return midnight
    since = int((moment - midnight).total_seconds())
    return midnight + timedelta(seconds=since - since % bar_s)


def format_time(start: datetime, bar_s: int, format_date: int) -> str:
    """A bar's date. Daily bars: yyyymmdd. Others: text with a zone (format 1) or epoch seconds (format 2)."""
    if bar_s >= DAY_S:
        return start.strftime("%Y%m%d")
    return str(int(start.timestamp())) if format_date == 2 else start.strftime("%Y%m%d %H:%M:%S US/Eastern")


def merge(bars: list[Bar]) -> Bar:
    """One bar of consecutive bars. wap: weighted by volume; without volume, the last close."""
    volume = sum(bar.volume for bar in bars)
    wap = sum(bar.wap * bar.volume for bar in bars) / volume if volume else bars[-1].close
    return Bar(
        bars[0].start,
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        volume,
        wap,
        sum(bar.count for bar in bars),
    )


@dataclass
class Pacing:
    """IBKR's limits of historical data requests (historical_limitations): 60 in 10 minutes, 5 of one contract
    in 2 s, identical ones at least 15 s apart. Times in seconds of the monotonic clock."""

    _all: deque[float] = field(default_factory=deque)
    _same: dict[tuple[str, ...], float] = field(default_factory=dict)
    _contract: dict[str, deque[float]] = field(default_factory=dict)

    def admits(self, key: tuple[str, ...], now_s: float) -> bool:
        """Whether the request `key` (symbol first) is within the limits. A refused request counts, too."""
        recent = self._contract.setdefault(key[0], deque())
        drop_before(recent, now_s - 2)
        drop_before(self._all, now_s - 600)
        fits = len(self._all) < 60 and len(recent) < 5 and now_s - self._same.get(key, -3600.0) >= 15
        self._all.append(now_s)
        recent.append(now_s)
        self._same[key] = now_s
        return fits


def drop_before(times: deque[float], limit: float) -> None:
    """Remove the times before `limit` from an ascending queue."""
    while times and times[0] < limit:
        times.popleft()
