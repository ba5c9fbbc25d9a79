"""A monitored symbol: every closed candle is judged, however late its bars are received."""

from datetime import datetime, timedelta

from trader.broker.port import Bar
from trader.config.sections import EntryRules
from trader.core.bars import BAR
from trader.core.strategy.ps60.setups import Setup
from trader.core.view import SymbolMonitor
from trader.hours import MarketHours
from trader.time_zones import EASTERN

START = EASTERN.localize(datetime.fromisoformat("2025-10-06T09:50:00"))
SETUP = Setup("TSLA", 100.0, 90.0, 105.0, 110.0, 116.18, 85.0, 80.0, 90.0)


def monitored() -> SymbolMonitor:
    hours = MarketHours.from_contract("20251006:0930-20251006:1600", "US/Eastern")
    return SymbolMonitor("TSLA", 1, 0.01, hours, SETUP, EntryRules())


def minute(number: int, open_: float, close: float, volume: float = 100.0) -> list[Bar]:
    """A minute's twelve bars; each goes from `open_` to `close`."""
    start = START + timedelta(minutes=number)
    return [
        Bar(start + slot * BAR, open_, max(open_, close), min(open_, close), close, volume) for slot in range(12)
    ]


def test_a_burst_of_two_minutes_is_judged_candle_by_candle() -> None:
    monitor = monitored()
    for number in range(6):
        monitor.backfill(minute(number, 99.5, 99.6))
    breaking, after = minute(6, 99.6, 100.5, volume=500.0), minute(7, 100.5, 100.6)
    closed = [candle for bar in (*breaking, *after) if (candle := monitor.take_bar(bar)) is not None]
    assert [candle.time for candle in closed] == [breaking[0].time, after[0].time]
    assert [(signal.path, signal.break_time) for signal in monitor.signals(closed[0])] == [
        ("momentum", closed[0].time)
    ]
    assert monitor.signals(closed[1]) == []
