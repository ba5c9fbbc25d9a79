"""The session's clock, on time sources that the test sets."""

from datetime import UTC, date, datetime, timedelta

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from trader.clock import STEP_LIMIT_S, Clock
from trader.errors import BrokerError

NOON = datetime(2025, 10, 6, 16, 0, tzinfo=UTC).timestamp()  # 12:00 US Eastern


class Sources:
    """A monotonic and a system clock that a test sets."""

    def __init__(self) -> None:
        self.monotonic_s = 1000.0
        self.system_s = NOON

    def clock(self, *, real_gateway: bool = True) -> Clock:
        return Clock(real_gateway=real_gateway, monotonic=lambda: self.monotonic_s, system=lambda: self.system_s)

    def pass_time(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.system_s += seconds


@pytest.fixture
def sources() -> Sources:
    return Sources()


def test_before_the_first_answer_the_computers_clock_is_used(sources: Sources) -> None:
    clock = sources.clock()
    assert clock.now() == datetime(2025, 10, 6, 12, 0, tzinfo=UTC) - timedelta(hours=-4)
    assert clock.now().tzname() == "EDT"


def test_session_time_is_ibkrs_time_plus_monotonic_time_times_the_speed(sources: Sources) -> None:
    clock = sources.clock()
    clock.sync(NOON - 86_400, speed=60)
    sources.monotonic_s += 2.5
    sources.system_s -= 4000  # a change of the computer's clock has no effect
    assert clock.timestamp() == NOON - 86_400 + 150
    assert clock.trading_date() == date(2025, 10, 5)


def test_answers_in_whole_seconds_only_move_the_clock_forward(sources: Sources) -> None:
    clock = sources.clock()
    clock.sync(NOON)
    sources.pass_time(0.9)
    assert clock.sync(NOON) == 0.0  # the same second: the clock stays at .9
    assert clock.timestamp() == pytest.approx(NOON + 0.9)
    sources.pass_time(0.05)
    assert clock.sync(NOON + 1) == pytest.approx(0.05)  # the clock was 0.05 s behind
    assert clock.timestamp() == NOON + 1


def test_an_answer_handled_late_counts_from_when_it_came(sources: Sources) -> None:
    clock = sources.clock()
    came = sources.monotonic_s
    sources.pass_time(0.75)
    clock.sync(NOON, at_monotonic=came)
    assert clock.timestamp() == NOON + 0.75


def test_a_clock_far_ahead_is_set_back_without_showing_an_earlier_time(sources: Sources) -> None:
    clock = sources.clock()
    clock.sync(NOON)
    sources.pass_time(10)
    shown = clock.timestamp()
    assert clock.sync(NOON + 5) == pytest.approx(-5)
    assert clock.timestamp() == shown
    sources.pass_time(4)
    assert clock.timestamp() == shown  # the same until ...
    sources.pass_time(3)
    assert clock.timestamp() == NOON + 12  # ... IBKR's time has reached it


def test_the_limit_grows_with_the_speed(sources: Sources) -> None:
    clock = sources.clock()
    clock.sync(NOON, speed=600)
    sources.pass_time(1)
    assert clock.sync(NOON + 600 - STEP_LIMIT_S * 600, speed=600) == 0.0
    assert clock.sync(NOON + 600 - STEP_LIMIT_S * 600 - 1, speed=600) < 0


def test_restart_lets_another_session_begin_earlier(sources: Sources) -> None:
    clock = sources.clock()
    clock.sync(NOON)
    assert clock.timestamp() == NOON
    clock.restart()
    clock.sync(NOON - 7200)
    assert clock.timestamp() == NOON - 7200


def test_a_new_speed_counts_from_its_answer(sources: Sources) -> None:
    clock = sources.clock()
    clock.sync(NOON, speed=10)
    sources.pass_time(1)
    clock.sync(NOON + 10, speed=1)
    sources.pass_time(1)
    assert clock.timestamp() == NOON + 11
    assert clock.speed == 1


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(-20, 20)), max_size=30), st.sampled_from([1.0, 5.0, 600.0]))
def test_session_time_never_decreases_whatever_the_answers(steps: list[tuple[float, int]], speed: float) -> None:
    sources = Sources()
    clock = sources.clock()
    clock.sync(NOON, speed=speed)
    seen = clock.timestamp()
    for passed, off in steps:
        sources.pass_time(passed)
        clock.sync(float(int(NOON + (sources.monotonic_s - 1000) * speed) + off), speed=speed)
        assert clock.timestamp() >= seen
        seen = clock.timestamp()


def test_drift_gives_a_warning_on_a_real_gateway_only(sources: Sources) -> None:
    clock = sources.clock()
    assert clock.warning() is None
    clock.sync(NOON - 1.9)
    assert clock.warning() is None
    clock.restart()
    clock.sync(NOON - 30)
    assert "30.0 s ahead of IBKR's" in (clock.warning() or "")
    clock.sync(NOON + 30)
    assert "30.0 s behind IBKR's" in (clock.warning() or "")
    embedded = sources.clock(real_gateway=False)
    embedded.sync(NOON - 86_400)
    assert embedded.warning() is None


@pytest.mark.parametrize("epoch", [float("nan"), float("inf"), -1.0, 0.0, 1e12])
def test_an_answer_that_is_not_a_time_is_refused(sources: Sources, epoch: float) -> None:
    clock = sources.clock()
    with pytest.raises(BrokerError):
        clock.sync(epoch)
    assert clock.timestamp() == sources.system_s  # the computer's clock is still used


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_that_is_not_positive_is_refused(sources: Sources, speed: float) -> None:
    with pytest.raises(BrokerError):
        sources.clock().sync(NOON, speed=speed)


@freeze_time("2025-10-07 02:30:00")  # UTC: still the 6th in New York
def test_f23_the_trading_date_is_us_eastern() -> None:
    assert Clock().trading_date() == date(2025, 10, 6)


def test_the_offset_follows_summer_time(sources: Sources) -> None:
    clock = sources.clock()
    clock.sync(datetime(2025, 11, 3, 14, 30, tzinfo=UTC).timestamp())
    assert (clock.now().hour, clock.now().tzname()) == (9, "EST")
