"""SessionClock: session time is monotonic time x speed, and continues across a change of speed."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta

import pytest

from paper_gateway.market import EASTERN, MarketError, SessionClock

START = datetime(2025, 10, 6, 9, 44, tzinfo=EASTERN)


def elapsed_s(clock: SessionClock, since: datetime = START) -> float:
    return (clock.now() - since).total_seconds()


def test_session_time_is_real_time_times_speed() -> None:
    before_s = time.monotonic()
    clock = SessionClock(START, 600)
    after_s = time.monotonic()
    while elapsed_s(clock) < 6:  # 10 ms of real time
        pass
    low = (time.monotonic() - after_s) * 600
    shown = elapsed_s(clock)
    high = (time.monotonic() - before_s) * 600
    assert low <= shown + 1e-3
    assert shown <= high + 1e-3


def test_a_speed_change_goes_on_from_the_present_session_time() -> None:
    clock = SessionClock(START, 100_000)
    while elapsed_s(clock) < 60:
        pass
    before = clock.now()
    clock.set_speed(1e-6)
    after = clock.now()
    assert before <= after
    assert clock.speed == 1e-6
    real_s = time.monotonic()
    while time.monotonic() < real_s + 0.02:
        pass
    assert clock.now() - after < timedelta(milliseconds=1)


def test_now_is_eastern_and_crosses_the_end_of_daylight_saving() -> None:
    clock = SessionClock(datetime(2025, 11, 2, 1, 59, 59, 999_000, EASTERN), 1000)
    while clock.now().utcoffset() == timedelta(hours=-4):
        pass
    assert clock.now().utcoffset() == timedelta(hours=-5)
    assert clock.now().hour == 1


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan, math.inf])
def test_an_invalid_speed_is_refused(speed: float) -> None:
    with pytest.raises(MarketError, match="above 0"):
        SessionClock(START, speed)
    clock = SessionClock(START, 2)
    with pytest.raises(MarketError, match="above 0"):
        clock.set_speed(speed)
    assert clock.speed == 2


def test_a_naive_start_is_refused() -> None:
    with pytest.raises(MarketError, match="no time zone"):
        SessionClock(START.replace(tzinfo=None), 1)
