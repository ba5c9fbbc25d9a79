"""The three entry paths on small examples; a signal depends on the last candles only."""

from datetime import date, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from signals import evaluate

from paper_gateway.market import synthetic_day
from trader.broker.port import Bar
from trader.config.sections import EntryRules
from trader.core.bars import CANDLES_KEPT, BarBuffer, Candle
from trader.core.strategy.ps60.breakout import Breakout, Signal, lookback_candles
from trader.core.strategy.ps60.setups import Setup
from trader.time_zones import EASTERN

START = EASTERN.localize(datetime.fromisoformat("2025-10-06T09:30:00"))
RULES = EntryRules()
SETUP = Setup("TSLA", 100.0, 90.0, 105.0, 110.0, 116.18, 85.0, 80.0, score=80)
MIRRORED = Setup("TSLA", 110.0, 100.0, 115.0, 120.0, 126.18, 95.0, 90.0, score=80)

Row = tuple[float, float, float, float, float]  # open, high, low, close, volume


def candles(*rows: Row, mirrored: bool = False) -> list[Candle]:
    """Ten quiet candles below the pivot of 100 on 1000 shares each, then `rows`, a minute each.

    `mirrored` turns the prices about 100, so that they break a support of 100 as they broke a resistance.
    """
    made = []
    for minute, (open_, high, low, close, volume) in enumerate([(99.5, 99.6, 99.4, 99.5, 1000.0)] * 10 + [*rows]):
        if mirrored:
            open_, high, low, close = 200 - open_, 200 - low, 200 - high, 200 - close
        made.append(Candle(START + timedelta(minutes=minute), open_, high, low, close, volume))
    return made


def minute(at: int) -> datetime:
    """Start of the candle `at` minutes after the ten quiet ones."""
    return START + timedelta(minutes=10 + at)


def found(*rows: Row, rules: EntryRules = RULES) -> list[tuple[str, int, int]]:
    """(path, minute of the signal, minute of the break) of each signal; both sides must agree."""
    long = evaluate(SETUP, candles(*rows), rules)
    short = evaluate(MIRRORED, candles(*rows, mirrored=True), rules)
    facts = [_facts(signal) for signal in long]
    assert facts == [_facts(signal) for signal in short]
    assert {signal.side for signal in long} <= {"LONG"}
    assert {signal.side for signal in short} <= {"SHORT"}
    return facts


def _facts(signal: Signal) -> tuple[str, int, int]:
    return signal.path, _minutes(signal.candle_time), _minutes(signal.break_time)


def _minutes(moment: datetime) -> int:
    return round((moment - minute(0)).total_seconds() / 60)


STRONG: Row = (99.8, 100.4, 99.8, 100.3, 1300.0)  # body 0.50 %, volume 1.3 times the mean
WEAK: Row = (99.8, 100.6, 99.8, 100.5, 1100.0)  # a break on too little volume


def test_momentum_at_the_break_candle() -> None:
    signal = evaluate(SETUP, candles(STRONG), RULES)[0]
    assert signal == Signal("TSLA", "LONG", "momentum", 100.0, 100.3, minute(0), minute(0), 1.3)
    assert found(STRONG) == [("momentum", 0, 0)]


@pytest.mark.parametrize(
    ("row", "breaks"),
    [
        ((99.8, 100.4, 99.8, 100.3, 1299.0), False),  # volume a share short of 1.3 times the mean
        ((100.0, 100.4, 99.8, 100.29, 1300.0), False),  # body 0.29 %, and ATR 0.2: 2 x ATR is 0.4
        ((100.0, 100.4, 99.8, 100.3, 1300.0), True),  # body 0.30 %
        ((100.6, 100.6, 100.0, 100.2, 5000.0), False),  # it opened beyond and fell: the body points back
        ((99.8, 100.4, 99.8, 100.0, 5000.0), False),  # closes at the pivot, not beyond
    ],
)
def test_the_limits_of_momentum(row: Row, breaks: bool) -> None:
    assert bool(found(row)) is breaks


def test_a_body_of_two_atr_is_enough() -> None:
    quiet = [replace(candle, high=99.52, low=99.48) for candle in candles()]  # ATR 0.04
    row = Candle(minute(0), 99.95, 100.1, 99.95, 100.05, 1300.0)  # body 0.1 %, 2.5 ATR
    assert [signal.path for signal in evaluate(SETUP, [*quiet, row], RULES)] == ["momentum"]


