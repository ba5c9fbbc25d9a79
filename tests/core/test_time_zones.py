"""Time zones by TWS's names, and times in the forms that TWS sends."""

import pytest

from trader.errors import MarketDataError
from trader.time_zones import EASTERN, WINDOWS_ZONES, parse_time, zone


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20251006 15:03:45 US/Eastern", "2025-10-06T15:03:45-04:00"),
        ("20251006  15:03:45", "2025-10-06T15:03:45-04:00"),
        ("20251006 15:03:45 America/Chicago", "2025-10-06T16:03:45-04:00"),
        ("20251006 15:03:45 EST", "2025-10-06T15:03:45-04:00"),
        ("20251006 21:03:45 Central European Standard Time", "2025-10-06T15:03:45-04:00"),
        ("20251006 21:03:45 W. Europe Standard Time", "2025-10-06T15:03:45-04:00"),
        ("20251006 12:03:45 US Mountain Standard Time", "2025-10-06T15:03:45-04:00"),
        ("20251006 19:03:45 UTC", "2025-10-06T15:03:45-04:00"),
        ("20251006-19:03:45", "2025-10-06T15:03:45-04:00"),
        ("20251006", "2025-10-06T00:00:00-04:00"),
        ("20251103 09:30:00 US/Eastern", "2025-11-03T09:30:00-05:00"),
        ("1759779825", "2025-10-06T15:43:45-04:00"),
        (1759779825, "2025-10-06T15:43:45-04:00"),
        ("2025-10-06T10:15:30-04:00", "2025-10-06T10:15:30-04:00"),
        ("2025-10-06T14:15:30Z", "2025-10-06T10:15:30-04:00"),
        ("2025-10-06T10:15:30", "2025-10-06T10:15:30-04:00"),
    ],
)
def test_times_of_every_form(text: str | int, expected: str) -> None:
    moment = parse_time(text)
    assert moment.isoformat() == expected
    assert moment.tzinfo is not None
    assert str(moment.tzinfo) == str(EASTERN)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "20251306 15:03:45", "20251006 25:03:45", "99999999999", "20251006 15:03:45 Mars/Base", "NaN"],
)
def test_text_that_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(MarketDataError):
        parse_time(text)


def test_a_zone_that_is_not_known_is_named_in_the_error() -> None:
    with pytest.raises(MarketDataError, match="'Middle Earth Standard Time' is not known"):
        parse_time("20251006 15:03:45 Middle Earth Standard Time")


@pytest.mark.parametrize("name", WINDOWS_ZONES)
def test_each_windows_name_stands_for_a_known_zone(name: str) -> None:
    assert str(zone(name)) == WINDOWS_ZONES[name]


def test_nan_is_not_a_time() -> None:
    with pytest.raises(MarketDataError):
        parse_time(float("nan"))


def test_zone_names_of_tws() -> None:
    assert str(zone("EST (Eastern Standard Time)")) == "US/Eastern"
    assert str(zone("America/New_York")) == "America/New_York"
