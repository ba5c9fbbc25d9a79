"""The steps of a change, of partial and full exits and of a replacement, on a broker that refuses or is silent."""

from collections.abc import Callable
from datetime import date, datetime

import pytest
from core_day import CoreDay
from msgspec.structs import replace

from state.domain.model import Closing, Position
from trader.broker.port import BrokerOrder, ConnectionFact, MessageFact, OrderFact, OrderTicket, PricesFact
from trader.core import effects as fx
from trader.core import entries
from trader.core.orders import closing
from trader.core.orders.closing_life import REFUSALS_MAX
from trader.core.strategy.ps60.breakout import Signal
from trader.core.strategy.ps60.setups import Setup
from trader.core.turn import Turn
from trader.time_zones import EASTERN

DAY = date(2025, 10, 6)
START = EASTERN.localize(datetime.fromisoformat("2025-10-06T10:00:00"))
SETUP = Setup("TSLA", 100.0, 90.0, 130.0, 140.0, 150.0, 85.0, 80.0, 50.0)
Refusal = Callable[[OrderTicket, BrokerOrder | None], int]


class Scene:
    """LONG 100 TSLA with its stop at 99.00, at a price of 101.00."""

    def __init__(self) -> None:
        self.day = CoreDay(DAY, {"TSLA": SETUP}, START)
        self.day.begin()
        self.price(100.5)
        signal = Signal("TSLA", "LONG", "momentum", 100.0, 100.5, START, START, 2.0)
        self.decide(lambda turn: entries.enter(turn, signal, SETUP, 1, 100, 99.0))
        self.price(101.0)
        assert self.position.held == 100

    @property
    def position(self) -> Position:
        return self.day.state.positions["TSLA"]

    @property
    def flat(self) -> bool:
        return not self.day.state.positions

    @property
    def under_way(self) -> Closing:
        assert self.position.closing is not None
        return self.position.closing

    @property
    def live(self) -> list[tuple[str, int, float | None]]:
        """The broker's open orders: type, shares and stop price."""
        return [(o.order_type, o.remaining, o.stop_price) for o in self.day.snapshot().open_orders or ()]

    def price(self, price: float) -> None:
        self.day._trade_at("TSLA", price)
        self.day.handle(PricesFact({"TSLA": price}))

    def decide(self, decide: Callable[[Turn], object]) -> None:
        turn = Turn(self.day.state, self.day.view, self.day.settings, self.day._moment())
        decide(turn)
        for _, effect in turn.effects:
            self.day.effects.append(effect)
            self.day._carry_out(effect)
        self.day.handle()

    def refuse(self, refusal: Refusal) -> None:
        self.day.refuses = refusal

    def move_stop(self, price: float = 99.5) -> None:
        self.decide(lambda turn: closing.move_stop(turn, self.position, price, "trail"))

    def take_partial(self, shares: int = 50) -> None:
        self.decide(lambda turn: closing.take_partial(turn, self.position, shares, "partial_1r"))

    def close(self) -> None:
        self.decide(lambda turn: closing.close(turn, self.position, "flatten"))

    def sent(self, order_type: str) -> list[OrderTicket]:
        sends = [effect for effect in self.day.effects if isinstance(effect, fx.SendOrders)]
        return [ticket for effect in sends for ticket in effect.tickets if ticket.order_type == order_type]


def of_children(_: OrderTicket, known: BrokerOrder | None) -> int:
    """Changes of orders that were sent with a parent are refused; such orders work on."""
    return 10326 if known is not None and known.parent_id else 0


def of_changes(_: OrderTicket, known: BrokerOrder | None) -> int:
    return 10326 if known is not None else 0


def of_stops(ticket: OrderTicket, known: BrokerOrder | None) -> int:
    return 383 if known is None and ticket.order_type == "STP" else 0


def of_market_orders(ticket: OrderTicket, known: BrokerOrder | None) -> int:
    return 383 if ticket.order_type == "MKT" and not known else 0


def test_a_change_is_over_when_ibkr_shows_it() -> None:
    scene = Scene()
    scene.move_stop()
    assert (scene.live, scene.position.closing) == ([("STP", 100, 99.5)], None)


