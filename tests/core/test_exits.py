"""Exits: what each rule does at its limit, and what holds for any sequence of prices."""

import math
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from state.domain.model import Side, sign
from trader.config.sections import ExitRules
from trader.core.strategy.ps60.exits import Action, Close, MoveStop, PositionView, TakePartial, decide, r_multiple
from trader.time_zones import EASTERN

ENTERED = EASTERN.localize(datetime.fromisoformat("2025-10-06T10:00:00"))
FLATTEN = ENTERED + timedelta(hours=5, minutes=55)
RULES = ExitRules()
LONG = PositionView(
    symbol="TSLA",
    side="LONG",
    shares=100,
    held=100,
    entry_price=100.0,
    entry_time=ENTERED,
    initial_stop=99.5,
    stop_price=99.5,
    target1=102.5,
)
SHORT = replace(LONG, side="SHORT", initial_stop=100.5, stop_price=100.5, target1=97.5)
AFTER_FIRST = replace(LONG, held=50, partials=frozenset({"partial_1r"}))


def at(view: PositionView, price: float, minutes: float = 1.0) -> list[Action]:
    return decide(view, price, ENTERED + timedelta(minutes=minutes), RULES, FLATTEN)


def test_nothing_to_do_between_stop_and_1r() -> None:
    assert at(LONG, 100.49) == []
    assert at(LONG, 99.6) == []


def test_half_at_1r() -> None:
    assert at(LONG, 100.5) == [TakePartial(50, "partial_1r")]
    assert at(SHORT, 99.5) == [TakePartial(50, "partial_1r")]


def test_1r_is_reached_in_spite_of_binary_fractions() -> None:
    view = replace(LONG, entry_price=100.01, initial_stop=99.71, stop_price=99.71)
    assert (100.31 - 100.01) / (100.01 - 99.71) < 1.0
    assert at(view, 100.31) == [TakePartial(50, "partial_1r")]


def test_then_the_stop_goes_to_breakeven() -> None:
    assert at(AFTER_FIRST, 100.5) == [MoveStop(100.0, "breakeven")]
    short = replace(SHORT, held=50, partials=frozenset({"partial_1r"}))
    assert at(short, 99.5) == [MoveStop(100.0, "breakeven")]


def test_breakeven_is_rounded_to_the_positions_favour() -> None:
    assert at(replace(AFTER_FIRST, entry_price=100.003), 100.6) == [MoveStop(100.01, "breakeven")]


def test_a_quarter_of_the_original_at_target1() -> None:
    view = replace(AFTER_FIRST, stop_price=101.4)
    assert at(view, 102.49) == []
    assert at(view, 102.5) == [TakePartial(25, "partial_target1")]
    taken = replace(view, held=25, partials=frozenset({"partial_1r", "partial_target1"}))
    assert at(taken, 102.5) == []


def test_f06_no_partial_twice_for_one_reason() -> None:
    view = replace(LONG, held=25, stop_price=101.5, partials=frozenset({"partial_1r", "partial_target1"}))
    assert [action for action in at(view, 102.6) if isinstance(action, TakePartial)] == []


def test_a_jump_over_both_takes_one_after_the_other() -> None:
    assert at(LONG, 103.0)[0] == TakePartial(50, "partial_1r")
    assert at(replace(AFTER_FIRST, stop_price=100.0), 103.0)[0] == TakePartial(25, "partial_target1")


def test_the_rest_trails_by_one_percent_in_steps_worth_a_modify() -> None:
    view = replace(LONG, held=25, stop_price=100.0, partials=frozenset({"partial_1r", "partial_target1"}))
    assert at(view, 101.0) == []  # 99.99
    assert at(view, 101.05) == []  # 100.03: a step of less than 0.1 %
    assert at(view, 102.7) == [MoveStop(101.67, "trail")]  # 101.673, rounded away from the price
    assert at(replace(view, stop_price=101.67), 102.0) == []  # never back
    short = replace(SHORT, held=25, stop_price=100.0, partials=view.partials)
    assert at(short, 97.3) == [MoveStop(98.28, "trail")]  # 98.273


def test_the_rules_are_configurable() -> None:
    rules = ExitRules(trail_pct=2.0, trail_step_pct=0.5, first_partial_r=2.0, first_partial_fraction=0.3)
    trailing = replace(AFTER_FIRST, stop_price=100.0)
    assert decide(trailing, 102.4, ENTERED, rules, FLATTEN) == []  # 100.35: a step of less than 0.5 %
    assert decide(trailing, 103.0, ENTERED, rules, FLATTEN)[-1] == MoveStop(100.94, "trail")
    assert decide(LONG, 100.99, ENTERED, rules, FLATTEN) == []
    assert decide(LONG, 101.0, ENTERED, rules, FLATTEN) == [TakePartial(30, "partial_1r")]


