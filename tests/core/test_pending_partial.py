"""A partial exit is a state and not a wait: the message that ends it releases the exit or gives it up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from core_day import ACCOUNT, CoreDay
from msgspec.structs import replace

from state.domain.model import Position
from trader.broker.port import BrokerOrder, OrderFact, OrderTicket, PricesFact
from trader.core import effects as fx
from trader.core import entries, messages
from trader.core.orders import closing
from trader.core.strategy.ps60.breakout import Signal
from trader.core.strategy.ps60.setups import Setup
from trader.core.turn import Turn
from trader.time_zones import EASTERN

DAY = date(2025, 10, 6)
START = EASTERN.localize(datetime.fromisoformat("2025-10-06T10:00:00"))
SETUP = Setup("TSLA", 100.0, 90.0, 130.0, 140.0, 150.0, 85.0, 80.0, 50.0)


@dataclass
class Scene:
    """LONG 100 TSLA; the broker keeps quiet about a changed stop until the test lets it speak."""

    day: CoreDay
    sent: list[fx.SendOrders] = field(default_factory=list)

    @property
    def position(self) -> Position:
        return self.day.state.positions["TSLA"]

    def decide(self, decide: Callable[[Turn], None]) -> list[fx.Effect]:
        turn = Turn(self.day.state, self.day.view, self.day.settings, self.day._moment())
        decide(turn)
        return [effect for _, effect in turn.effects]

    def take_partial(self, shares: int = 50) -> list[fx.Effect]:
        price, tick = 101.0, 0.01
        return self.decide(lambda t: closing.take_partial(t, self.position, shares, "partial_1r", price, tick))

    def handle(self, *given: messages.Message) -> list[OrderTicket]:
        """The tickets that are sent on these messages."""
        before = len(self.day.effects)
        self.day.handle(*given)
        new = [effect for effect in self.day.effects[before:] if isinstance(effect, fx.SendOrders)]
        return [ticket for effect in new for ticket in effect.tickets]

    def stop(self, **changes: object) -> BrokerOrder:
        """The stop as the broker has it, with changes."""
        stop = self.day.state.orders[self.position.stop_ref]
        found = next(order for order in self.day.snapshot().open_orders or () if order.order_ref == stop.order_ref)
        return replace(found, **changes)


def scene() -> Scene:
    day = CoreDay(DAY, {"TSLA": SETUP}, START)
    day.begin()
    day.handle(PricesFact({"TSLA": 100.5}))
    day._trade_at("TSLA", 100.5)
    signal = Signal("TSLA", "LONG", "momentum", 100.0, 100.5, START, START, 2.0)
    turn = Turn(day.state, day.view, day.settings, day._moment())
    entries.enter(turn, signal, SETUP, 1, 100, 99.0)
    for _, effect in turn.effects:
        day._carry_out(effect)
    day.handle()
    assert day.state.positions["TSLA"].held == 100
    return Scene(day)


def test_g29_nothing_is_sent_but_the_smaller_stop() -> None:
    found = scene()
    (sent,) = [effect for effect in found.take_partial() if isinstance(effect, fx.SendOrders)]
    assert [(ticket.order_type, ticket.quantity) for ticket in sent.tickets] == [("STP", 50)]
    assert found.day.view.partials["TSLA"].shares == 50


def test_g29_the_exit_leaves_when_ibkr_shows_the_smaller_stop() -> None:
    found = scene()
    found.take_partial()
    assert found.handle(OrderFact(found.stop(quantity=100))) == [], "the old size says nothing"
    (exit_ticket,) = found.handle(OrderFact(found.stop(quantity=50)))
    assert (exit_ticket.order_type, exit_ticket.action, exit_ticket.quantity) == ("MKT", "SELL", 50)
    assert found.day.view.partials == {}


def test_g29_a_stop_that_filled_first_lets_no_exit_leave() -> None:
    found = scene()
    found.take_partial()
    assert found.handle(OrderFact(found.stop(status="Filled"))) == []
    assert found.day.view.partials == {}


def test_g29_silence_ends_it_and_asks_for_a_comparison() -> None:
    found = scene()
    found.take_partial()
    found.day.now += timedelta(seconds=closing.CONFIRM_S - 0.1)
    found.handle(messages.Tick())
    assert "TSLA" in found.day.view.partials
    found.day.now += timedelta(seconds=0.2)
    found.handle(messages.Tick())
    assert found.day.view.partials == {}
    assert not any(order.role == "exit" for order in found.day.state.orders.values())


def test_g29_while_it_is_pending_nothing_else_is_decided_for_the_position() -> None:
    found = scene()
    found.take_partial()
    sent = found.handle(PricesFact({"TSLA": 120.0}), messages.Tick())
    assert sent == []
    assert found.day.settings.account == ACCOUNT


def test_g29_orders_that_were_not_sent_end_it() -> None:
    found = scene()
    found.take_partial()
    ref = found.position.stop_ref
    found.handle(messages.OrdersNotSent("TSLA", (), (ref,), "There is no connection."))
    assert found.day.view.partials == {}
    assert any("There is no connection." in alert.text for alert in found.day.state.alerts)