def test_a_break_needs_a_candle_that_closed_inside_the_minute_before() -> None:
    beyond = [replace(candle, high=100.6, low=100.4, open=100.5, close=100.5) for candle in candles()]
    assert evaluate(SETUP, [*beyond, Candle(minute(0), 100.5, 101, 100.5, 101, 5000.0)], RULES) == []
    gap = [candle for candle in candles(STRONG) if candle.time != minute(-1)]
    assert evaluate(SETUP, gap, RULES) == []


def test_without_five_candles_before_it_there_is_no_momentum() -> None:
    assert evaluate(SETUP, candles(STRONG)[-5:], RULES) == []
    assert len(evaluate(SETUP, candles(STRONG)[-6:], RULES)) == 1


def test_pullback_and_retest() -> None:
    back: Row = (100.5, 100.5, 100.2, 100.25, 900.0)  # its low is within 0.3 % of the pivot
    again: Row = (100.25, 100.7, 100.2, 100.6, 1250.0)
    assert found(WEAK, back, again) == [("pullback_retest", 2, 0)]


def test_a_pullback_through_the_pivot_that_breaks_again_is_one_signal_of_the_first_break() -> None:
    through: Row = (100.5, 100.5, 99.4, 99.6, 900.0)
    again: Row = (99.6, 100.3, 99.6, 100.2, 1250.0)
    holds: Row = (100.5, 100.9, 100.5, 100.8, 900.0)
    assert found(WEAK, through, again, holds, holds) == [("pullback_retest", 2, 0)]


def test_one_candle_may_come_back_and_break_again() -> None:
    assert found(WEAK, (100.5, 100.9, 100.1, 100.8, 1300.0)) == [("pullback_retest", 1, 0)]


@pytest.mark.parametrize(
    "rows",
    [
        [(100.5, 100.5, 99.6, 99.8, 900.0), (99.8, 100.7, 99.8, 100.6, 1100.0)],  # too little volume
        [(100.5, 100.5, 99.6, 99.8, 900.0), (99.8, 99.9, 99.7, 99.9, 2000.0)],  # not beyond the pivot
        [(100.5, 100.6, 100.2, 100.5, 1300.0)],  # not beyond the close before it
    ],
)
def test_what_is_no_retest(rows: list[Row]) -> None:
    assert found(WEAK, *rows) == []


def test_a_retest_too_late_is_none() -> None:
    above: Row = (100.5, 100.6, 100.4, 100.5, 900.0)
    rules = EntryRules(sustained_minutes=5)
    back: Row = (100.5, 100.5, 100.2, 100.25, 900.0)
    again: Row = (100.25, 100.8, 100.2, 100.7, 1300.0)
    assert found(WEAK, above, back, again, rules=rules) == [("pullback_retest", 3, 0)]
    assert found(WEAK, above, above, back, again, rules=rules) == []


def test_the_second_break_comes_within_24_bars_of_the_return() -> None:
    rules = EntryRules(sustained_minutes=5)
    above: Row = (100.5, 100.6, 100.4, 100.5, 900.0)
    back: Row = (100.5, 100.5, 100.2, 100.45, 900.0)
    again: Row = (100.5, 100.8, 100.4, 100.7, 1300.0)
    assert found(WEAK, above, back, above, again, rules=rules) == [("pullback_retest", 4, 0)]
    assert found(WEAK, back, above, above, again, rules=rules) == []


def test_the_twentieth_candle_before_a_break_still_counts_when_its_retest_comes() -> None:
    """The farthest that a signal looks back: without that candle the break is a momentum signal."""
    rules = EntryRules(sustained_minutes=5)
    quiet: Row = (99.5, 99.6, 99.4, 99.5, 1000.0)
    heavy: Row = (99.5, 99.6, 99.4, 99.5, 10_000.0)
    weak: Row = (99.8, 100.6, 99.8, 100.5, 1400.0)  # 1.4 times the mean of 19, 0.97 times that of 20
    tail: list[Row] = [
        (100.5, 100.6, 100.4, 100.5, 900.0),
        (100.5, 100.5, 100.2, 100.45, 900.0),
        (100.5, 100.6, 100.4, 100.45, 900.0),
        (100.5, 100.8, 100.4, 100.7, 2000.0),
    ]
    walk = candles(*[quiet] * 30, heavy, *[quiet] * 19, weak, *tail)
    breakout = Breakout(SETUP, "LONG", rules)
    assert [signal.path for signal in evaluate(SETUP, walk, rules)] == ["pullback_retest"]
    kept = walk[-lookback_candles(rules) - 1 :]
    assert [breakout.on_candle(kept)] == evaluate(SETUP, walk, rules)
    assert breakout.on_candle(walk[-24:]) is None