def test_no_gain_after_eight_minutes_is_out() -> None:
    assert at(LONG, 100.0, 7.99) == []
    assert at(LONG, 100.0, 8.0) == [Close("time_rule")]
    assert at(LONG, 100.01, 8.0) == []
    assert at(LONG, 99.9, 20.0) == [Close("time_rule")]
    assert at(SHORT, 100.1, 8.0) == [Close("time_rule")]
    assert at(replace(AFTER_FIRST, stop_price=100.0), 100.0, 9.0) == []


def test_end_of_day_is_out_whatever_the_price() -> None:
    assert decide(LONG, math.nan, FLATTEN, RULES, FLATTEN) == [Close("end_of_day")]
    assert decide(AFTER_FIRST, 100.4, FLATTEN, RULES, FLATTEN) == [Close("end_of_day")]
    assert decide(LONG, 100.4, FLATTEN, RULES, None) == []
    assert decide(replace(LONG, pending_exit_shares=100), 100.4, FLATTEN, RULES, FLATTEN) == []


def test_f15_while_an_exit_is_on_its_way_only_the_stop_moves() -> None:
    assert at(replace(LONG, pending_exit_shares=50), 100.5) == []
    assert at(replace(LONG, pending_exit_shares=50), 99.9, 9.0) == []
    busy = replace(AFTER_FIRST, pending_exit_shares=25)
    assert at(busy, 102.6) == [MoveStop(101.57, "trail")]


@pytest.mark.parametrize("price", [math.nan, math.inf, -math.inf, 0.0, -1.0])
def test_f20_a_price_that_is_none_decides_nothing(price: float) -> None:
    for view in (LONG, SHORT, AFTER_FIRST):
        assert at(view, price, 9.0) == []


def test_f20_unknown_stop_target_or_entry_decide_nothing_of_theirs() -> None:
    assert at(replace(LONG, initial_stop=math.nan), 102.0) == []
    assert at(replace(LONG, target1=math.nan), 103.0) == [TakePartial(50, "partial_1r")]
    assert at(replace(AFTER_FIRST, stop_price=math.nan), 100.6) == []
    assert at(replace(LONG, entry_price=math.nan), 103.0, 9.0) == []
    assert r_multiple(replace(LONG, initial_stop=100.0), 101.0) is None


def test_a_flat_position_has_nothing_to_exit() -> None:
    assert decide(replace(LONG, held=0), 110.0, FLATTEN, RULES, FLATTEN) == []


def test_one_share_goes_to_breakeven_and_trails_undivided() -> None:
    single = replace(LONG, shares=1, held=1)
    assert at(single, 100.4) == []
    assert at(single, 100.5) == [MoveStop(100.0, "breakeven")]
    assert at(replace(single, stop_price=100.0), 103.0) == [MoveStop(101.97, "trail")]
    assert at(replace(single, stop_price=100.0), 100.0, 9.0) == []


steps = st.lists(st.one_of(st.floats(90, 110), st.just(math.nan)), max_size=60)


@given(st.sampled_from(["LONG", "SHORT"]), st.integers(1, 500), st.booleans(), steps)
def test_on_any_walk_stops_move_one_way_and_shares_add_up(
    side: Side, shares: int, whole_r: bool, walk: list[float]
) -> None:
    risk = (1.0 if whole_r else 0.37) * sign(side)
    view = replace(
        LONG,
        side=side,
        shares=shares,
        held=shares,
        initial_stop=round(100 - risk, 2),
        stop_price=round(100 - risk, 2),
        target1=100 + 2.5 * sign(side),
    )
    sold = 0
    for step, price in enumerate(walk):
        for action in decide(view, price, ENTERED + timedelta(seconds=20 * step), RULES, FLATTEN):
            if isinstance(action, MoveStop):
                assert (action.price - view.stop_price) * sign(side) > 0
                assert round(action.price, 2) == action.price
                view = replace(view, stop_price=action.price)
                continue
            leaving = view.held if isinstance(action, Close) else action.shares
            assert 0 < leaving <= view.held
            assert action.reason not in view.partials
            sold += leaving
            view = replace(view, held=view.held - leaving, partials=view.partials | {action.reason})
        assert sold + view.held == shares
