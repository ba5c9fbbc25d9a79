"""Bars and candles: what closes a minute, what is refused, gaps, warmth, and filling from history."""

import math
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from trader.broker.port import Bar
from trader.core.bars import BAR, CANDLES_KEPT, REACH, BarBuffer, Candle
from trader.core.strategy.indicators import atr, mean_volume, range_5m, true_ranges
from trader.errors import MarketDataError
from trader.time_zones import EASTERN

START = EASTERN.localize(datetime.fromisoformat("2025-10-06T09:45:00"))


def bar(slot: int, price: float = 100.0, volume: float = 10.0) -> Bar:
    return Bar(START + slot * BAR, price, price + 0.5, price - 0.5, price + 0.25, volume)


def candle(
    minute: int, low: float = 99.0, high: float = 101.0, close: float = 100.0, volume: float = 100.0
) -> Candle:
    return Candle(START + timedelta(minutes=minute), 100.0, high, low, close, volume)


def test_the_twelfth_bar_closes_its_minute() -> None:
    buffer = BarBuffer()
    for slot in range(11):
        assert buffer.add(bar(slot, 100 + slot)) is None
    closed = buffer.add(bar(11, 90, 40))
    assert closed == Candle(START, 100, 110.5, 89.5, 90.25, 150, 12)
    assert closed is not None
    assert closed.end == START + timedelta(minutes=1)
    assert buffer.add(bar(12)) is None
    assert buffer.candles == (closed,)


def test_a_bar_of_a_later_minute_closes_a_minute_with_holes() -> None:
    buffer = BarBuffer()
    buffer.add(bar(0))
    buffer.add(bar(10, 105))
    closed = buffer.add(bar(12))
    assert closed == Candle(START, 100, 105.5, 99.5, 105.25, 20, 2)


def test_a_bar_after_a_long_gap_closes_the_minute_before_it() -> None:
    buffer = BarBuffer()
    buffer.add(bar(0))
    closed = buffer.add(bar(60))
    assert closed is not None
    assert closed.time == START


def test_duplicates_and_late_bars_are_ignored() -> None:
    buffer = BarBuffer()
    buffer.add(bar(5))
    assert buffer.add(bar(5, 200)) is None
    assert buffer.add(bar(3)) is None
    assert buffer.bars == (bar(5),)


@pytest.mark.parametrize(
    "bad",
    [
        replace(bar(0), close=math.nan),
        replace(bar(0), open=math.inf),
        replace(bar(0), low=-1.0),
        replace(bar(0), low=0.0),
        replace(bar(0), high=100.1),
        replace(bar(0), low=100.1),
        replace(bar(0), volume=math.nan),
        replace(bar(0), volume=-1.0),
        replace(bar(0), time=START + timedelta(seconds=3)),
        replace(bar(0), time=START.replace(tzinfo=None)),
    ],
)
def test_f20_a_bar_that_cannot_be_is_refused_and_changes_nothing(bad: Bar) -> None:
    buffer = BarBuffer()
    with pytest.raises(MarketDataError):
        buffer.add(bad)
    with pytest.raises(MarketDataError):
        buffer.merge([bar(1), bad])
    assert buffer.bars == ()


def test_warm_needs_twenty_bars_close_together() -> None:
    buffer = BarBuffer()
    warm = {}
    for slot in (*range(20), 24, 120):
        buffer.add(bar(slot))
        warm[slot] = buffer.warm
    assert [slot for slot, is_warm in warm.items() if is_warm] == [19, 24]


@pytest.mark.parametrize(("latest", "warm"), [(24, True), (25, False)])
def test_warm_bars_lie_within_25_slots(latest: int, warm: bool) -> None:
    buffer = BarBuffer()
    buffer.merge([bar(slot) for slot in (*range(19), latest)])
    assert buffer.warm is warm