def test_a_change_has_the_fields_that_ibkr_reported() -> None:
    scene = Scene()
    stop = scene.day.state.orders[scene.position.stop_ref]
    scene.day.view.reported[stop.order_ref] = BrokerOrder(
        stop.order_ref, stop.perm_id, stop.order_id, 2001, "DU1234567", "TSLA", 1, "SELL", 100, 0, "STP", 99.0,
        "PreSubmitted", parent_id=7, oca_group="8001", oca_type=3, tif="GTC",
    )  # fmt: skip
    scene.move_stop()
    ticket = scene.sent("STP")[-1]
    assert (ticket.parent_id, ticket.oca_group, ticket.oca_type, ticket.tif) == (7, "8001", 3, "GTC")


def test_g21_a_stop_that_cannot_be_changed_is_replaced_by_one_that_can() -> None:
    scene = Scene()
    scene.refuse(of_children)
    scene.move_stop()
    scene.day.pass_time(10)
    assert (scene.live, scene.position.closing, scene.day.state.children_fixed) == (
        [("STP", 100, 99.5)],
        None,
        True,
    )
    scene.move_stop(99.7)
    assert scene.live == [("STP", 100, 99.7)], "the new one is changed"


def test_g21_the_next_child_is_replaced_at_its_first_change() -> None:
    scene = Scene()
    scene.refuse(of_children)
    scene.day.state.children_fixed = True
    before = len(scene.sent("STP"))
    scene.move_stop()
    scene.day.pass_time(5)
    assert scene.live == [("STP", 100, 99.5)]
    assert len(scene.sent("STP")) - before == 1, "no change was tried first"


@pytest.mark.parametrize("refusal", [of_children, of_changes])
def test_g21_a_partial_is_taken_although_the_stop_cannot_be_changed(refusal: Refusal) -> None:
    scene = Scene()
    scene.refuse(refusal)
    scene.take_partial()
    scene.day.pass_time(10)
    assert (scene.position.held, [row[:2] for row in scene.live]) == (50, [("STP", 50)])


@pytest.mark.parametrize("refusal", [of_children, of_changes])
def test_g21_an_exit_goes_to_the_market_where_the_stop_cannot_be_changed(refusal: Refusal) -> None:
    scene = Scene()
    scene.refuse(refusal)
    scene.close()
    scene.day.pass_time(5)
    assert (scene.flat, scene.live) == (True, [])


def test_g23_without_a_price_an_exit_goes_to_the_market() -> None:
    scene = Scene()
    scene.day.view.monitors["TSLA"].price = float("nan")
    scene.close()
    assert (scene.flat, scene.live) == (True, [])
    assert [ticket.quantity for ticket in scene.sent("MKT")] == [100, 100], "the entry and the exit"


def test_g24_three_refused_stops_end_a_position_within_three_seconds() -> None:
    scene = Scene()
    scene.refuse(of_stops)
    (stop,) = [o for o in scene.day.snapshot().open_orders or () if o.order_type == "STP"]
    began = scene.day.now
    scene.day._cancel(stop.order_id)
    scene.day.handle()
    while not scene.flat and (scene.day.now - began).total_seconds() < 60:
        scene.day.pass_time(0.1)
    assert (scene.day.now - began).total_seconds() <= 3.0
    assert len(scene.sent("STP")) == 1 + REFUSALS_MAX
    (trade,) = scene.day.state.closed.values()
    assert trade.exit_reason == "unprotectable"


def test_g24_an_adopted_position_is_never_sold_because_its_stop_is_refused() -> None:
    scene = Scene()
    scene.position.path = "adopted"
    scene.refuse(of_stops)
    (stop,) = [o for o in scene.day.snapshot().open_orders or () if o.order_type == "STP"]
    scene.day._cancel(stop.order_id)
    scene.day.pass_time(200)
    assert (scene.position.held, scene.live) == (100, [])
    assert 6 <= len(scene.sent("STP")) <= 12, "it is tried again, every half minute"
    assert not scene.day.state.connection.entries_open
    scene.day.refuses = None
    scene.day.pass_time(60)
    assert scene.live == [("STP", 100, 99.0)]