def test_sustained_for_two_minutes() -> None:
    holds: Row = (100.5, 100.6, 99.75, 100.5, 900.0)  # gives back 0.25 %
    assert found(WEAK, holds) == []
    assert found(WEAK, holds, holds) == [("sustained", 2, 0)]
    assert found(WEAK, holds, holds, holds, holds) == [("sustained", 2, 0)]


@pytest.mark.parametrize("row", [(100.5, 100.6, 99.69, 100.5, 900.0), (100.5, 100.6, 99.9, 100.0, 900.0)])
def test_what_does_not_hold(row: Row) -> None:
    assert found(WEAK, row, (100.4, 100.6, 100.4, 100.4, 900.0)) == []
    assert found(WEAK, (100.5, 100.6, 100.4, 100.4, 900.0), row) == []


def test_a_second_break_is_a_second_signal() -> None:
    down: Row = (100.3, 100.3, 99.4, 99.5, 900.0)
    assert found(STRONG, down, (99.8, 100.4, 99.8, 100.3, 2000.0)) == [("momentum", 0, 0), ("momentum", 2, 2)]


prices = st.sampled_from([99.4, 99.8, 99.9, 100.0, 100.1, 100.2, 100.4, 100.6])
rows = st.tuples(prices, prices, prices, prices, st.sampled_from([800.0, 1100.0, 1250.0, 1400.0, 3000.0]))


@given(st.lists(rows, min_size=1, max_size=60), st.data())
def test_i9_a_restart_from_the_buffer_comes_to_the_same_signals(drawn: list[Row], data: st.DataObject) -> None:
    walk = candles(*((o, max(o, h, lo, c), min(o, h, lo, c), c, v) for o, h, lo, c, v in drawn))
    breakout = Breakout(SETUP, "LONG", RULES)
    live = [breakout.on_candle(walk[: count + 1]) for count in range(len(walk))]
    at = data.draw(st.integers(0, len(walk) - 1))
    kept = walk[max(0, at - lookback_candles(RULES)) : at + 1]
    assert Breakout(SETUP, "LONG", RULES).on_candle(kept) == live[at]
    longs = [signal for signal in evaluate(SETUP, walk, RULES) if signal.side == "LONG"]
    assert longs == [signal for signal in live if signal]


@given(st.lists(rows, max_size=60))
def test_one_break_gives_one_signal_at_the_most(drawn: list[Row]) -> None:
    walk = candles(*((o, max(o, h, lo, c), min(o, h, lo, c), c, v) for o, h, lo, c, v in drawn))
    signals = evaluate(SETUP, walk, RULES)
    assert len({signal.break_time for signal in signals}) == len(signals)
    assert all(earlier.candle_time < later.candle_time for earlier, later in pairwise(signals))


def test_the_buffer_keeps_more_candles_than_any_setting_looks_back() -> None:
    widest = EntryRules(retest_bars=60, sustained_minutes=5)
    assert lookback_candles(widest) < CANDLES_KEPT


def test_the_sample_day_takes_every_path() -> None:
    """The paper gateway's synthetic day through bars, candles and paths gives the planned signals."""
    market = synthetic_day(date(2025, 10, 6), 1, time(9, 44))
    until = market.start.replace(hour=10, minute=0)
    market.advance(until)
    paths = {}
    for setup, side in (
        (replace(SETUP, symbol="TSLA", resistance=444.77), "LONG"),
        (replace(SETUP, symbol="NVDA", support=186.2), "SHORT"),
        (replace(SETUP, symbol="HOOD", resistance=146.5), "LONG"),
        (replace(SETUP, symbol="PLTR", resistance=180.3), "LONG"),
    ):
        buffer, breakout = BarBuffer(), Breakout(setup, "SHORT" if side == "SHORT" else "LONG", RULES)
        paths[setup.symbol] = [
            signal.path
            for bar in market.bars(setup.symbol, market.start.replace(minute=30), until, 5)
            if buffer.add(Bar(bar.start, bar.open, bar.high, bar.low, bar.close, bar.volume)) is not None
            if (signal := breakout.on_candle(buffer.candles)) is not None
        ]
    assert paths == {
        "TSLA": ["momentum"],
        "NVDA": ["momentum"],
        "HOOD": ["sustained"],
        "PLTR": ["pullback_retest"],
    }
