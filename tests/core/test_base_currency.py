"""An account in another base currency than US dollars: sizes and limits are in dollars, or nothing is entered."""

from datetime import date, datetime, time
from functools import cache
from typing import Any

import msgspec
import pytest
from core_day import ACCOUNT, CoreDay
from msgspec.structs import replace
from test_core_day import bars, beginning, setups

from state.domain import events as ev
from trader.broker.port import AccountValues
from trader.config.sections import Config, RiskRules, SizeRules
from trader.core import comparison, messages
from trader.time_zones import EASTERN

DAY = date(2025, 10, 6)
NOON = EASTERN.localize(datetime.combine(DAY, time(12)))
RATE = 150.0
IN_DOLLARS = AccountValues(ACCOUNT, 100_000.0, 400_000.0, 100_000.0)
IN_YEN = AccountValues(ACCOUNT, 15_000_000.0, 60_000_000.0, 15_000_000.0, "JPY", RATE)
WITHOUT_A_RATE = replace(IN_YEN, exchange_rate=None)


@cache
def traded(values: AccountValues, loss_pct: float = 2.0) -> CoreDay:
    """The generated day with this account. The risk of an entry is small, so that no size is at its cap."""
    config = Config(risk=RiskRules(max_daily_loss_pct=loss_pct), size=SizeRules(risk_per_trade_pct=0.05))
    day = CoreDay(DAY, setups("generated"), beginning("generated"), config)
    day.values = values
    day.begin()
    day.trade(bars("generated"))
    return day


def waiting(values: AccountValues) -> CoreDay:
    """A started trader with nothing to trade."""
    day = CoreDay(DAY, {}, NOON)
    day.values = values
    day.begin()
    return day


def compared(day: CoreDay, values: AccountValues) -> None:
    """The next comparison finds these values."""
    day.values = values
    day.view.comparison.due_s = 0.0
    day.handle(messages.TimerFired(comparison.TIMER))


def are_open(day: CoreDay) -> bool:
    return day.state.connection.entries_open


def recorded(day: CoreDay, kind: type[ev.Event]) -> list[Any]:
    return [msgspec.json.decode(item.data, type=kind) for item in day.events if item.kind == kind.kind()]


def sizes(day: CoreDay) -> list[tuple[str, int]]:
    return [(e.order.symbol, e.order.quantity) for e in recorded(day, ev.OrderIntended) if e.order.role == "entry"]


def test_g27_an_account_in_yen_enters_the_sizes_of_its_dollars() -> None:
    assert sizes(traded(IN_DOLLARS))
    assert sizes(traded(IN_YEN)) == sizes(traded(IN_DOLLARS))


def test_g27_the_loss_limit_of_an_account_in_yen_trips() -> None:
    """The same loss in dollars trips it at the same moment."""
    tripped = [recorded(traded(values, loss_pct=0.001), ev.LossLimitHit) for values in (IN_DOLLARS, IN_YEN)]
    assert len(tripped[0]) == 1
    assert tripped[1] == tripped[0]


def test_g27_the_equity_is_recorded_in_dollars_and_the_funds_as_they_came() -> None:
    day = waiting(IN_YEN)
    assert day.state.risk.start_equity == pytest.approx(100_000.0)
    assert [event.equity for event in recorded(day, ev.EquityMarked)] == [pytest.approx(100_000.0)]
    funds = day.state.funds
    assert funds is not None
    assert (funds.net_liquidation, funds.currency, funds.exchange_rate) == (15_000_000.0, "JPY", RATE)
    assert funds.taken_at == NOON


def test_g27_without_a_rate_nothing_is_entered_and_the_reason_is_told() -> None:
    day = traded(WITHOUT_A_RATE)
    assert sizes(day) == []
    assert recorded(day, ev.EntryBlocked), "there were signals"
    assert day.state.risk.start_equity is None
    day = waiting(WITHOUT_A_RATE)
    connection = day.state.connection
    assert (connection.ready, connection.entries_open) == (True, False)
    assert "base currency is JPY" in connection.reason
    assert [alert.key for alert in day.state.alerts] == ["exchange-rate"]


def test_g27_a_rate_that_goes_closes_the_entries_until_it_comes_back() -> None:
    day = waiting(IN_YEN)
    assert are_open(day)
    compared(day, WITHOUT_A_RATE)
    assert not are_open(day)
    assert "no exchange rate" in day.state.connection.reason
    assert day.state.funds is not None
    assert day.state.funds.exchange_rate is None
    compared(day, WITHOUT_A_RATE)
    assert len(recorded(day, ev.AlertRaised)) == 1, "it is told once"
    compared(day, IN_YEN)
    assert are_open(day)
    assert day.state.alerts == []
    assert day.view.equity == pytest.approx(100_000.0)


def test_g27_yen_that_an_earlier_version_took_for_dollars_are_replaced() -> None:
    """A state of the same day whose first equity is 15 million "dollars" and that has no funds."""
    day = CoreDay(DAY, {}, NOON)
    day.state.risk.start_equity = 15_000_000.0
    day.values = IN_YEN
    day.begin()
    assert day.state.risk.start_equity == pytest.approx(100_000.0)
    compared(day, replace(IN_YEN, net_liquidation=3_000_000.0))
    assert day.state.risk.start_equity == pytest.approx(100_000.0), "the day's first equity stays"


def test_g27_what_holds_the_entries_is_the_reason_that_is_shown() -> None:
    """Also if it began before the protection gate had passed."""
    day = CoreDay(DAY, {}, NOON)
    day.handle(messages.EntriesHeld("the state cannot be saved"))
    day.begin()
    assert day.state.connection.reason == "the state cannot be saved"
    day.values = WITHOUT_A_RATE
    compared(day, WITHOUT_A_RATE)
    assert "the state cannot be saved" in day.state.connection.reason
    assert "base currency is JPY" in day.state.connection.reason
    day.handle(messages.EntriesReleased("the state cannot be saved"))
    assert "the state cannot be saved" not in day.state.connection.reason
    assert "base currency is JPY" in day.state.connection.reason
    assert not are_open(day)
