"""The calendar against dates published by NYSE, and the hours in the format of TWS."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest

from paper_gateway.market.model import EASTERN
from paper_gateway.market.trading_days import (
    bar_spans,
    holidays,
    hours_text,
    is_half_day,
    is_trading_day,
    previous_trading_day,
    session_close,
    session_minutes,
)

PUBLISHED = {
    2021: ["01-01", "01-18", "02-15", "04-02", "05-31", "07-05", "09-06", "11-25", "12-24"],
    2022: ["01-17", "02-21", "04-15", "05-30", "06-20", "07-04", "09-05", "11-24", "12-26"],
    2023: ["01-02", "01-16", "02-20", "04-07", "05-29", "06-19", "07-04", "09-04", "11-23", "12-25"],
    2024: ["01-01", "01-15", "02-19", "03-29", "05-27", "06-19", "07-04", "09-02", "11-28", "12-25"],
    2025: ["01-01", "01-09", "01-20", "02-17", "04-18", "05-26", "06-19", "07-04", "09-01", "11-27", "12-25"],
    2026: ["01-01", "01-19", "02-16", "04-03", "05-25", "06-19", "07-03", "09-07", "11-26", "12-25"],
}
HALF_DAYS = {
    2021: ["11-26"],
    2022: ["11-25"],
    2023: ["07-03", "11-24"],
    2024: ["07-03", "11-29", "12-24"],
    2025: ["07-03", "11-28", "12-24"],
    2026: ["11-27", "12-24"],
}


@pytest.mark.parametrize("year", PUBLISHED)
def test_holidays_are_those_published(year: int) -> None:
    expected = [date.fromisoformat(f"{year}-{day}") for day in PUBLISHED[year]]
    assert sorted(holidays(year)) == expected


@pytest.mark.parametrize("year", HALF_DAYS)
def test_half_days_are_those_published(year: int) -> None:
    days = (date(year, 1, 1) + timedelta(days=n) for n in range(365))
    assert [day for day in days if is_half_day(day)] == [
        date.fromisoformat(f"{year}-{day}") for day in HALF_DAYS[year]
    ]


def test_sessions_close_at_four_or_at_one() -> None:
    assert session_close(date(2025, 10, 6)) == datetime(2025, 10, 6, 16, tzinfo=EASTERN)
    assert session_close(date(2025, 11, 28)) == datetime(2025, 11, 28, 13, tzinfo=EASTERN)
    assert session_minutes(date(2025, 10, 6)) == 390
    assert session_minutes(date(2025, 12, 24)) == 210


def test_the_day_before_a_monday_holiday_is_the_friday() -> None:
    assert not is_trading_day(date(2025, 10, 5))
    assert previous_trading_day(date(2025, 9, 2)) == date(2025, 8, 29)


def test_hours_across_a_holiday_a_half_day_and_a_weekend() -> None:
    assert hours_text(date(2025, 11, 26), 4) == (
        "20251126:0930-20251126:1600;20251127:CLOSED;20251128:0930-20251128:1300;20251129:CLOSED"
    )
    extended = hours_text(date(2025, 11, 28), 1, "0400", timedelta(hours=4))
    assert extended == "20251128:0400-20251128:1700"


@pytest.mark.parametrize(
    ("bar_s", "first", "last", "count"),
    [
        (5, (0, 5), (23395, 23400), 4680),
        (60, (0, 60), (23340, 23400), 390),
        (1800, (0, 1800), (21600, 23400), 13),
        (3600, (0, 1800), (19800, 23400), 7),
        (86400, (0, 23400), (0, 23400), 1),
    ],
)
def test_bars_are_cut_at_the_hours_own_multiples(
    bar_s: int, first: tuple[int, int], last: tuple[int, int], count: int
) -> None:
    spans = list(bar_spans(23400, bar_s, -1e9, 1e9))
    assert (spans[0], spans[-1], len(spans)) == (first, last, count)
    assert all(left[1] == right[0] for left, right in pairwise(spans))


def test_spans_lie_within_what_is_asked() -> None:
    assert list(bar_spans(23400, 60, 61, 240)) == [(120, 180), (180, 240)]
    assert list(bar_spans(23400, 60, 60, 179.9)) == [(60, 120)]
    assert list(bar_spans(23400, 60, 0, -1)) == []