def test_a_refused_exit_puts_the_stop_back_and_tries_again_ever_more_rarely() -> None:
    scene = Scene()

    def refusal(ticket: OrderTicket, known: BrokerOrder | None) -> int:
        return of_market_orders(ticket, known) or of_changes(ticket, known)

    scene.refuse(refusal)
    scene.close()
    scene.day.pass_time(120)
    assert (scene.position.held, scene.live) == (100, [("STP", 100, 99.0)])
    tried = len(scene.sent("MKT")) - 1
    assert 3 <= tried <= 8
    scene.day.refuses = None
    scene.day.pass_time(70)
    assert scene.flat


def test_g29_nothing_but_the_smaller_stop_is_sent_before_ibkr_shows_it_twice() -> None:
    scene = Scene()
    scene.day.shows_changes = 1  # perhaps before IBKR has decided
    scene.take_partial()
    assert (scene.under_way.step, scene.position.held, scene.live) == ("confirm", 100, [("STP", 50, 99.0)])
    (stop,) = scene.day.snapshot().open_orders or ()
    scene.day._keep(stop)
    scene.day.handle()
    assert (scene.position.held, scene.live) == (50, [("STP", 50, 99.0)])


def test_g29_silence_ends_a_partial_and_the_stop_gets_its_size_back() -> None:
    scene = Scene()
    scene.day.shows_changes = 1
    scene.take_partial()
    scene.day.shows_changes = 2
    scene.day.silent.add("open_orders")
    scene.day.pass_time(3)
    assert scene.position.held == 100
    scene.day.silent.clear()
    scene.day.pass_time(40)
    assert (scene.position.held, scene.live) == (100, [("STP", 100, 99.0)])


def test_g29_while_a_partial_is_under_way_nothing_else_is_sent_for_the_position() -> None:
    scene = Scene()
    scene.day.shows_changes = 1
    scene.take_partial()
    before = len(scene.day.effects)
    scene.move_stop()
    assert [effect for effect in scene.day.effects[before:] if isinstance(effect, fx.SendOrders)] == []


def test_a_partial_that_is_refused_three_times_is_not_tried_again() -> None:
    scene = Scene()

    def refusal(ticket: OrderTicket, known: BrokerOrder | None) -> int:
        return of_market_orders(ticket, known)

    scene.refuse(refusal)
    for _ in range(6):
        scene.take_partial()
        scene.day.pass_time(40)
    assert (scene.position.partials_refused, scene.position.held) == (3, 100)
    assert scene.live == [("STP", 100, 99.0)]


def test_a_restart_goes_on_at_the_same_step() -> None:
    """The stop is gone, and the process ended before the order at the market was sent."""
    scene = Scene()
    scene.day.silent.add("open_orders")
    scene.refuse(of_changes)
    scene.close()
    steps = [scene.under_way.step]
    scene.day.pass_time(1)
    again = CoreDay(DAY, {"TSLA": SETUP}, scene.day.now)
    again.state, again._orders, again._held = scene.day.state, scene.day._orders, scene.day._held
    again._executions, again._prices = scene.day._executions, scene.day._prices
    again.begin()
    again.pass_time(20)
    assert steps == ["change"]
    assert not again.state.positions
    assert not again.snapshot().open_orders


def test_g25_an_inactive_stop_protects_nothing_and_is_cancelled_before_another_is_placed() -> None:
    scene = Scene()
    (stop,) = scene.day.snapshot().open_orders or ()
    scene.day._keep(replace(stop, status="Inactive"))
    scene.day.handle()
    assert scene.day.state.protective_stop(scene.position) is None
    scene.day.pass_time(5)
    orders = {order.order_ref: order.status for order in scene.day._orders.values() if order.order_type == "STP"}
    assert orders.pop(stop.order_ref) == "Cancelled"
    assert list(orders.values()) == ["PreSubmitted"]
    scene.day.pass_time(120)
    assert len(scene.sent("STP")) == 2, "one replacement, and no more"


def test_g25_an_inactive_stop_that_wakes_up_is_taken_back_and_not_doubled() -> None:
    scene = Scene()
    scene.day.keeps_cancelled = True
    (stop,) = scene.day.snapshot().open_orders or ()
    scene.day._keep(replace(stop, status="Inactive"))
    scene.day.pass_time(10)
    scene.day.keeps_cancelled = False
    scene.day._keep(replace(stop, status="PreSubmitted"))
    scene.day.pass_time(10)
    assert [row[:2] for row in scene.live] == [("STP", 100)]


