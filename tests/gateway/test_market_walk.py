"""The trades of a minute give exactly its candle: open, high, low, close and volume, in five-second bars."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from paper_gateway.market.bar_builder import BARS_PER_MINUTE, bars_of_minute, merged
from paper_gateway.market.candles import Candle
from paper_gateway.market.walk import MINUTE_MS, walk_minute

prices = st.integers(100, 9_000_000)


@st.composite
def candles(draw: st.DrawFn) -> Candle:
    low, open_, close, high = draw(st.tuples(prices, prices, prices, prices).map(sorted))
    if draw(st.booleans()):
        open_, close = close, open_
    return Candle(draw(st.integers(0, 389)), open_, high, low, close, draw(st.integers(0, 3_000_000)))


@given(candles(), st.text("abc", max_size=3))
@settings(max_examples=200, deadline=None)
def test_the_twelve_bars_add_up_to_the_candle(candle: Candle, seed: str) -> None:
    trades = walk_minute(candle, seed)
    bars = bars_of_minute(trades, price_before=100)
    assert len(bars) == BARS_PER_MINUTE
    if not trades:
        assert candle.volume == 0
        assert candle.high == candle.low
        return
    minute = merged(bars)
    assert (minute.open, minute.high, minute.low, minute.close) == (
        candle.open,
        candle.high,
        candle.low,
        candle.close,
    )
    assert minute.volume == candle.volume == sum(bar.volume for bar in bars)
    assert minute.count == len(trades)
    assert minute.turnover == sum(trade.price * trade.size for trade in trades)


@given(candles(), st.text("abc", max_size=3))
@settings(max_examples=200, deadline=None)
def test_trades_are_ordered_bounded_and_repeatable(candle: Candle, seed: str) -> None:
    trades = walk_minute(candle, seed)
    assert trades == walk_minute(candle, seed)
    assert [trade.ms for trade in trades] == sorted({trade.ms for trade in trades})
    assert all(0 <= trade.ms < MINUTE_MS for trade in trades)
    assert all(candle.low <= trade.price <= candle.high for trade in trades)
    assert all(trade.size >= 0 for trade in trades)


def test_a_rising_minute_visits_its_low_first_and_a_falling_one_its_high() -> None:
    rising = [trade.price for trade in walk_minute(Candle(0, 10000, 10900, 9100, 10500, 6000), "s")]
    assert rising.index(9100) < rising.index(10900)
    falling = [trade.price for trade in walk_minute(Candle(0, 10500, 10900, 9100, 10000, 6000), "s")]
    assert falling.index(10900) < falling.index(9100)


def test_a_busy_minute_trades_once_a_second() -> None:
    trades = walk_minute(Candle(0, 10000, 10900, 9100, 10500, 6000), "s")
    assert [trade.ms // 1000 for trade in trades] == list(range(60))


def test_a_thin_minute_leaves_bars_without_a_trade_flat_at_the_price_before() -> None:
    trades = walk_minute(Candle(0, 10000, 10200, 9900, 10100, 4), "s")
    bars = bars_of_minute(trades, price_before=9500)
    assert len(trades) == 4
    before = 9500
    for bar in bars:
        if bar.count == 0:
            assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (before,) * 4 + (0,)
        before = bar.close
    assert sum(bar.count == 0 for bar in bars) >= 8


def test_different_seeds_give_different_trades_of_the_same_minute() -> None:
    candle = Candle(0, 10000, 10900, 9100, 10500, 6000)
    assert walk_minute(candle, "one") != walk_minute(candle, "two")