def test_a_slot_without_a_trade_is_a_bar_too() -> None:
    buffer = BarBuffer()
    buffer.add(bar(0, volume=0.0))
    assert buffer.bars == (bar(0, volume=0.0),)


def test_gaps_are_known() -> None:
    buffer = BarBuffer()
    now = START + 10 * BAR + timedelta(seconds=2)
    assert buffer.missing(now) == [(START + 10 * BAR - REACH, START + 10 * BAR)]
    for slot in (0, 1, 4, 5):
        buffer.add(bar(slot))
    before = (START + 10 * BAR - REACH, START)
    hole = (START + 2 * BAR, START + 4 * BAR)
    assert buffer.missing(now) == [before, hole, (START + 6 * BAR, START + 10 * BAR)]
    assert buffer.holes() == [hole]
    before = (START + 6 * BAR - REACH, START)
    assert buffer.missing(START + 6 * BAR + timedelta(seconds=4)) == [before, hole]


def test_what_lies_before_the_first_live_bar_is_missing_too() -> None:
    buffer = BarBuffer()
    buffer.add(bar(0))
    assert buffer.missing(START + BAR) == [(START + BAR - REACH, START)]
    assert buffer.holes() == []
    buffer.merge(bar(slot) for slot in range(-720, 0))
    assert buffer.missing(START + BAR) == []


def test_history_fills_gaps_and_mends_their_candles() -> None:
    live, whole = BarBuffer(), BarBuffer()
    for slot in range(30):
        whole.add(bar(slot, 100 + slot))
        if slot not in range(8, 15):
            live.add(bar(slot, 100 + slot))
    changed = live.merge([bar(slot, 100 + slot) for slot in range(20)])
    assert [candle.n for candle in changed] == [12, 12]
    assert (live.bars, live.candles) == (whole.bars, whole.candles)
    assert live.merge([bar(4, 500)]) == ()


def test_only_the_last_bars_stay_but_their_candles_stay_longer() -> None:
    buffer = BarBuffer(maxlen=240)
    buffer.merge([bar(slot) for slot in range(12 * 70)])
    assert (len(buffer.bars), len(buffer.candles)) == (240, CANDLES_KEPT)
    assert all(candle.n == 12 for candle in buffer.candles)
    for slot in range(12 * 70, 12 * 72):
        buffer.add(bar(slot))
    assert (len(buffer.bars), len(buffer.candles)) == (240, CANDLES_KEPT)
    assert buffer.candles[-1].time == START + timedelta(minutes=71)


@given(st.lists(st.integers(0, 400), unique=True), st.randoms(use_true_random=False))
def test_any_split_between_live_and_history_gives_the_same_buffer(slots: list[int], random: object) -> None:
    bars = [bar(slot, 100 + slot % 7) for slot in sorted(slots)]
    live, history = BarBuffer(), BarBuffer()
    for one in bars:
        live.add(one)
    history.merge(reversed(bars))
    assert history.bars == live.bars
    assert history.candles == live.candles


def test_measures_of_a_small_example() -> None:
    candles = [
        candle(0, 99, 101, 100),
        candle(1, 101, 102, 101.5),
        candle(2, 100, 101, 100.5),
        candle(3),
        candle(4),
    ]
    assert true_ranges(candles) == [2, 2, 1.5, 2, 2]
    assert atr(candles) == pytest.approx(9.5 / 5)
    assert atr(candles, 3) == pytest.approx(5.5 / 3)  # the candle before lends its close
    assert range_5m(candles) == 3
    assert mean_volume([*candles[:-1], replace(candles[-1], volume=200)]) == 120
    assert mean_volume([candle(i, volume=i) for i in range(30)]) == pytest.approx(sum(range(10, 30)) / 20)


def test_too_few_candles_have_no_measures() -> None:
    candles = [candle(minute) for minute in range(4)]
    assert (atr(candles), mean_volume(candles), range_5m(candles)) == (None, None, None)
