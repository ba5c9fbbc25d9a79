"""Blind symbols in the core: refusals, silence, delayed data, asking again, the alert; and the age of prices."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta

import pytest
from core_day import CoreDay
from msgspec.structs import replace

from trader.broker.port import Bar, BarFact, ConnectionFact, DataFact, DataKind, PricesFact
from trader.core import data_check, engine, entries, messages
from trader.core import effects as fx
from trader.core.bars import BAR
from trader.core.prices import exit_price, fresh_price, has_live_data
from trader.core.strategy.ps60.breakout import Signal
from trader.core.strategy.ps60.setups import Setup
from trader.core.turn import Turn
from trader.core.view import SymbolMonitor
from trader.time_zones import EASTERN

START = EASTERN.localize(datetime.fromisoformat("2025-10-06T10:00:00"))
SYMBOLS = ("TSLA", "AMD", "NVDA")  # as the scanner ranks them
SETUPS = {symbol: Setup(symbol, 100.0, 90.0, 130.0, 140.0, 150.0, 85.0, 80.0, 50.0) for symbol in SYMBOLS}
BLOCKED = "no_live_data"


class Day:
    """A core that monitors three symbols; data come only as the test says, at `speed` session seconds a second."""

    def __init__(self, start: datetime = START, symbols: tuple[str, ...] = SYMBOLS) -> None:
        self.core = CoreDay(date(2025, 10, 6), {symbol: SETUPS[symbol] for symbol in symbols}, start)
        self.core.begin()

    def monitor(self, symbol: str = "TSLA") -> SymbolMonitor:
        return self.core.view.monitors[symbol]

    def states(self) -> list[str]:
        return [self.monitor(symbol).data.state for symbol in self.core.settings.setups]

    def fact(self, kind: DataKind, *symbols: str, code: int = 0, text: str = "") -> None:
        self.core.handle(*(DataFact(symbol, kind, code, text) for symbol in symbols or SYMBOLS))

    def bars(self, *symbols: str, volume: float = 100.0) -> None:
        """A bar that ends now for each symbol."""
        bar = Bar(self.core.now - BAR, 100.0, 100.0, 100.0, 100.0, volume)
        self.core.handle(*(BarFact(symbol, bar) for symbol in symbols or SYMBOLS))

    def live(self, seconds: float, *symbols: str) -> None:
        """So many seconds with a bar every five."""
        for _ in range(int(seconds // 5)):
            self.core.pass_time(5.0)
            self.bars(*symbols)

    def turn(self) -> Turn:
        return Turn(self.core.state, self.core.view, self.core.settings, self.core._moment())

    def fresh(self, symbol: str = "TSLA") -> float | None:
        return fresh_price(self.turn(), self.monitor(symbol))

    def may_enter(self, symbol: str = "TSLA") -> bool:
        return has_live_data(self.turn(), self.monitor(symbol))

    @contextmanager
    def effects(self, kind: type[fx.Effect]) -> Iterator[list[fx.Effect]]:
        """The effects of this kind that the block causes."""
        before = len(self.core.effects)
        found: list[fx.Effect] = []
        yield found
        found += [effect for effect in self.core.effects[before:] if isinstance(effect, kind)]

    def recorded(self, kind: str = "DataChanged") -> int:
        return sum(event.kind == kind for event in self.core.events)

    def alert(self) -> str:
        found = [alert.text for alert in self.core.state.alerts if alert.key == data_check.ALERT_KEY]
        assert len(found) <= 1
        return found[0] if found else ""


def begun(start: datetime = START) -> Day:
    day = Day(start)
    day.fact("requested")
    return day


def asked_again(day: Day, seconds: float) -> list[str]:
    """The symbols whose data are asked for again in this time, in order."""
    with day.effects(fx.Resubscribe) as found:
        day.core.pass_time(seconds)
    return [effect.symbol for effect in found if isinstance(effect, fx.Resubscribe)]


@pytest.mark.parametrize("code", [354, 10089, 10090, 10168, 10197, 101, 420, 456, 99999])
def test_g28_a_refused_symbol_is_missing_with_its_code_and_asked_for_again(code: int) -> None:
    """Any code: what counts is that no bar comes."""
    day = begun()
    day.live(10.0)
    assert day.states() == ["live"] * 3
    day.fact("refused", "AMD", code=code, text="not subscribed")
    assert day.states() == ["live", "missing", "live"]
    assert not day.may_enter("AMD")
    assert day.may_enter("TSLA")
    assert "AMD" not in asked_again(day, 2.5)
    assert asked_again(day, 2.5) == ["AMD"]
    shown = day.core.state.market_data
    assert {symbol: (data.state, data.code, data.text) for symbol, data in shown.items()} == {
        "AMD": ("missing", code, "not subscribed")
    }
    assert day.alert() == (
        f"No live market data: AMD (missing {code}). Nothing is entered there; positions keep their stops."
    )


def test_g28_one_alert_names_all_blind_symbols_and_is_cleared_when_they_are_live() -> None:
    day = begun()
    day.fact("refused", code=354, text="not subscribed")
    day.core.pass_time(5.0)
    assert "AMD, NVDA, TSLA (missing 354)" in day.alert()
    assert day.recorded() == 3
    day.live(15.0, "TSLA")
    assert "AMD, NVDA (missing 354)" in day.alert()
    day.live(20.0)
    assert day.core.state.market_data == {}
    assert day.alert() == ""
    assert day.recorded("AlertCleared") == 1
    assert day.recorded("AlertRaised") == 2


def test_g28_a_symbol_without_bars_is_stale_after_20_seconds() -> None:
    """Prices alone go on: a frozen subscription may repeat them for ever."""
    day = begun()
    day.live(10.0)
    for _ in range(8):
        day.core.pass_time(2.5)
        day.core.handle(PricesFact({"TSLA": 100.0}))
    assert day.states() == ["live"] * 3
    day.core.pass_time(2.5)
    assert day.states() == ["stale"] * 3
    day.core.handle(PricesFact({"TSLA": 100.0}))
    assert day.states() == ["stale"] * 3
    assert not day.may_enter()
    assert day.fresh() is None
    assert asked_again(day, 7.5) == list(SYMBOLS)
    day.bars("TSLA")
    assert day.states() == ["live", "stale", "stale"]


def test_g28_a_request_that_brings_nothing_is_stale_and_one_that_waits_is_not() -> None:
    day = Day()
    day.fact("requested", "TSLA")
    day.fact("queued", "AMD", text="in 300 s")
    day.core.pass_time(25.0)
    assert day.states() == ["stale", "waiting", "waiting"]
    shown = day.core.state.market_data
    assert {symbol: (data.state, data.text) for symbol, data in shown.items()} == {
        "TSLA": ("stale", "no real-time bars come"),
        "AMD": ("waiting", "in 300 s"),
        "NVDA": ("waiting", ""),
    }


@pytest.mark.parametrize("clock", ["09:00:00", "16:00:00"])
def test_no_bars_are_expected_while_the_market_is_closed(clock: str) -> None:
    start = EASTERN.localize(datetime.fromisoformat(f"2025-10-06T{clock}"))
    day = begun(start)
    with day.effects(fx.DataArrived) as arrived:
        day.core.pass_time(50.0)
    assert day.states() == ["waiting"] * 3
    assert (day.recorded(), day.alert(), arrived) == (0, "", [])


def test_the_silence_before_the_open_does_not_count() -> None:
    day = begun(EASTERN.localize(datetime.fromisoformat("2025-10-06T09:29:00")))
    day.core.pass_time(75.0)
    assert day.states() == ["waiting"] * 3
    day.core.pass_time(7.5)
    assert day.states() == ["stale"] * 3


def test_a_lost_connection_is_no_silence() -> None:
    """It has an alert of its own. After it the data are asked for again, and are awaited."""
    day = begun()
    day.live(10.0)
    day.core.handle(ConnectionFact("broken", "1100 lost"))
    day.core.pass_time(60.0)
    assert day.states() == ["live"] * 3
    assert asked_again(day, 10.0) == []
    day.core.handle(ConnectionFact("restored", "1102 restored"))
    day.core.pass_time(15.0)
    assert day.states() == ["live"] * 3
    day.core.pass_time(7.5)
    assert day.states() == ["stale"] * 3


def test_g05_the_time_in_which_the_trader_slept_is_no_silence() -> None:
    """Its first tick may come before it has read the bars that wait."""
    day = begun()
    day.live(10.0)
    day.core.now += timedelta(seconds=36)
    day.core.handle(messages.Tick())
    assert day.states() == ["live"] * 3
    day.core.pass_time(17.5)
    assert day.states() == ["live"] * 3
    day.core.pass_time(5.0)
    assert day.states() == ["stale"] * 3


def test_delayed_data_are_not_live_whatever_comes_until_ibkr_says_so() -> None:
    day = begun()
    day.fact("delayed", "TSLA", code=10167, text="Displaying delayed market data.")
    day.bars("TSLA")
    day.fact("refused", "TSLA", code=420)
    assert day.states()[0] == "delayed"
    assert not day.may_enter()
    assert day.fresh() is None, "its prices are minutes old"
    assert asked_again(day, 5.0) == ["TSLA"]
    assert day.core.state.market_data["TSLA"].code == 10167
    day.fact("current", "TSLA")
    assert day.states()[0] == "waiting"
    day.bars("TSLA")
    assert day.may_enter()


def test_positions_are_asked_for_first_then_the_scanners_order() -> None:
    day = begun()
    with day.effects(fx.PreferData) as preferred:
        day.bars("NVDA")
        enter(day, "NVDA")
        day.core.pass_time(2.5)
    assert preferred == [fx.PreferData(("NVDA",))]
    day.fact("refused", code=354)
    assert asked_again(day, 5.0) == ["NVDA", "TSLA", "AMD"]
    day.fact("refused", code=354)
    assert asked_again(day, 7.5) == []
    assert asked_again(day, 2.5) == ["NVDA", "TSLA", "AMD"]


def test_the_start_subscribes_in_this_order() -> None:
    with_setups = Day()
    subscribed = [effect.symbol for effect in with_setups.core.effects if isinstance(effect, fx.Subscribe)]
    assert subscribed == list(SYMBOLS)


def test_where_no_line_is_left_one_symbol_a_tick_is_asked_for_again() -> None:
    day = begun()
    day.fact("refused", code=101, text="Max number of tickers has been reached")
    assert asked_again(day, 5.0) == ["TSLA"]
    day.fact("refused", "TSLA", code=101)
    assert asked_again(day, 2.5) == ["AMD"]
    assert asked_again(day, 2.5) == ["NVDA"]


def test_data_that_come_and_go_are_recorded_a_few_times_a_minute() -> None:
    day = begun()
    for _ in range(30):
        day.fact("refused", "TSLA", code=10197)
        day.core.pass_time(5.0)
        day.bars()
        assert day.states()[0] == "live"
        day.core.pass_time(5.0)
    assert 2 <= day.recorded() <= 300 / data_check.RECORD_EVERY_S + 1
    assert day.recorded("AlertRaised") + day.recorded("AlertCleared") <= day.recorded()


def test_a_short_wait_for_data_is_not_recorded() -> None:
    """A reconnect begins all subscriptions again."""
    day = begun()
    day.live(10.0)
    for _ in range(3):
        day.fact("requested")
        day.core.pass_time(5.0)
        day.bars()
    assert (day.recorded(), day.alert()) == (0, "")


def test_how_many_symbols_deliver_data_is_told_once() -> None:
    with (day := Day()).effects(fx.DataArrived) as arrived:
        day.fact("requested")
        day.live(25.0, "TSLA", "AMD")
    assert arrived == [fx.DataArrived(2, ("NVDA",))]
    with (day := Day()).effects(fx.DataArrived) as arrived:
        day.fact("requested")
        day.live(60.0)
    assert arrived == [fx.DataArrived(3, ())]


def test_a_new_session_begins_without_the_blind_symbols_of_the_last_one() -> None:
    day = begun()
    day.fact("refused", code=354)
    day.core.pass_time(2.5)
    assert set(day.core.state.market_data) == set(SYMBOLS)
    day.core.handle(messages.RunEnding("s", "completed", "over"))
    assert day.core.state.market_data == {}


# The age of a price


def test_a_price_older_than_15_seconds_is_not_fresh() -> None:
    day = begun()
    day.core.pass_time(5.0)
    day.bars()
    assert day.fresh() == 100.0
    day.core.pass_time(15.0)
    assert day.fresh() == 100.0
    day.core.pass_time(2.5)
    assert day.states()[0] == "live"
    assert day.fresh() is None
    assert not day.may_enter()
    day.core.handle(PricesFact({"TSLA": 101.0}))
    assert day.fresh() == 101.0


def test_a_bar_without_trades_makes_data_live_and_no_price_fresh() -> None:
    day = begun()
    day.live(5.0)
    for _ in range(4):
        day.core.pass_time(5.0)
        day.bars(volume=0.0)
    assert day.states()[0] == "live"
    assert day.fresh() is None


def test_the_age_is_that_of_the_trade_and_not_of_the_message() -> None:
    """A frozen subscription repeats a price with its time; a backlog brings prices of long ago."""
    day = begun()
    day.live(30.0)
    now = day.core.now
    for age_s, fresh in ((16, 100.0), (14, 99.0)):
        old = int((now - timedelta(seconds=age_s)).timestamp())
        day.monitor().price_time = None
        day.core.handle(PricesFact({"TSLA": 99.0}, {"TSLA": old}))
        assert day.monitor().price == 99.0
        assert day.fresh() == (99.0 if fresh == 99.0 else None)


def test_the_exit_rules_have_no_price_where_it_is_old_or_the_symbol_blind() -> None:
    day = begun()
    day.live(5.0)
    assert exit_price(day.turn(), day.monitor()) == 100.0
    day.core.pass_time(17.5)
    assert math.isnan(exit_price(day.turn(), day.monitor()))
    day.core.pass_time(2.5)
    day.bars()
    day.fact("refused", "TSLA", code=354)
    assert math.isnan(exit_price(day.turn(), day.monitor()))


def test_an_older_trade_never_replaces_a_newer_one() -> None:
    day = begun()
    day.live(30.0)
    before = int((day.core.now - timedelta(seconds=20)).timestamp())
    day.core.handle(PricesFact({"TSLA": 90.0}, {"TSLA": before}))
    assert day.fresh() == 100.0


@pytest.mark.parametrize("speed", [1.0, 20.0])
def test_g05_bars_of_before_a_sleep_trigger_nothing_however_they_arrive(speed: float) -> None:
    """36 s of sleep: the bars that waited arrive at once. Their prices are as old as the trades."""
    day = begun()
    day.live(30.0)
    moment = replace(day.core._moment(), speed=speed)
    woken = replace(moment, now=moment.now + timedelta(seconds=36 * speed), real_s=moment.real_s + 36)
    turn = Turn(day.core.state, day.core.view, day.core.settings, woken)
    missed = [Bar(moment.now + n * BAR, 90.0, 90.0, 90.0, 90.0, 100.0) for n in range(int(36 * speed / 5))]
    half = len(missed) // 2
    engine.handle(turn, [BarFact("TSLA", bar) for bar in missed[:half]])
    assert day.monitor().price == 90.0
    assert fresh_price(turn, day.monitor()) is None
    assert not has_live_data(turn, day.monitor())
    engine.handle(turn, [BarFact("TSLA", bar) for bar in missed[half:]])
    assert fresh_price(turn, day.monitor()) == 90.0


def enter(day: Day, symbol: str) -> None:
    turn = day.turn()
    signal = Signal(symbol, "LONG", "momentum", 100.0, 100.0, START, START, 2.0)
    day.core._trade_at(symbol, 100.0)
    entries.enter(turn, signal, SETUPS[symbol], 1, 100, 99.0)
    for _, effect in turn.effects:
        day.core._carry_out(effect)
    day.core.handle()
    assert symbol in day.core.state.positions


def test_a_signal_on_an_old_price_is_blocked() -> None:
    day = begun()
    day.live(120.0)
    for age_s, blocked in ((0.0, False), (17.5, True)):
        if age_s:
            day.core.pass_time(age_s)
        turn = day.turn()
        signal = Signal("TSLA", "LONG", "momentum", 99.5, 100.0, turn.moment.now, turn.moment.now, 2.0)
        entries.judge(turn, day.monitor(), signal, entries_open=True)
        assert (day.core.state.filter_blocks.get(BLOCKED) == 1) is blocked
