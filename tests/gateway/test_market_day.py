"""The synthetic day: which symbol breaks out when, on what volume, and what follows."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise

import pytest

from paper_gateway.market import EASTERN, Bar, MarketDataError, synthetic_day
from paper_gateway.market.day import PLANS, SymbolPlan
from paper_gateway.market.model import PRICE_SCALE
from paper_gateway.market.synthetic import symbol_day

DAY = date(2025, 10, 6)
OPEN = datetime(2025, 10, 6, 9, 30, tzinfo=EASTERN)
PLAN = {plan.symbol: plan for plan in PLANS}
SEEDS = (1, 99)

BREAKS = {
    "TSLA": ["09:45", "12:15"],
    "NVDA": ["09:45", "13:35"],
    "AMD": ["09:45", "09:55", "10:05"],
    "HOOD": ["09:47", "14:45"],
    "PLTR": ["09:46", "09:48", "11:25"],
    "SMCI": ["09:45"],
    "SOFI": ["09:46", "10:30"],
    "PATH": ["10:15"],
}
"""Minutes with the first close beyond the pivot, by symbol."""

MOMENTUM = {
    ("TSLA", "09:45"),
    ("TSLA", "12:15"),
    ("NVDA", "09:45"),
    ("NVDA", "13:35"),
    ("AMD", "09:45"),
    ("AMD", "09:55"),
    ("AMD", "10:05"),
    ("HOOD", "14:45"),
    ("PLTR", "11:25"),
    ("SMCI", "09:45"),
    ("SOFI", "10:30"),
    ("PATH", "10:15"),
}

WINNERS = ("TSLA", "NVDA", "SOFI", "PATH", "HOOD")
"""Symbols of which every momentum breakout runs to target1."""


@lru_cache(maxsize=8)
def minutes(seed: int, start: time = time(9, 44)) -> dict[str, list[Bar]]:
    """The whole day's one-minute bars by symbol."""
    market = synthetic_day(DAY, seed, start)
    close = OPEN + timedelta(hours=6, minutes=30)
    market.advance(close)
    return {symbol: market.bars(symbol, OPEN, close, 60) for symbol in market.symbols}


def beyond_pct(plan: SymbolPlan, price: float) -> float:
    """Percent beyond the plan's pivot, in the direction of the breakout."""
    pivot, sign = (plan.resistance, 1) if plan.side == "LONG" else (plan.support, -1)
    return sign * (price / pivot - 1) * 100


def target1(plan: SymbolPlan) -> float:
    half = (plan.resistance - plan.support) / 2
    return plan.resistance + half if plan.side == "LONG" else plan.support - half


def bar_at(bars: list[Bar], clock: str) -> Bar:
    return bars[index_of(clock)]


def index_of(clock: str) -> int:
    at = datetime.combine(DAY, time.fromisoformat(clock), EASTERN)
    return (at - OPEN) // timedelta(minutes=1)


def breaks(plan: SymbolPlan, bars: list[Bar]) -> list[str]:
    """Minutes that close beyond the pivot after one that did not."""
    closes = [bars[0].open, *(bar.close for bar in bars)]
    return [
        f"{bar.start:%H:%M}"
        for before, bar in zip(closes, bars, strict=False)
        if beyond_pct(plan, before) <= 0 < beyond_pct(plan, bar.close)
    ]


def volume_ratio(bars: list[Bar], index: int) -> float:
    before = [bar.volume for bar in bars[max(0, index - 20) : index]]
    return bars[index].volume / (sum(before) / len(before))


def body_pct(bar: Bar) -> float:
    return abs(bar.close / bar.open - 1) * 100


def first_beyond(plan: SymbolPlan, bars: list[Bar], clock: str, pct: float) -> int:
    """Minutes from `clock` until a bar closes `pct` percent beyond the pivot."""
    start = index_of(clock)
    return next(n for n, bar in enumerate(bars[start:]) if beyond_pct(plan, bar.close) >= pct)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("symbol", BREAKS)
def test_each_symbol_breaks_at_its_minutes_and_at_no_other(symbol: str, seed: int) -> None:
    plan, bars = PLAN[symbol], minutes(seed)[symbol]
    assert breaks(plan, bars) == BREAKS[symbol]
    other = plan.support if plan.side == "LONG" else plan.resistance
    assert all(bar.low > other if plan.side == "LONG" else bar.high < other for bar in bars)


@pytest.mark.parametrize("anchor", [15, 330])
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.symbol)
def test_nothing_but_the_script_touches_a_level_whatever_the_seed(plan: SymbolPlan, anchor: int) -> None:
    """Outside the steps of the script every wick stays between support and resistance."""
    low, high = (round(level * PRICE_SCALE) for level in (plan.support, plan.resistance))
    steps = sorted((anchor + step.minute, step.beyond_pct) for step in plan.steps)
    ahead = {
        minute
        for (left, left_pct), (right, right_pct) in pairwise(steps)
        for minute in range(left + 1, right + 1)
        if left_pct > 0 or right_pct > 0 or left_pct > -0.1
    }
    for seed in range(40):
        for candle in symbol_day(plan, DAY, seed, anchor).candles:
            if candle.minute not in ahead:
                assert low < candle.low <= candle.high < high, (seed, candle)
            assert abs(candle.close / candle.open - 1) < 0.009, (seed, candle)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_trade_passes_a_pivot_before_its_first_break(seed: int) -> None:
    for symbol, plan in PLAN.items():
        for bar in minutes(seed)[symbol][: index_of(BREAKS[symbol][0])]:
            assert beyond_pct(plan, bar.high if plan.side == "LONG" else bar.low) < 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("symbol", "clock"), sorted(MOMENTUM))
