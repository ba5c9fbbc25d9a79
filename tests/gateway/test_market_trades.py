"""The `Market` interface: ticks, bars and quotes agree, and the past never changes."""

from __future__ import annotations

import math
import time as clock
from datetime import date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paper_gateway.market import (
    EASTERN,
    Bar,
    Market,
    MarketDataError,
    MarketError,
    Tick,
    UnknownSymbolError,
    synthetic_day,
)

DAY = date(2025, 10, 6)
OPEN = datetime(2025, 10, 6, 9, 30, tzinfo=EASTERN)
START = OPEN + timedelta(minutes=14)


def market(start: time = time(9, 44), seed: int = 7) -> Market:
    return synthetic_day(DAY, seed, start)


def at(minutes: float) -> datetime:
    """The time `minutes` after the start."""
    return START + timedelta(minutes=minutes)


def aggregate(ticks: list[Tick], start: datetime, bar_s: int) -> Bar:
    """A bar from its ticks, in exact arithmetic of ten-thousandths."""
    end = start + timedelta(seconds=bar_s)
    inside = [tick for tick in ticks if start <= tick.time < end]
    prices = [tick.price for tick in inside]
    volume = sum(tick.size for tick in inside)
    turnover = sum(round(tick.price * 10_000) * tick.size for tick in inside)
    wap = turnover / volume / 10_000
    return Bar(start, prices[0], max(prices), min(prices), prices[-1], volume, wap, len(inside))


