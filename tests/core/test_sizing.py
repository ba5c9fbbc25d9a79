"""Sizes and stops: every bound, the tick grid, NaN, and shares that add up."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.domain.model import Side
from trader.config.sections import SizeRules
from trader.core.numbers import Way, at_least, round_to_tick
from trader.core.sizing import partial_shares, size_entry, stop_price
from trader.errors import MarketDataError

RULES = SizeRules()


@pytest.mark.parametrize(
    ("equity", "entry", "stop", "buying_power", "shares"),
    [
        (100_000, 50.0, 45.0, 400_000, 200),  # risk: 1000 / 5
        (100_000, 50.0, 55.0, 400_000, 200),  # a short's stop lies above
        (100_000, 100.0, 99.6, 400_000, 250),  # value: 25,000 / 100
        (100_000, 5.0, 4.9, 400_000, 1000),  # max_shares
        (100_000, 50.0, 45.0, 2_020, 40),  # buying power
        (100_000, 50.0, 45.0, 49.99, 0),  # less than one share
        (400, 50.0, 45.0, 400_000, 0),
        (100_000, 50.0, 50.0, 400_000, 0),  # no distance: no size
        (3_000, 10.0, 9.7, 400_000, 100),  # 30 / 0.3 is 99.99999999999994
    ],
)
def test_sizes(equity: float, entry: float, stop: float, buying_power: float, shares: int) -> None:
    assert size_entry(equity, entry, stop, buying_power, RULES) == shares


def test_the_risk_is_configurable() -> None:
    assert size_entry(100_000, 50.0, 45.0, 400_000, SizeRules(risk_per_trade_pct=0.5)) == 100
    assert size_entry(100_000, 50.0, 45.0, 400_000, SizeRules(max_shares=7)) == 7


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -5.0])
@pytest.mark.parametrize("at", range(4))
def test_f20_no_size_from_a_number_that_is_none(bad: float, at: int) -> None:
    numbers = [100_000.0, 50.0, 45.0, 400_000.0]
    numbers[at] = bad
    equity, entry, stop, buying_power = numbers
    assert size_entry(equity, entry, stop, buying_power, RULES) == 0


@given(st.floats(1, 1e7), st.floats(0.5, 5000), st.floats(0.5, 5000), st.floats(1, 1e7))
def test_a_size_is_within_every_bound(equity: float, entry: float, stop: float, buying_power: float) -> None:
    shares = size_entry(equity, entry, stop, buying_power, RULES)
    assert 0 <= shares <= RULES.max_shares
    assert shares * entry <= min(RULES.max_position_value, buying_power) * (1 + 1e-6)
    assert shares * abs(entry - stop) <= equity * RULES.risk_per_trade_pct / 100 * (1 + 1e-6)


@pytest.mark.parametrize(
    ("side", "pivot", "entry", "tick", "stop"),
    [
        ("LONG", 100.0, 100.5, 0.01, 100.0),
        ("LONG", 100.0, 100.1, 0.01, 99.79),  # 0.3 % below 100.10 is 99.7997
        ("SHORT", 100.0, 99.5, 0.01, 100.0),
        ("SHORT", 100.0, 99.9, 0.01, 100.2),  # 0.3 % above 99.90 is 100.1997
        ("LONG", 100.003, 101.0, 0.01, 100.0),
        ("SHORT", 100.003, 99.0, 0.01, 100.01),
        ("LONG", 0.5555, 0.57, 0.0001, 0.5555),
        ("LONG", 100.03, 101.0, 0.05, 100.0),
    ],
)
def test_the_stop_is_at_the_pivot_but_not_too_near(
    side: Side, pivot: float, entry: float, tick: float, stop: float
) -> None:
    assert stop_price(side, pivot, entry, RULES, tick) == stop


@given(st.sampled_from(["LONG", "SHORT"]), st.floats(1, 5000), st.floats(1, 5000))
def test_a_stop_is_never_nearer_than_the_least_distance(side: Side, pivot: float, entry: float) -> None:
    stop = stop_price(side, pivot, entry, RULES, 0.01)
    distance = entry - stop if side == "LONG" else stop - entry
    assert distance >= entry * RULES.min_stop_pct / 100 - 1e-6
    assert round(stop * 100) / 100 == stop


@pytest.mark.parametrize(("pivot", "entry"), [(math.nan, 100.0), (100.0, math.nan), (100.0, 0.0), (-1.0, 100.0)])
def test_f20_no_stop_from_a_price_that_is_none(pivot: float, entry: float) -> None:
    with pytest.raises(MarketDataError):
        stop_price("LONG", pivot, entry, RULES, 0.01)


def test_no_stop_where_none_is_left() -> None:
    with pytest.raises(MarketDataError):
        stop_price("LONG", 0.005, 0.009, RULES, 0.01)


def test_prices_on_the_grid_stay_where_they_are() -> None:
    ways: tuple[Way, ...] = ("down", "up", "nearest")
    for cents in range(1, 20_000, 7):
        price = cents / 100
        assert [round_to_tick(price, 0.01, way) for way in ways] == [price] * 3
    assert round_to_tick(100.1 * 3, 0.01, "up") == 300.3
    with pytest.raises(MarketDataError):
        round_to_tick(math.nan, 0.01)
    with pytest.raises(MarketDataError):
        round_to_tick(1.0, 0.0)


def test_limits_forgive_binary_fractions_but_not_nan() -> None:
    assert 100.3 - 100.0 < 0.3
    assert at_least(100.3 - 100.0, 0.3)
    assert not at_least(0.2999, 0.3)
    assert not at_least(math.nan, 0.3)
    assert not at_least(0.3, math.nan)


def test_f18_23_shares_add_up() -> None:
    first = partial_shares(23, 23, 0.5)
    second = partial_shares(23, 23 - first, 0.25)
    assert (first, second, 23 - first - second) == (11, 5, 7)


@pytest.mark.parametrize(
    ("original", "held", "fraction", "shares"),
    [
        (100, 100, 0.5, 50),
        (100, 30, 0.5, 30),
        (1, 1, 0.5, 0),
        (3, 3, 0.25, 0),
        (100, 0, 0.5, 0),
        (10, 10, 0.0, 0),
        (10, 10, math.nan, 0),
        (10, 10, 1.0, 10),
        (10, 10, 0.3, 3),
        (100, -50, 0.5, 0),
    ],
)
def test_partials(original: int, held: int, fraction: float, shares: int) -> None:
    assert partial_shares(original, held, fraction) == shares


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_f18_shares_always_add_up(original: int, first: float, second: float) -> None:
    held = original
    for fraction in (first, second):
        taken = partial_shares(original, held, fraction)
        assert 0 <= taken <= held
        held -= taken
    assert held >= 0
