"""The comparison on answers that are lost, slow or older than what has happened since."""

from datetime import date, datetime, timedelta

import pytest
from core_day import CoreDay

from trader.broker.port import PARTS, Part, PricesFact
from trader.core import effects as fx
from trader.core import entries
from trader.core.connection_status import is_managing
from trader.core.strategy.ps60.breakout import Signal
from trader.core.strategy.ps60.setups import Setup
from trader.core.turn import Turn
from trader.time_zones import EASTERN

DAY = date(2025, 10, 6)
START = EASTERN.localize(datetime.fromisoformat("2025-10-06T10:00:00"))
SETUP = Setup("TSLA", 100.0, 90.0, 130.0, 140.0, 150.0, 85.0, 80.0, 50.0)


def day_with_a_long() -> CoreDay:
    """LONG 100 TSLA, five minutes old, compared with IBKR."""
    day = CoreDay(DAY, {"TSLA": SETUP}, START)
    day.begin()
    day.handle(PricesFact({"TSLA": 100.5}))
    day._trade_at("TSLA", 100.5)
    turn = turn_of(day)
    entries.enter(turn, Signal("TSLA", "LONG", "momentum", 100.0, 100.5, START, START, 2.0), SETUP, 1, 100, 99.0)
    for _, effect in turn.effects:
        day._carry_out(effect)
    day.handle()
    day._trade_at("TSLA", 101.0)
    day.handle(PricesFact({"TSLA": 101.0}))
    day.pass_time(300)
    assert day.state.positions["TSLA"].held == 100
    assert day.state.connection.entries_open
    return day


def turn_of(day: CoreDay) -> Turn:
    return Turn(day.state, day.view, day.settings, day._moment())


def asked(day: CoreDay) -> list[Part]:
    return [effect.part for effect in day.effects if isinstance(effect, fx.AskBroker)]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("way", ["silent", "refused"])
def test_i17_positions_are_managed_without_any_one_answer(part: Part, way: str) -> None:
    """An hour without it: nothing is dropped, the stop stays, and partials and exits are carried out."""
    day = day_with_a_long()
    getattr(day, way).add(part)
    day.pass_time(3600)
    assert day.state.positions["TSLA"].held == 100
    assert len([order for order in day.snapshot().open_orders or () if order.stop_price == 99.0]) == 1
    assert is_managing(turn_of(day))
    assert not day.state.connection.entries_open
    day._trade_at("TSLA", 102.0)
    day.handle(PricesFact({"TSLA": 102.0}))
    day.pass_time(10)
    assert day.state.positions["TSLA"].held == 50


@pytest.mark.parametrize("part", PARTS)
def test_i17_a_start_goes_on_without_any_one_answer(part: Part) -> None:
    """After some seconds the market is watched, positions are managed, and entries stay closed."""
    day = CoreDay(DAY, {"TSLA": SETUP}, START)
    day.refused.add(part)
    day.begin()
    day.pass_time(30)
    assert any(isinstance(effect, fx.RecoveryFinished) for effect in day.effects)
    assert not day.state.connection.entries_open
    day.refused.clear()
    day.pass_time(30)
    assert day.state.connection.entries_open


def test_executions_are_asked_for_from_the_last_answer_on() -> None:
    day = day_with_a_long()
    questions = [e for e in day.effects if isinstance(e, fx.AskBroker) and e.part == "executions"]
    assert questions[0].since is None, "the first question of a connection is about the whole day"
    assert questions[-1].since is not None
    assert day.now - questions[-1].since < timedelta(seconds=130)


def test_without_an_event_ibkr_is_asked_every_half_minute() -> None:
    day = day_with_a_long()
    before = len(asked(day))
    day.pass_time(300)
    assert len(asked(day)) - before in (9 * len(PARTS), 10 * len(PARTS))
