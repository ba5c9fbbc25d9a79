"""Trading hours from contract details: sessions, half days, holidays, and the assumed hours."""

from datetime import date, datetime, time

import pytest

from trader.config.sections import EntryRules
from trader.errors import MarketDataError
from trader.hours import MarketHours
from trader.time_zones import EASTERN

HOURS = (
    "20251126:0930-20251126:1600;20251127:CLOSED;20251128:0930-20251128:1300;20251129:CLOSED;"
    "20251201:0930-20251201:1600"
)
RULES = EntryRules()


def at(day: date, hour: int, minute: int) -> datetime:
    return EASTERN.localize(datetime.combine(day, time(hour, minute)))


FULL, HOLIDAY, HALF = date(2025, 11, 26), date(2025, 11, 27), date(2025, 11, 28)


@pytest.fixture
def hours() -> MarketHours:
    return MarketHours.from_contract(HOURS, "US/Eastern")


def test_open_from_the_first_minute_to_the_close(hours: MarketHours) -> None:
    assert not hours.is_open(at(FULL, 9, 29))
    assert hours.is_open(at(FULL, 9, 30))
    assert hours.is_open(at(FULL, 15, 59))
    assert not hours.is_open(at(FULL, 16, 0))
    assert not hours.assumed(FULL)
    assert hours.warning(FULL) is None


def test_f23_a_holiday_is_closed(hours: MarketHours) -> None:
    assert not hours.is_open(at(HOLIDAY, 11, 0))
    assert hours.close_time(HOLIDAY) is None
    assert hours.entry_window(HOLIDAY, RULES) is None
    assert hours.flatten_time(HOLIDAY, RULES) is None


def test_a_full_day_has_the_configured_times(hours: MarketHours) -> None:
    assert hours.entry_window(FULL, RULES) == (at(FULL, 9, 45), at(FULL, 15, 0))
    assert hours.flatten_time(FULL, RULES) == at(FULL, 15, 55)


def test_f23_a_half_day_ends_entries_and_positions_early(hours: MarketHours) -> None:
    assert hours.close_time(HALF) == at(HALF, 13, 0)
    assert hours.entry_window(HALF, RULES) == (at(HALF, 9, 45), at(HALF, 12, 0))
    assert hours.flatten_time(HALF, RULES) == at(HALF, 12, 55)


def test_a_day_that_closes_before_the_window_has_no_entries() -> None:
    hours = MarketHours.from_contract("20251128:0930-20251128:1030", "US/Eastern")
    assert hours.entry_window(HALF, RULES) is None


def test_the_older_form_several_sessions_and_other_zones_are_read() -> None:
    hours = MarketHours.from_contract("20251126:0830-1000,1030-1500;20251128:CLOSED", "US/Central")
    assert hours.open_time(FULL) == at(FULL, 9, 30)
    assert hours.close_time(FULL) == at(FULL, 16, 0)
    assert not hours.is_open(at(FULL, 11, 15))
    assert hours.is_open(at(FULL, 11, 30))
    assert hours.close_time(HALF) is None


def test_a_session_may_end_at_2400() -> None:
    hours = MarketHours.from_contract("20251126:0930-20251126:2400", "US/Eastern")
    assert hours.close_time(FULL) == at(HOLIDAY, 0, 0)


def test_a_session_may_run_past_midnight() -> None:
    hours = MarketHours.from_contract("20251125:2000-20251126:0350", "US/Eastern")
    assert hours.is_open(at(FULL, 3, 0))


@pytest.mark.parametrize(
    ("day", "close"),
    [
        (date(2025, 10, 6), time(16, 0)),
        (date(2025, 10, 4), None),  # Saturday
        (date(2025, 11, 28), time(13, 0)),
        (date(2025, 11, 21), time(16, 0)),
        (date(2029, 11, 23), time(13, 0)),
        (date(2024, 11, 29), time(13, 0)),
        (date(2024, 11, 22), time(16, 0)),
        (date(2026, 11, 27), time(13, 0)),
        (date(2025, 12, 24), time(13, 0)),
        (date(2025, 7, 3), time(13, 0)),
    ],
)
def test_unknown_hours_are_assumed_with_an_early_close_and_a_warning(day: date, close: time | None) -> None:
    hours = MarketHours.from_contract("", "")
    closes = hours.close_time(day)
    assert (closes.time() if closes else None) == close
    assert hours.assumed(day)
    assert str(day) in (hours.warning(day) or "")


@pytest.mark.parametrize(
    "text",
    [
        "20251126",
        "20251126:0930",
        "20251126:0930-",
        "20251126:1600-20251126:0930",
        "20251126:0930-0930",
        "20251326:0930-1600",
        "x" * 500,
    ],
)
def test_hours_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(MarketDataError) as error:
        MarketHours.from_contract(text, "US/Eastern")
    assert len(str(error.value)) < 300


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(MarketDataError, match="Mars"):
        MarketHours.from_contract(HOURS, "Mars/Base")
