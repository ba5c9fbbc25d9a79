"""The session's one clock: the broker's time, carried forward by the monotonic clock times the session's speed.

Everything that has a date or a time of day asks this clock; how often files are written is real time.

`reqCurrentTime` answers in whole seconds, so an answer T proves only that the broker's time is at least T
(and, but for the way back, below T + 1). The clock therefore treats T as a lower bound: it moves forward to T
if it is behind, and keeps its own count otherwise. Only where it is ahead by more than `STEP_LIMIT_S` of
session time (times the speed, if that is above 1) is it re-anchored at T. It never runs backwards then: it
stands still until the broker's time has caught up. The first answer after `restart()` sets the clock either
way, so call that for a new gateway or a new connection, before trading starts. Until the first answer the
system's clock is used.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pytz
import pytz.tzfile

from trader.errors import BrokerError, MarketDataError


def _zone_alone(name: str) -> pytz.BaseTzInfo:
    """As `pytz.timezone`, which looks for the files of all its 600 zones first: 6 ms of every restart."""
    with pytz.open_resource(name) as file:  # type: ignore[attr-defined]  # public, and unknown to the stubs
        zone_read: pytz.BaseTzInfo = pytz.tzfile.build_tzinfo(name, file)
    return zone_read


EASTERN = _zone_alone("US/Eastern")
STEP_LIMIT_S = 2.0
DRIFT_LIMIT_S = 2.0

_TWS_TIME = re.compile(r"(\d{8})(?: +|-)(\d{2}:\d{2}:\d{2})(?: +([A-Za-z][A-Za-z0-9_+/-]*))?")
# Zone names that TWS uses and the zone database does not know, or knows as something else (EST has no summer).
ZONE_ALIASES = {
    "EST": "US/Eastern",
    "EDT": "US/Eastern",
    "ET": "US/Eastern",
    "CST": "US/Central",
    "PST": "US/Pacific",
}


@dataclass(frozen=True, slots=True)
class _Anchor:
    epoch_s: float
    monotonic_s: float
    speed: float

    def at(self, monotonic_s: float) -> float:
        return self.epoch_s + (monotonic_s - self.monotonic_s) * self.speed


class Clock:
    """Session time. Not for other threads: it belongs to the event loop's thread."""

    def __init__(
        self,
        *,
        real_gateway: bool = True,
        monotonic: Callable[[], float] | None = None,
        system: Callable[[], float] | None = None,
    ) -> None:
        """`monotonic` and `system` give seconds (default: this computer's own clocks).

        `real_gateway` says whether drift is worth a warning.
        """
        self.real_gateway = real_gateway
        self._monotonic = monotonic or time.monotonic
        self._system = system or time.time
        self._anchor: _Anchor | None = None
        self._fresh = True
        self._latest_s = -math.inf
        self._drift_s: float | None = None

    @property
    def synced(self) -> bool:
        """Whether the broker's time is known; before that the system's clock is used."""
        return self._anchor is not None

    @property
    def speed(self) -> float:
        """Session seconds for one real second."""
        return self._anchor.speed if self._anchor else 1.0

    @property
    def drift_s(self) -> float | None:
        """System clock minus session clock at the last sync; None before the first one."""
        return self._drift_s

    def timestamp(self) -> float:
        """Session time in seconds since 1970; never less than it was, except after `restart()`."""
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

    def seconds_until(self, moment: datetime) -> float:
        """Real seconds until the session reaches `moment` (aware); 0 if it has."""
        return max(0.0, (moment.timestamp() - self.timestamp()) / self.speed)

    def restart(self) -> None:
        """Let the next `sync` set the clock either way: another gateway, or a new connection."""
        self._fresh = True

    def sync(self, broker_epoch_s: float, at_monotonic: float | None = None, speed: float = 1.0) -> float:
        """Take the broker's answer to `reqCurrentTime`; returns the step in session seconds (0.0: kept).

        `at_monotonic` is when the answer came, on the injected monotonic clock (default: now). `speed` is the
        gateway's; a real one has 1. Raises BrokerError for a time or a speed that cannot be.
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
        """One sentence where this computer's clock and a real gateway's differ by more than 2 s, else None."""
        if not self.real_gateway or self._drift_s is None or abs(self._drift_s) <= DRIFT_LIMIT_S:
            return None
        way = "ahead of" if self._drift_s > 0 else "behind"
        return (
            f"This computer's clock is {abs(self._drift_s):.1f} s {way} IBKR's. The trader follows IBKR's; "
            "set the computer's clock (NTP)."
        )


def _check_answer(broker_epoch_s: float, speed: float) -> None:
    if not math.isfinite(broker_epoch_s) or not 0 < broker_epoch_s < 2**33:
        raise BrokerError(f"The gateway's time is {broker_epoch_s}, which is no time.", "Restart the gateway.")
    if not math.isfinite(speed) or speed <= 0:
        raise BrokerError(f"The gateway's speed is {speed}.", "Restart the gateway with a speed above 0.")


def zone(name: str) -> pytz.BaseTzInfo:
    """The time zone of a TWS zone name, such as `US/Eastern`, `EST (Eastern Standard Time)` or `EST5EDT`.

    Raises MarketDataError for a name that is not known.
    """
    short = name.partition("(")[0].strip()
    try:
        return pytz.timezone(ZONE_ALIASES.get(short, short))
    except pytz.UnknownTimeZoneError as error:
        hint = "Set TWS's API time zone to the instrument's or the login's zone."
        raise MarketDataError(f"The time zone {name!r} is not known.", hint) from error


def parse_time(text: str | int | float | datetime) -> datetime:
    """A time in any form that TWS or the trader's own files use, as an aware US Eastern datetime.

    `20251006 15:03:45 US/Eastern`; `20251006 15:03:45` (US Eastern, the zone of the session);
    `20251006-15:03:45` (UTC, by TWS's convention); `20251006` (midnight); epoch seconds; ISO 8601 (US Eastern
    where it has no offset). Raises MarketDataError for anything else.
    """
    try:
        return _parse(text).astimezone(EASTERN)
    except (ValueError, OverflowError, OSError) as error:
        raise MarketDataError(f"{text!r} is not a time: {error}.", "Report the message it came in.") from error


def _parse(text: str | int | float | datetime) -> datetime:
    if isinstance(text, datetime):
        return text if text.tzinfo else _eastern(text)
    if isinstance(text, int | float):
        return _from_epoch(float(text))
    text = text.strip()
    match = _TWS_TIME.fullmatch(text)
    if match:
        naive = datetime.strptime(f"{match[1]} {match[2]}", "%Y%m%d %H:%M:%S")  # noqa: DTZ007 - its zone follows
        if match[3]:
            return zone(match[3]).localize(naive)
        return naive.replace(tzinfo=UTC) if text[8] == "-" else _eastern(naive)
    if re.fullmatch(r"\d{8}", text):
        return _eastern(datetime.strptime(text, "%Y%m%d"))  # noqa: DTZ007 - US Eastern by definition
    if re.fullmatch(r"\d{9,11}(\.\d+)?", text):
        return _from_epoch(float(text))
    import dateutil.parser  # 10 ms that a restart without such a time does not spend

    moment = dateutil.parser.isoparse(text)
    return moment if moment.tzinfo else _eastern(moment)


def _from_epoch(epoch_s: float) -> datetime:
    if not 0 < epoch_s < 2**33:
        raise ValueError("it is out of range")
    return datetime.fromtimestamp(epoch_s, EASTERN)


def _eastern(naive: datetime) -> datetime:
    return EASTERN.localize(naive)
