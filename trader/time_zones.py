"""Time zones by TWS's names, and the parsing of TWS's times. Pure: it reads no clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytz

from trader.errors import MarketDataError

EASTERN = pytz.timezone("US/Eastern")

_TWS_TIME = re.compile(r"(\d{8})(?: +|-)(\d{2}:\d{2}:\d{2})(?: +([A-Za-z].*))?")
# Zone names of TWS that the zone database lacks or defines otherwise (its EST has no daylight saving time).
ZONE_ALIASES = {
    "EST": "US/Eastern",
    "EDT": "US/Eastern",
    "ET": "US/Eastern",
    "CST": "US/Central",
    "PST": "US/Pacific",
}
# A TWS under Windows may name the zone of its machine in this way.
WINDOWS_ZONES = {
    "AUS Eastern Standard Time": "Australia/Sydney",
    "Arabian Standard Time": "Asia/Dubai",
    "Arab Standard Time": "Asia/Riyadh",
    "Atlantic Standard Time": "America/Halifax",
    "Central America Standard Time": "America/Guatemala",
    "Central Europe Standard Time": "Europe/Budapest",
    "Central European Standard Time": "Europe/Warsaw",
    "Central Standard Time": "US/Central",
    "Central Standard Time (Mexico)": "America/Mexico_City",
    "China Standard Time": "Asia/Shanghai",
    "Coordinated Universal Time": "UTC",
    "E. Europe Standard Time": "Europe/Chisinau",
    "E. South America Standard Time": "America/Sao_Paulo",
    "Eastern Standard Time": "US/Eastern",
    "FLE Standard Time": "Europe/Kiev",
    "GMT Standard Time": "Europe/London",
    "GTB Standard Time": "Europe/Bucharest",
    "Greenwich Standard Time": "Atlantic/Reykjavik",
    "Hawaiian Standard Time": "Pacific/Honolulu",
    "India Standard Time": "Asia/Kolkata",
    "Israel Standard Time": "Asia/Jerusalem",
    "Korea Standard Time": "Asia/Seoul",
    "Mountain Standard Time": "US/Mountain",
    "New Zealand Standard Time": "Pacific/Auckland",
    "Pacific Standard Time": "US/Pacific",
    "Romance Standard Time": "Europe/Paris",
    "Russian Standard Time": "Europe/Moscow",
    "SE Asia Standard Time": "Asia/Bangkok",
    "Singapore Standard Time": "Asia/Singapore",
    "South Africa Standard Time": "Africa/Johannesburg",
    "Taipei Standard Time": "Asia/Taipei",
    "Tokyo Standard Time": "Asia/Tokyo",
    "Turkey Standard Time": "Europe/Istanbul",
    "US Eastern Standard Time": "America/Indianapolis",
    "US Mountain Standard Time": "America/Phoenix",
    "UTC": "UTC",
    "W. Australia Standard Time": "Australia/Perth",
    "W. Europe Standard Time": "Europe/Berlin",
}


def zone(name: str) -> pytz.BaseTzInfo:
    """The time zone of a TWS zone name: `US/Eastern`, `EST (Eastern Standard Time)`, `Romance Standard Time`.

    Raises MarketDataError for a name that is not known.
    """
    short = name.partition("(")[0].strip()
    known = WINDOWS_ZONES.get(name.strip()) or WINDOWS_ZONES.get(short) or ZONE_ALIASES.get(short, short)
    try:
        return pytz.timezone(known)
    except pytz.UnknownTimeZoneError as error:
        hint = "Set TWS's API time zone to the instrument's or the login's zone."
        raise MarketDataError(f"The time zone {name!r} is not known.", hint) from error


def parse_time(text: str | int | float) -> datetime:
    """A time in any form that TWS or the trader's own files use, as an aware US Eastern datetime.

    `20251006 15:03:45 US/Eastern`; `20251006 15:03:45` (US Eastern); `20251006-15:03:45` (UTC, by TWS's
    convention); `20251006` (midnight); epoch seconds; ISO 8601 (US Eastern if it has no offset). Raises
    MarketDataError for anything else.
    """
    try:
        return _parse(text).astimezone(EASTERN)
    except (ValueError, OverflowError, OSError) as error:
        raise MarketDataError(f"{text!r} is not a time: {error}.", "Report the message it came in.") from error


def _parse(text: str | int | float) -> datetime:
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
    import dateutil.parser  # imported here: IBKR sends no such time

    moment = dateutil.parser.isoparse(text)
    return moment if moment.tzinfo else _eastern(moment)


def _from_epoch(epoch_s: float) -> datetime:
    if not 0 < epoch_s < 2**33:
        raise ValueError("it is out of range")
    return datetime.fromtimestamp(epoch_s, EASTERN)


def _eastern(naive: datetime) -> datetime:
    return EASTERN.localize(naive)
