"""What orders do as the market moves: triggers, trails, brackets, groups, sessions. No network."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest

from paper_gateway.brokerage import Brokerage
from paper_gateway.errors import RequestRefused
from paper_gateway.events import Event, Executed, OrderCancelled, OrderChanged, OrderNotice, OrderRejected
from paper_gateway.faults import Rejection
from paper_gateway.market import Tick, synthetic_day
from paper_gateway.orders import ContractRef, Order, Status, Ticket

TSLA = ContractRef(symbol="TSLA", sec_type="STK", exchange="SMART", currency="USD")
PLAIN = Ticket(
    order_id=1,
    contract=TSLA,
    action="BUY",
    quantity=100.0,
    order_type="MKT",
    limit_price=None,
    aux_price=None,
    tif="DAY",
    oca_group="",
    oca_type=0,
    account="",
    order_ref="",
    transmit=True,
    parent_id=0,
    outside_rth=False,
    trail_stop_price=None,
    trailing_percent=None,
    what_if=False,
)


class House:
    """A brokerage on the synthetic day whose trades are made by the test."""

    def __init__(self, start: time = time(10, 0), cash: float = 1_000_000.0) -> None:
        self.broker = Brokerage(synthetic_day(date(2025, 10, 6), 1, start), ["DU1"], cash, [])
        self.events: list[Event] = []
        self.broker.engine.emit = self.events.append
        self.trade(100.0)

    def trade(self, price: float, *, at: datetime | None = None) -> None:
        """One trade of the market, with a spread of two cents around it."""
        moment = at or self.broker.engine.now + timedelta(seconds=1)
        tick = Tick("TSLA", moment, price, 100, round(price - 0.01, 2), round(price + 0.01, 2))
        self.broker.engine.on_tick(tick)

    def place(self, order_id: int, **changes: Any) -> Order:
        self.broker.desk.place(1, replace(PLAIN, order_id=order_id, **changes))
        return self.order(order_id)

    def order(self, order_id: int) -> Order:
        order = self.broker.book.by_client(1, order_id)
        assert order is not None
        return order

    def held(self) -> int:
        return self.broker.ledger.position("DU1", "TSLA").quantity

    def bracket(self, *, entry: float = 100.0) -> tuple[Order, Order, Order]:
        """A limit entry for 100 shares, a target at 104 and a stop at 98."""
        self.place(1, transmit=False, order_type="LMT", limit_price=entry)
        child: dict[str, Any] = {"action": "SELL", "parent_id": 1}
        self.place(2, order_type="LMT", limit_price=104.0, transmit=False, **child)
        self.place(3, order_type="STP", aux_price=98.0, **child)
        return self.order(1), self.order(2), self.order(3)


@pytest.fixture
def house() -> House:
    return House()


def test_market_orders_take_the_other_side_at_once(house: House) -> None:
    assert house.place(1).average_price == 100.01
    assert house.place(2, action="SELL").average_price == 99.99


def test_a_limit_rests_until_it_is_marketable(house: House) -> None:
    order = house.place(1, order_type="LMT", limit_price=99.0)
    house.trade(99.0)
    assert (order.status, order.filled) == (Status.SUBMITTED, 0)
    house.trade(98.95)
    assert (order.status, order.average_price) == (Status.FILLED, 98.96)


@pytest.mark.parametrize(
    ("action", "stop", "path", "price"),
    [("SELL", 98.0, [98.01, 98.0], 97.99), ("BUY", 102.0, [101.99, 102.0], 102.01)],
)
def test_a_stop_triggers_on_the_last_trade(
    house: House, action: str, stop: float, path: list[float], price: float
) -> None:
    order = house.place(1, action=action, order_type="STP", aux_price=stop)
    assert (order.status, order.why_held) == (Status.PRE_SUBMITTED, "trigger")
    house.trade(path[0])
    assert order.filled == 0
    house.trade(path[1])
    assert (order.status, order.average_price, order.why_held) == (Status.FILLED, price, "")


@pytest.mark.parametrize(("action", "stop"), [("SELL", 100.0), ("SELL", 101.0), ("BUY", 100.0), ("BUY", 99.0)])
def test_a_stop_on_the_wrong_side_triggers_at_once(house: House, action: str, stop: float) -> None:
    assert house.place(1, action=action, order_type="STP", aux_price=stop).status is Status.FILLED


def test_a_stop_modified_through_the_market_triggers_at_once(house: House) -> None:
    order = house.place(1, action="SELL", order_type="STP", aux_price=98.0)
    house.place(1, action="SELL", order_type="STP", aux_price=100.5)
    assert order.status is Status.FILLED


def test_a_stop_limit_waits_at_its_limit_after_the_trigger(house: House) -> None:
    order = house.place(1, action="SELL", order_type="STP LMT", aux_price=98.0, limit_price=97.9)
    house.trade(97.5)
    assert (order.status, order.filled, order.triggered) == (Status.SUBMITTED, 0, True)
    house.trade(98.5)
    assert (order.status, order.average_price) == (Status.FILLED, 98.49)


@pytest.mark.parametrize(
    ("terms", "stops"),
    [({"aux_price": 1.0}, [99.0, 101.0, 101.0]), ({"trailing_percent": 1.0}, [99.0, 100.98, 100.98])],
)
def test_a_trailing_stop_follows_the_high_only(house: House, terms: dict[str, float], stops: list[float]) -> None:
    order = house.place(1, action="SELL", order_type="TRAIL", **terms)
    assert order.trail_stop == stops[0]
    house.trade(102.0)
    assert order.trail_stop == stops[1]
    house.trade(101.5)
    assert (order.trail_stop, order.filled) == (stops[2], 0)
    house.trade(100.9)
    assert order.status is Status.FILLED


def test_nothing_of_a_bracket_is_shown_before_its_last_leg(house: House) -> None:
    house.events.clear()
    house.place(1, transmit=False, order_type="LMT", limit_price=99.0)
    house.place(2, action="SELL", parent_id=1, order_type="STP", aux_price=98.0, transmit=False)
    assert house.events == []
    assert house.broker.book.live() == []
    house.place(3, action="SELL", parent_id=1, order_type="LMT", limit_price=104.0)
    assert [event.order.order_id for event in house.events if isinstance(event, OrderChanged)] == [1, 2, 3]
    assert [house.order(number).why_held for number in (1, 2, 3)] == ["", "child,trigger", "child"]
    group = str(house.order(1).perm_id)
    assert [(house.order(number).oca_group, house.order(number).oca_type) for number in (2, 3)] == [(group, 3)] * 2


def test_an_untransmitted_order_vanishes_with_its_client_but_its_id_stays_used(house: House) -> None:
    house.place(1, transmit=False)
    house.broker.desk.drop_untransmitted(1)
    assert house.broker.book.by_client(1, 1) is None
    assert house.broker.book.next_order_id(1) == 2


def test_children_work_once_the_parent_filled_and_one_cancels_the_other(house: House) -> None:
    entry, target, stop = house.bracket()
    assert house.held() == 0
    house.trade(99.9)
    assert (entry.status, target.status, stop.status) == (Status.FILLED, Status.SUBMITTED, Status.PRE_SUBMITTED)
    assert stop.why_held == "trigger"
    house.trade(104.5)
    assert (target.status, stop.status, house.held()) == (Status.FILLED, Status.CANCELLED, 0)


def test_children_never_fill_more_than_the_parent_filled(house: House) -> None:
    house.broker.faults.holds.add("TSLA")
    entry, target, stop = house.bracket()
    house.broker.engine.fill(entry, 40, 100.0)
    house.broker.faults.holds.clear()
    house.trade(97.5)  # triggers the stop; the entry's rest fills on the same trade or the next
    assert house.held() == entry.filled - stop.filled
    assert stop.filled <= entry.filled
    for price in (97.4, 97.3):
        house.trade(price)
    assert (house.held(), entry.filled, stop.filled, target.status) == (0, 100, 100, Status.CANCELLED)


def test_cancelling_a_part_filled_parent_leaves_children_for_what_was_filled(house: House) -> None:
    house.broker.faults.holds.add("TSLA")
    entry, target, stop = house.bracket()
    house.broker.engine.fill(entry, 40, 100.0)
    house.broker.engine.cancel(entry)
    house.broker.faults.holds.clear()
    assert (target.quantity, stop.quantity, stop.live) == (40, 40, True)
    house.trade(97.5)
    assert (stop.status, target.status, house.held()) == (Status.FILLED, Status.CANCELLED, 0)


def test_cancelling_an_unfilled_parent_cancels_its_children(house: House) -> None:
    entry, target, stop = house.bracket(entry=95.0)
    house.broker.desk.cancel(1, 1)
    assert {one.status for one in (entry, target, stop)} == {Status.CANCELLED}
    assert sum(isinstance(event, OrderCancelled) for event in house.events) == 3


def test_cancelling_one_child_cancels_the_other_but_not_the_parent(house: House) -> None:
    entry, target, stop = house.bracket(entry=95.0)
    house.broker.desk.cancel(1, 2)
    assert (entry.status, target.status, stop.status) == (Status.SUBMITTED, Status.CANCELLED, Status.CANCELLED)


@pytest.mark.parametrize(("oca_type", "left"), [(1, None), (2, 60), (3, 60)])
def test_a_part_filled_group_member_cancels_or_reduces_the_others(
    house: House, oca_type: int, left: int | None
) -> None:
    house.place(1)
    group: dict[str, Any] = {"action": "SELL", "oca_group": "g", "oca_type": oca_type}
    target = house.place(2, order_type="LMT", limit_price=104.0, **group)
    stop = house.place(3, order_type="STP", aux_price=98.0, **group)
    house.broker.engine.fill(target, 40, 104.0)
    assert (stop.remaining, stop.live) == ((left, True) if left else (100, False))


def test_a_rejected_parent_takes_its_children_along(house: House) -> None:
    house.broker.faults.rejections.append(Rejection("TSLA", None, 201, "no"))
    entry, target, stop = house.bracket()
    assert (entry.status, target.status, stop.status) == (Status.INACTIVE, Status.CANCELLED, Status.CANCELLED)
    assert [event.code for event in house.events if isinstance(event, OrderRejected)] == [201]


def test_a_rejected_child_leaves_the_entry_alive(house: House) -> None:
    house.broker.faults.rejections.append(Rejection(None, "stop", 201, "no"))
    house.place(1, transmit=False, order_type="LMT", limit_price=99.0)
    house.place(2, action="SELL", parent_id=1, order_type="STP", aux_price=98.0, order_ref="x-stop")
    assert (house.order(1).status, house.order(2).status) == (Status.SUBMITTED, Status.INACTIVE)


def test_orders_outside_the_session_rest_until_it_opens() -> None:
    house = House(start=time(9, 30))
    opening = house.broker.engine.now
    house.trade(100.0, at=opening - timedelta(minutes=5))
    order = house.place(1)
    assert (order.status, order.filled) == (Status.PRE_SUBMITTED, 0)
    notices = [event for event in house.events if isinstance(event, OrderNotice)]
    assert [(one.code, "20251006 09:30:00 US/Eastern" in one.text) for one in notices] == [(399, True)]
    house.trade(101.0, at=opening)
    assert (order.status, order.average_price) == (Status.FILLED, 101.01)


def test_day_orders_end_with_the_session_and_gtc_orders_stay(house: House) -> None:
    day = house.place(1, order_type="LMT", limit_price=90.0)
    gtc = house.place(2, order_type="LMT", limit_price=90.0, tif="GTC")
    house.broker.engine.expire_day_orders()
    assert (day.status, gtc.status) == (Status.CANCELLED, Status.SUBMITTED)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": 0.0}, 321),
        ({"quantity": None}, 321),
        ({"quantity": 1.5}, 321),
        ({"quantity": 1e12}, 321),
        ({"action": "SSHORT"}, 321),
        ({"tif": "FOK"}, 321),
        ({"order_type": "LMT"}, 321),
        ({"order_type": "LMT", "limit_price": -1.0}, 321),
        ({"order_type": "LMT", "limit_price": 100.001}, 110),
        ({"order_type": "STP"}, 321),
        ({"order_type": "TRAIL", "trailing_percent": 150.0}, 321),
        ({"order_type": "MIDPRICE"}, 387),
        ({"account": "DU9"}, 321),
        ({"parent_id": 77}, 10006),
        ({"contract": replace(TSLA, symbol="ZZTOP")}, 200),
        ({"contract": replace(TSLA, sec_type="OPT")}, 200),
        ({"contract": replace(TSLA, currency="EUR")}, 200),
        ({"contract": replace(TSLA, exchange="")}, 321),
        ({"contract": replace(TSLA, con_id=1)}, 200),
        ({"order_id": 0}, 321),
    ],
)
def test_bad_orders_are_refused_with_the_code_of_tws(house: House, changes: dict[str, Any], code: int) -> None:
    with pytest.raises(RequestRefused) as caught:
        house.broker.desk.place(1, replace(PLAIN, **changes))
    assert caught.value.code == code
    assert house.broker.book.live() == []


def test_an_order_beyond_the_buying_power_is_rejected() -> None:
    house = House(cash=1000.0)
    assert house.place(1, quantity=39.0).status is Status.FILLED
    assert house.place(2, quantity=5.0).status is Status.INACTIVE
    assert house.place(3, action="SELL", quantity=39.0).status is Status.FILLED


def test_modifying_keeps_the_permanent_id_and_refuses_what_cannot_be(house: House) -> None:
    order = house.place(1, order_type="LMT", limit_price=90.0)
    perm_id = order.perm_id
    house.place(1, order_type="LMT", limit_price=91.0, quantity=50.0)
    assert (order.perm_id, order.limit_price, order.quantity) == (perm_id, 91.0, 50)
    with pytest.raises(RequestRefused) as other_side:
        house.place(1, action="SELL", order_type="LMT", limit_price=91.0)
    house.trade(90.9)
    with pytest.raises(RequestRefused) as filled:
        house.place(1, order_type="LMT", limit_price=92.0)
    with pytest.raises(RequestRefused) as cancel_filled:
        house.broker.desk.cancel(1, 1)
    with pytest.raises(RequestRefused) as unknown:
        house.broker.desk.cancel(2, 1)
    refusals = (other_side, filled, cancel_filled, unknown)
    assert [one.value.code for one in refusals] == [105, 104, 10148, 10147]
    assert "state: Filled" in cancel_filled.value.message


def test_ids_roll_back_as_after_a_nightly_restart(house: House) -> None:
    house.place(5)
    resting = house.place(6, order_type="LMT", limit_price=90.0)
    with pytest.raises(RequestRefused) as reused:
        house.place(4)
    assert reused.value.code == 103
    house.broker.book.roll_back_ids(4)
    assert house.broker.book.next_order_id(1) == 3
    assert house.place(5).status is Status.FILLED  # the id of a finished order is an order of its own again
    house.place(6, order_type="LMT", limit_price=91.0)
    assert resting.limit_price == 91.0  # the id of a working order still means that order


def test_a_partial_fill_on_demand_is_completed_by_the_next_trade(house: House) -> None:
    house.broker.faults.partials["TSLA"] = deque([30])
    order = house.place(1)
    assert (order.filled, order.remaining, order.status) == (30, 70, Status.SUBMITTED)
    house.trade(100.5)
    assert (order.filled, order.status) == (100, Status.FILLED)
    fills = [event.execution for event in house.events if isinstance(event, Executed)]
    assert [(one.shares, one.cum_qty) for one in fills] == [(30, 30), (70, 100)]