def test_the_fills_of_a_cancelled_stop_are_waited_for() -> None:
    """IBKR shows 40 shares as filled: the order at the market is for the 60 that are left."""
    scene = Scene()
    scene.day.view.monitors["TSLA"].price = float("nan")
    scene.day.keeps_cancelled = True
    scene.close()
    (stop,) = scene.day.snapshot().open_orders or ()
    scene.day._keep(replace(stop, status="Cancelled", filled=40))
    scene.day.handle()
    assert len(scene.sent("MKT")) == 1, "the entry's"
    scene.day._fill(replace(stop, quantity=40), 99.0)
    scene.day._orders[stop.order_id] = replace(stop, status="Cancelled", filled=40)
    scene.day.handle()
    assert scene.sent("MKT")[-1].quantity == 60
    assert (scene.flat, scene.day._held["TSLA"]) == (True, 0)


def test_during_an_outage_nothing_is_sent() -> None:
    scene = Scene()
    scene.day.handle(ConnectionFact("broken", "1100 lost"))
    before = len(scene.day.effects)
    (stop,) = scene.day.snapshot().open_orders or ()
    scene.day._orders[stop.order_id] = replace(stop, status="Cancelled")
    scene.day.handle(OrderFact(scene.day._orders[stop.order_id]))
    scene.day.pass_time(60)
    assert [e for e in scene.day.effects[before:] if isinstance(e, fx.SendOrders | fx.SendCancel)] == []
    scene.day.handle(ConnectionFact("restored", "1102 restored"))
    scene.day.pass_time(10)
    assert scene.live == [("STP", 100, 99.0)]


def test_an_exit_waits_for_a_change_that_was_sent_a_moment_ago() -> None:
    """Two changes of one order at once are refused (2102)."""
    scene = Scene()
    scene.day.shows_changes = 0
    scene.move_stop()
    changes = len(scene.sent("STP"))
    scene.close()
    assert len(scene.sent("STP")) == changes
    assert scene.under_way.kind == "change"
    scene.day.shows_changes = 2
    scene.day.pass_time(2)
    scene.close()
    scene.day.pass_time(10)
    assert scene.flat


def test_no_exit_is_sent_while_the_stop_may_still_execute() -> None:
    scene = Scene()
    scene.refuse(of_changes)
    scene.day.keeps_cancelled = True
    scene.close()
    scene.day.pass_time(20)
    assert scene.day._held["TSLA"] == 100
    assert scene.live == [("STP", 100, 99.0)], "its cancel is not answered: nothing stands beside it"
    scene.day.keeps_cancelled = False
    scene.day.pass_time(60)
    assert (scene.flat, scene.day._held["TSLA"]) == (True, 0)


@pytest.mark.parametrize("kind", ["change", "partial"])
def test_g21_a_change_that_ibkr_shows_before_it_refuses_it_is_refused(kind: str) -> None:
    """The new terms once, then the error, then the old terms."""
    scene = Scene()
    scene.day.shows_changes = 1
    (before,) = scene.day.snapshot().open_orders or ()
    if kind == "change":
        scene.move_stop()
    else:
        scene.take_partial()
    assert scene.under_way.step == "confirm"
    scene.day.shows_changes = 2
    scene.refuse(of_children)
    scene.day._keep(before)
    scene.day.handle(MessageFact(10326, "refused", before.order_id, "TSLA", before.order_ref))
    scene.day._keep(before)
    scene.day.handle()
    scene.day.pass_time(10)
    assert scene.position.closing is None
    held = scene.day._held["TSLA"]
    assert [row[:2] for row in scene.live] == [("STP", held)]
    assert scene.day.state.children_fixed


def test_an_exit_that_does_not_fill_through_the_stop_goes_to_the_market(monkeypatch: pytest.MonkeyPatch) -> None:
    """The price has moved away, or the symbol is halted: after five seconds the stop is cancelled."""
    scene = Scene()
    with monkeypatch.context() as patch:
        patch.setattr(scene.day, "_match", lambda _: None)
        scene.close()
        assert scene.under_way.step == "change"
        scene.day.pass_time(4)
        assert [row[0] for row in scene.live] == ["STP"]
    scene.day.pass_time(5)
    assert (scene.flat, scene.live) == (True, [])
    assert len(scene.sent("MKT")) == 2