def test_momentum_breaks_have_volume_body_and_a_stop_at_a_distance(symbol: str, clock: str, seed: int) -> None:
    plan, bars = PLAN[symbol], minutes(seed)[symbol]
    bar = bar_at(bars, clock)
    assert volume_ratio(bars, index_of(clock)) >= 1.6
    assert body_pct(bar) >= 0.5
    assert 0.4 <= beyond_pct(plan, bar.close) <= 0.6


@pytest.mark.parametrize("seed", SEEDS)
def test_all_symbols_but_smci_have_room_to_target1(seed: int) -> None:
    for symbol, clocks in BREAKS.items():
        plan = PLAN[symbol]
        for clock in clocks:
            close = bar_at(minutes(seed)[symbol], clock).close
            room_pct = abs(target1(plan) / close - 1) * 100
            assert room_pct < 1.0 if symbol == "SMCI" else room_pct >= 1.7, (symbol, clock)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("symbol", "clock"),
    [*(pair for pair in sorted(MOMENTUM) if pair[0] in WINNERS), ("PLTR", "09:48")],
)
def test_winners_run_through_1r_and_target1_within_15_minutes(symbol: str, clock: str, seed: int) -> None:
    plan, bars = PLAN[symbol], minutes(seed)[symbol]
    start = index_of(clock)
    beyond = beyond_pct(plan, bars[start].close)
    assert first_beyond(plan, bars, clock, 2 * beyond) <= 6
    assert first_beyond(plan, bars, clock, beyond_pct(plan, target1(plan))) <= 15
    assert all(beyond_pct(plan, bar.close) >= 0.4 for bar in bars[start : start + 15])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("symbol", "clock"), [("AMD", "09:45"), ("AMD", "09:55"), ("PLTR", "11:25")])
def test_losers_are_back_through_the_pivot_within_three_minutes(symbol: str, clock: str, seed: int) -> None:
    plan, bars = PLAN[symbol], minutes(seed)[symbol]
    start = index_of(clock)
    assert min(beyond_pct(plan, bar.low) for bar in bars[start + 1 : start + 4]) < -0.3
    assert max(beyond_pct(plan, bar.high) for bar in bars[start : start + 4]) < 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_hood_holds_without_momentum(seed: int) -> None:
    plan, bars = PLAN["HOOD"], minutes(seed)["HOOD"]
    start = index_of("09:47")
    assert body_pct(bars[start]) < 0.3
    assert 1.05 <= volume_ratio(bars, start) < 1.3
    held = bars[start + 1 : start + 4]
    assert all(beyond_pct(plan, bar.low) > 0 for bar in held)
    assert all(bar.close > before.close for before, bar in zip(bars[start:], held, strict=False))
    assert beyond_pct(plan, bars[start + 2].close) >= 0.4
    assert first_beyond(plan, bars, "09:47", beyond_pct(plan, target1(plan))) <= 25


@pytest.mark.parametrize("seed", SEEDS)
def test_pltr_returns_to_the_pivot_and_breaks_again(seed: int) -> None:
    plan, bars = PLAN["PLTR"], minutes(seed)["PLTR"]
    start = index_of("09:46")
    first, back, again = bars[start : start + 3]
    assert 1.05 <= volume_ratio(bars, start) < 1.3
    assert -0.3 < beyond_pct(plan, back.low) < 0
    assert -0.3 < beyond_pct(plan, back.close) < 0
    assert 1.2 <= volume_ratio(bars, start + 2) < 1.3
    assert again.close > first.high


@pytest.mark.parametrize("seed", SEEDS)
def test_sofi_holds_on_low_volume_and_then_fails(seed: int) -> None:
    plan, bars = PLAN["SOFI"], minutes(seed)["SOFI"]
    start = index_of("09:46")
    held = bars[start : start + 3]
    assert all(volume_ratio(bars, start + n) < 0.5 for n in range(3))
    assert all(beyond_pct(plan, bar.low) > 0 for bar in held[1:])
    assert held[0].close < held[1].close < held[2].close
    assert beyond_pct(plan, bars[start + 4].close) < -0.3


def test_a_late_start_breaks_in_its_first_full_minute() -> None:
    bars = minutes(1, time(10, 59, 30))
    for symbol in ("TSLA", "NVDA", "AMD", "SMCI"):
        assert breaks(PLAN[symbol], bars[symbol])[0] == "11:00"
        assert volume_ratio(bars[symbol], index_of("11:00")) >= 1.6
        assert body_pct(bar_at(bars[symbol], "11:00")) >= 0.5


@pytest.mark.parametrize(
    ("start", "first"),
    [(time(9, 30), "09:45"), (time(9, 45), "09:45"), (time(9, 45, 1), "09:46"), (time(13, 20), "13:20")],
)
def test_the_first_break_follows_the_start(start: time, first: str) -> None:
    market = synthetic_day(DAY, 1, start)
    end = datetime.combine(DAY, time.fromisoformat(first), EASTERN) + timedelta(minutes=1)
    market.advance(end)
    bars = market.bars("TSLA", OPEN, end, 60)
    assert breaks(PLAN["TSLA"], bars) == [first]


def test_a_start_near_the_close_has_no_script_left() -> None:
    market = synthetic_day(DAY, 1, time(15, 59, 30))
    ticks = market.advance(OPEN + timedelta(hours=7))
    assert ticks
    assert all(beyond_pct(PLAN[tick.symbol], tick.price) < 0 for tick in ticks)


def test_a_day_without_trading_is_refused() -> None:
    with pytest.raises(MarketDataError, match="2025-10-05 is not a trading day"):
        synthetic_day(date(2025, 10, 5), 1, time(9, 44))