@given(st.lists(st.floats(0, 5), max_size=25), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_ticks_are_the_same_in_one_advance_or_in_many(cuts: list[float], seed: int) -> None:
    whole = market(seed=seed).advance(at(5))
    parts = market(seed=seed)
    walked = [tick for cut in sorted(cuts) for tick in parts.advance(at(cut))]
    walked += parts.advance(at(5))
    assert walked == whole
    assert [tick.time for tick in whole] == sorted(tick.time for tick in whole)
    assert {tick.symbol for tick in whole} == set(parts.symbols)


def test_ticks_lie_after_the_last_advance_and_up_to_this_one() -> None:
    walked = market()
    first = walked.advance(at(1))
    edge = first[-1].time
    again = market()
    upto_edge = again.advance(edge)
    assert upto_edge == first
    assert again.advance(edge) == []
    assert again.advance(at(0)) == []
    assert all(START < tick.time <= at(1) for tick in first)
    assert all(tick.time > edge for tick in again.advance(at(2)))


def test_seeds_make_different_days_and_equal_seeds_the_same() -> None:
    assert market(seed=1).advance(at(2)) == market(seed=1).advance(at(2))
    assert market(seed=1).advance(at(2)) != market(seed=2).advance(at(2))


def test_prices_lie_on_the_cent_grid_with_a_cent_or_two_of_spread() -> None:
    for tick in market().advance(at(3)):
        assert tick.price == round(tick.price, 2)
        assert tick.bid <= tick.price <= tick.ask
        assert round(tick.ask - tick.bid, 2) in (0.01, 0.02)
        assert tick.size > 0


@pytest.mark.parametrize("bar_s", [5, 30, 60, 300])
def test_bars_equal_their_ticks_value_by_value(bar_s: int) -> None:
    walked = market()
    ticks = [tick for n in range(1, 40) for tick in walked.advance(at(n / 3))]
    for symbol in walked.symbols:
        own = [tick for tick in ticks if tick.symbol == symbol]
        bars = walked.bars(symbol, at(0), at(60), bar_s)
        assert len(bars) == 13 * 60 // bar_s
        assert bars == [aggregate(own, bar.start, bar_s) for bar in bars]


def test_bars_equal_their_ticks_across_a_shift() -> None:
    walked = market()
    ticks = walked.advance(at(2.21))
    early = walked.bars("TSLA", OPEN, at(9), 5)
    walked.set_price("TSLA", 500)
    ticks += walked.advance(at(4.6))
    walked.set_price("TSLA", 430.07)
    ticks += walked.advance(at(8))
    own = [tick for tick in ticks if tick.symbol == "TSLA"]
    late = walked.bars("TSLA", OPEN, at(9), 5)
    assert late[: len(early)] == early
    recent = [bar for bar in late if bar.start >= START]
    assert recent == [aggregate(own, bar.start, 5) for bar in recent]


def test_only_complete_bars_are_shown() -> None:
    walked = market()
    walked.advance(at(1) + timedelta(seconds=7))
    bars = walked.bars("AMD", at(0), at(60), 5)
    assert bars[-1].start == at(1)
    assert [bar.start for bar in walked.bars("AMD", at(0), at(60), 60)] == [at(0)]
    assert walked.bars("AMD", at(0.5), at(1), 60) == []


def test_history_before_the_start_is_there_without_an_advance() -> None:
    walked = market()
    bars = walked.bars("HOOD", OPEN, at(30), 5)
    assert [bar.start for bar in bars] == [OPEN + timedelta(seconds=5 * n) for n in range(168)]
    early = market(start=time(9, 30))
    early.advance(START)
    assert early.bars("HOOD", OPEN, at(30), 5) == bars


def test_prior_days_have_daily_and_minute_bars_that_agree() -> None:
    walked = market()
    since = OPEN - timedelta(days=10)
    daily = walked.bars("PLTR", since, at(0), 86_400)
    assert [bar.start.date() for bar in daily] == [
        date(2025, 9, 26),
        *(date(2025, 9, 29) + timedelta(days=n) for n in range(5)),
    ]
    assert daily[-1].close == walked.quote("PLTR").prev_close
    minutes = walked.bars("PLTR", daily[-1].start, OPEN, 60)
    assert len(minutes) == 390
    assert max(bar.high for bar in minutes) == daily[-1].high
    assert sum(bar.volume for bar in minutes) == daily[-1].volume
    fives = walked.bars("PLTR", daily[-1].start, daily[-1].start + timedelta(minutes=1), 5)
    assert (fives[0].open, fives[-1].close) == (minutes[0].open, minutes[0].close)
    assert sum(bar.volume for bar in fives) == minutes[0].volume
    assert all(left.close == right.open for left, right in pairwise(daily))


def test_quote_follows_the_ticks() -> None:
    walked = market(start=time(9, 30))
    before = walked.quote("NVDA")
    assert before.volume == 0
    assert before.last == before.open == before.prev_close
    own = [tick for tick in walked.advance(at(-10.3)) if tick.symbol == "NVDA"]
    quote = walked.quote("NVDA")
    assert (quote.last, quote.bid, quote.ask) == (own[-1].price, own[-1].bid, own[-1].ask)
    assert quote.last_size == own[-1].size
    assert quote.volume == sum(tick.size for tick in own)
    assert quote.open == own[0].price
    assert (quote.high, quote.low) == (max(t.price for t in own), min(t.price for t in own))


def test_a_late_start_has_the_same_quote_as_an_advance_to_it() -> None:
    jumped, walked = market(start=time(11, 7)), market(start=time(11, 7))
    bars = jumped.bars("SOFI", OPEN, jumped.start, 60)
    quote = walked.quote("SOFI")
    assert quote.volume == sum(bar.volume for bar in bars)
    assert quote.high == max(bar.high for bar in bars)
    assert quote.low == min(bar.low for bar in bars)
    assert quote.last == bars[-1].close


def test_set_price_makes_the_next_trade_and_leaves_the_past() -> None:
    walked, untouched = market(), market()
    walked.advance(at(1))
    untouched.advance(at(1))
    quote = walked.quote("TSLA")
    walked.set_price("TSLA", 440.126)
    assert walked.quote("TSLA") == quote
    moved = [tick for tick in walked.advance(at(3)) if tick.symbol == "TSLA"]
    plain = [tick for tick in untouched.advance(at(3)) if tick.symbol == "TSLA"]
    assert moved[0].price == 440.13
    shift = round(moved[0].price - plain[0].price, 2)
    assert shift != 0
    assert [round(tick.price - shift, 2) for tick in moved] == [tick.price for tick in plain]
    assert [tick.time for tick in moved] == [tick.time for tick in plain]


def test_a_shift_downwards_stops_at_a_cent() -> None:
    walked = market()
    walked.set_price("TSLA", 0.01)
    prices = [tick.price for tick in walked.advance(at(3)) if tick.symbol == "TSLA"]
    assert prices[0] == 0.01
    assert min(prices) == 0.01


@pytest.mark.parametrize("price", [0, -1, 0.004, math.nan, math.inf])
def test_set_price_refuses_an_invalid_price(price: float) -> None:
    with pytest.raises(MarketDataError, match=r"TSLA .* at least 0\.01"):
        market().set_price("TSLA", price)


def test_an_ensured_symbol_trades_calmly_with_a_past() -> None:
    walked = market()
    walked.advance(at(10))
    walked.ensure("BRK B")
    assert walked.symbols[-1] == "BRK B"
    assert len(walked.bars("BRK B", OPEN, at(10), 60)) == 24
    ticks = [tick for tick in walked.advance(at(12)) if tick.symbol == "BRK B"]
    assert ticks[0].time > at(10)
    assert len(ticks) == 120
    prices = [tick.price for tick in walked.advance(at(180)) if tick.symbol == "BRK B"]
    assert max(prices) / min(prices) < 1.04


@pytest.mark.parametrize("symbol", ["BRK.B", "tsla", "", "TOOLONGX", "A1", ".A", "TSLA\n"])
def test_implausible_symbols_are_unknown(symbol: str) -> None:
    walked = market()
    for ask in (walked.ensure, walked.quote, walked.contract):
        with pytest.raises(UnknownSymbolError):
            ask(symbol)
    assert symbol not in walked.symbols


def test_nothing_trades_after_the_close() -> None:
    walked = synthetic_day(date(2025, 11, 28), 1, time(12, 59))
    assert walked.advance(datetime(2025, 11, 28, 13, 0, tzinfo=EASTERN))
    assert walked.advance(datetime(2025, 11, 28, 16, 0, tzinfo=EASTERN)) == []
    last = walked.bars("AMD", walked.start, walked.start + timedelta(hours=5), 5)[-1]
    assert last.start == datetime(2025, 11, 28, 12, 59, 55, tzinfo=EASTERN)


def test_an_hour_is_simulated_far_faster_than_at_speed_600() -> None:
    walked = market()
    begun_s = clock.perf_counter()
    for second in range(0, 3600, 12):  # speed 600, asked every 20 ms
        walked.advance(START + timedelta(seconds=second))
    assert clock.perf_counter() - begun_s < 6 / 3  # at that speed an hour is six seconds


@pytest.mark.parametrize("bar_s", [0, -5, 1, 7, 35])
def test_bar_sizes_that_do_not_divide_a_day_into_bars_are_refused(bar_s: int) -> None:
    with pytest.raises(MarketDataError, match="no bars of"):
        market().bars("AMD", OPEN, START, bar_s)


def test_naive_times_are_refused() -> None:
    with pytest.raises(MarketError, match="no time zone"):
        market().advance(at(1).replace(tzinfo=None))
    with pytest.raises(MarketError, match="no time zone"):
        market().bars("AMD", OPEN, at(1).replace(tzinfo=None), 5)


def test_contracts_are_stable_distinct_and_know_the_hours() -> None:
    walked = market()
    ids = [walked.contract(symbol).con_id for symbol in (*walked.symbols, "SPY", "BRK B")]
    assert ids == [market(seed=3).contract(symbol).con_id for symbol in (*walked.symbols, "SPY", "BRK B")]
    assert len(set(ids)) == len(ids)
    details = walked.contract("TSLA")
    assert details.liquid_hours.startswith("20251006:0930-20251006:1600;20251007:")
    assert details.liquid_hours.endswith("20251011:CLOSED;20251012:CLOSED")
    assert details.trading_hours.startswith("20251006:0400-20251006:2000;")
    assert details.time_zone == "US/Eastern"
