"""The engine without a network: triggers, trails, brackets, OCA groups, sessions."""

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

TAKEN_FOR_WARNINGS = {105, 110, 165, 202, 321, 329, 399, 404, 434, 492, 10167, *range(2100, 2200)}
"""Codes that ib_insync 0.9.86 or ib_async 2.1.0 do not take for the end of an order."""


class Driver:
    """A brokerage on the synthetic day; the test makes the market's trades."""

    def __init__(self, start: time = time(10, 0), cash: float = 1_000_000.0) -> None:
        self.broker = Brokerage(synthetic_day(date(2025, 10, 6), 1, start), ["DU1"], cash, [])
        self.events: list[Event] = []
        self.broker.engine.publish = self.events.append
        self.trade(100.0)

    def trade(self, price: float, *, at: datetime | None = None) -> None:
        """One trade of the market, with a spread of two cents around it."""
        moment = at or self.broker.engine.now + timedelta(seconds=1)
        tick = Tick("TSLA", moment, price, 100, round(price - 0.01, 2), round(price + 0.01, 2))
        self.broker.engine.on_tick(tick)

    def place(self, order_id: int, **changes: Any) -> Order:
        self.broker.order_entry.place(1, replace(PLAIN, order_id=order_id, **changes))
        return self.order(order_id)

    def order(self, order_id: int) -> Order:
        order = self.broker.order_store.by_client(1, order_id)
        assert order is not None
        return order

    def held(self) -> int:
        return self.broker.accounts.position("DU1", "TSLA").quantity

    def bracket(self, *, entry: float = 100.0) -> tuple[Order, Order, Order]:
        """A limit entry for 100 shares, a target at 104 and a stop at 98."""
        self.place(1, transmit=False, order_type="LMT", limit_price=entry)
        child: dict[str, Any] = {"action": "SELL", "parent_id": 1}
        self.place(2, order_type="LMT", limit_price=104.0, transmit=False, **child)
        self.place(3, order_type="STP", aux_price=98.0, **child)
        return self.order(1), self.order(2), self.order(3)


@pytest.fixture
def driver() -> Driver:
    return Driver()


def test_market_orders_take_the_other_side_at_once(driver: Driver) -> None:
    assert driver.place(1).average_price == 100.01
    assert driver.place(2, action="SELL").average_price == 99.99


def test_a_limit_rests_until_it_is_marketable(driver: Driver) -> None:
    order = driver.place(1, order_type="LMT", limit_price=99.0)
    driver.trade(99.0)
    assert (order.status, order.filled) == (Status.SUBMITTED, 0)
    driver.trade(98.95)
    assert (order.status, order.average_price) == (Status.FILLED, 98.96)


@pytest.mark.parametrize(
    ("action", "stop", "path", "price"),
    [("SELL", 98.0, [98.01, 98.0], 97.99), ("BUY", 102.0, [101.99, 102.0], 102.01)],
)
def test_a_stop_triggers_on_the_last_trade(
    driver: Driver, action: str, stop: float, path: list[float], price: float
) -> None:
    order = driver.place(1, action=action, order_type="STP", aux_price=stop)
    assert (order.status, order.why_held) == (Status.PRE_SUBMITTED, "trigger")
    driver.trade(path[0])
    assert order.filled == 0
    driver.trade(path[1])
    assert (order.status, order.average_price, order.why_held) == (Status.FILLED, price, "")


@pytest.mark.parametrize(("action", "stop"), [("SELL", 100.0), ("SELL", 101.0), ("BUY", 100.0), ("BUY", 99.0)])
def test_a_stop_on_the_wrong_side_triggers_at_once(driver: Driver, action: str, stop: float) -> None:
    assert driver.place(1, action=action, order_type="STP", aux_price=stop).status is Status.FILLED


def test_a_stop_modified_through_the_market_triggers_at_once(driver: Driver) -> None:
    order = driver.place(1, action="SELL", order_type="STP", aux_price=98.0)
    driver.place(1, action="SELL", order_type="STP", aux_price=100.5)
    assert order.status is Status.FILLED


def test_a_stop_limit_waits_at_its_limit_after_the_trigger(driver: Driver) -> None:
    order = driver.place(1, action="SELL", order_type="STP LMT", aux_price=98.0, limit_price=97.9)
    driver.trade(97.5)
    assert (order.status, order.filled, order.triggered) == (Status.SUBMITTED, 0, True)
    driver.trade(98.5)
    assert (order.status, order.average_price) == (Status.FILLED, 98.49)


@pytest.mark.parametrize(
    ("terms", "stops"),
    [({"aux_price": 1.0}, [99.0, 101.0, 101.0]), ({"trailing_percent": 1.0}, [99.0, 100.98, 100.98])],
)
def test_a_trailing_stop_follows_the_high_only(driver: Driver, terms: dict[str, float], stops: list[float]) -> None:
    order = driver.place(1, action="SELL", order_type="TRAIL", **terms)
    assert order.trail_stop == stops[0]
    driver.trade(102.0)
    assert order.trail_stop == stops[1]
    driver.trade(101.5)
    assert (order.trail_stop, order.filled) == (stops[2], 0)
    driver.trade(100.9)
    assert order.status is Status.FILLED


def test_nothing_of_a_bracket_is_shown_before_its_last_leg(driver: Driver) -> None:
    driver.events.clear()
    driver.place(1, transmit=False, order_type="LMT", limit_price=99.0)
    driver.place(2, action="SELL", parent_id=1, order_type="STP", aux_price=98.0, transmit=False)
    assert driver.events == []
    assert driver.broker.order_store.live() == []
    driver.place(3, action="SELL", parent_id=1, order_type="LMT", limit_price=104.0)
    changed = [event.order.order_id for event in driver.events if isinstance(event, OrderChanged)]
    assert changed[:6] == [1, 2, 3, 1, 2, 3]
    assert [driver.order(number).why_held for number in (1, 2, 3)] == ["", "child,trigger", "child"]
    group = str(driver.order(1).perm_id)
    assert [(driver.order(number).oca_group, driver.order(number).oca_type) for number in (2, 3)] == [
        (group, 3)
    ] * 2


def test_an_untransmitted_order_ends_with_its_clients_connection_and_its_id_stays_used(driver: Driver) -> None:
    driver.place(1, transmit=False)
    driver.broker.order_entry.disconnected(1)
    assert driver.broker.order_store.by_client(1, 1) is None
    assert driver.broker.order_store.next_order_id(1) == 2


def test_children_work_once_the_parent_filled_and_one_cancels_the_other(driver: Driver) -> None:
    entry, target, stop = driver.bracket()
    assert driver.held() == 0
    driver.trade(99.9)
    assert (entry.status, target.status, stop.status) == (Status.FILLED, Status.SUBMITTED, Status.PRE_SUBMITTED)
    assert stop.why_held == "trigger"
    driver.trade(104.5)
    assert (target.status, stop.status, driver.held()) == (Status.FILLED, Status.CANCELLED, 0)


def test_children_never_fill_more_than_the_parent_filled(driver: Driver) -> None:
    driver.broker.faults.holds.add("TSLA")
    entry, target, stop = driver.bracket()
    driver.broker.engine.fill(entry, 40, 100.0)
    driver.broker.faults.holds.clear()
    driver.trade(97.5)  # triggers the stop; the rest of the entry fills on the same trade or the next
    assert driver.held() == entry.filled - stop.filled
    assert stop.filled <= entry.filled
    for price in (97.4, 97.3):
        driver.trade(price)
    assert (driver.held(), entry.filled, stop.filled, target.status) == (0, 100, 100, Status.CANCELLED)


def test_cancelling_a_part_filled_parent_leaves_children_for_what_was_filled(driver: Driver) -> None:
    driver.broker.faults.holds.add("TSLA")
    entry, target, stop = driver.bracket()
    driver.broker.engine.fill(entry, 40, 100.0)
    driver.broker.engine.cancel(entry)
    driver.broker.faults.holds.clear()
    assert (target.quantity, stop.quantity, stop.live) == (40, 40, True)
    driver.trade(97.5)
    assert (stop.status, target.status, driver.held()) == (Status.FILLED, Status.CANCELLED, 0)


def test_cancelling_an_unfilled_parent_cancels_its_children(driver: Driver) -> None:
    entry, target, stop = driver.bracket(entry=95.0)
    driver.broker.order_entry.cancel(1, 1)
    assert {one.status for one in (entry, target, stop)} == {Status.CANCELLED}
    assert sum(isinstance(event, OrderCancelled) for event in driver.events) == 3


def test_cancelling_one_child_cancels_the_other_but_not_the_parent(driver: Driver) -> None:
    entry, target, stop = driver.bracket(entry=95.0)
    driver.broker.order_entry.cancel(1, 2)
    assert (entry.status, target.status, stop.status) == (Status.SUBMITTED, Status.CANCELLED, Status.CANCELLED)


@pytest.mark.parametrize(("oca_type", "left"), [(1, None), (2, 60), (3, 60)])
def test_a_part_filled_group_member_cancels_or_reduces_the_others(
    driver: Driver, oca_type: int, left: int | None
) -> None:
    driver.place(1)
    group: dict[str, Any] = {"action": "SELL", "oca_group": "g", "oca_type": oca_type}
    target = driver.place(2, order_type="LMT", limit_price=104.0, **group)
    stop = driver.place(3, order_type="STP", aux_price=98.0, **group)
    driver.broker.engine.fill(target, 40, 104.0)
    assert (stop.remaining, stop.live) == ((left, True) if left else (100, False))


def test_the_children_of_a_rejected_parent_are_cancelled(driver: Driver) -> None:
    driver.broker.faults.rejections.append(Rejection("TSLA", None, 201, "no"))
    entry, target, stop = driver.bracket()
    assert (entry.status, target.status, stop.status) == (Status.INACTIVE, Status.CANCELLED, Status.CANCELLED)
    assert [event.code for event in driver.events if isinstance(event, OrderRejected)] == [201]


def test_the_entry_of_a_rejected_child_stays_live(driver: Driver) -> None:
    driver.broker.faults.rejections.append(Rejection(None, "stop", 201, "no"))
    driver.place(1, transmit=False, order_type="LMT", limit_price=99.0)
    driver.place(2, action="SELL", parent_id=1, order_type="STP", aux_price=98.0, order_ref="x-stop")
    assert (driver.order(1).status, driver.order(2).status) == (Status.SUBMITTED, Status.INACTIVE)


def test_orders_outside_the_session_rest_until_it_opens() -> None:
    driver = Driver(start=time(9, 30))
    opening = driver.broker.engine.now
    driver.trade(100.0, at=opening - timedelta(minutes=5))
    order = driver.place(1)
    assert (order.status, order.filled) == (Status.PRE_SUBMITTED, 0)
    notices = [event for event in driver.events if isinstance(event, OrderNotice)]
    assert [(one.code, "2025-10-06 09:30:00 US/Eastern" in one.text) for one in notices] == [(399, True)]
    driver.trade(101.0, at=opening)
    assert (order.status, order.average_price) == (Status.FILLED, 101.01)


def test_day_orders_end_with_the_session_and_gtc_orders_stay(driver: Driver) -> None:
    day = driver.place(1, order_type="LMT", limit_price=90.0)
    gtc = driver.place(2, order_type="LMT", limit_price=90.0, tif="GTC")
    driver.broker.engine.expire_day_orders()
    assert (day.status, gtc.status) == (Status.CANCELLED, Status.SUBMITTED)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": 0.0}, 160),
        ({"quantity": None}, 160),
        ({"quantity": 1.5}, 10243),
        ({"quantity": 1e12}, 355),
        ({"action": "SSHORT"}, 387),
        ({"tif": "XYZ"}, 10052),
        ({"order_type": "LMT"}, 463),
        ({"order_type": "LMT", "limit_price": -1.0}, 463),
        ({"order_type": "LMT", "limit_price": 100.001}, 110),
        ({"order_type": "STP"}, 403),
        ({"order_type": "TRAIL", "trailing_percent": 150.0}, 10061),
        ({"order_type": "MIDPRICE"}, 387),
        ({"account": "DU9"}, 435),
        ({"parent_id": 77}, 10006),
        ({"contract": replace(TSLA, symbol="ZZTOP")}, 200),
        ({"contract": replace(TSLA, sec_type="OPT")}, 200),
        ({"contract": replace(TSLA, currency="EUR")}, 200),
        ({"contract": replace(TSLA, exchange="")}, 452),
        ({"contract": replace(TSLA, con_id=1)}, 200),
        ({"order_id": 0}, 10149),
    ],
)
def test_bad_orders_are_refused_with_the_code_of_tws(driver: Driver, changes: dict[str, Any], code: int) -> None:
    with pytest.raises(RequestRefused) as caught:
        driver.broker.order_entry.place(1, replace(PLAIN, **changes))
    assert caught.value.code == code
    assert code == 110 or code not in TAKEN_FOR_WARNINGS
    assert driver.broker.order_store.live() == []


def test_an_order_beyond_the_buying_power_is_rejected() -> None:
    driver = Driver(cash=1000.0)
    assert driver.place(1, quantity=39.0).status is Status.FILLED
    assert driver.place(2, quantity=5.0).status is Status.INACTIVE
    assert driver.place(3, action="SELL", quantity=39.0).status is Status.FILLED


def test_modifying_keeps_the_permanent_id_and_refuses_what_cannot_be(driver: Driver) -> None:
    order = driver.place(1, order_type="LMT", limit_price=90.0)
    perm_id = order.perm_id
    driver.place(1, order_type="LMT", limit_price=91.0, quantity=50.0)
    assert (order.perm_id, order.limit_price, order.quantity) == (perm_id, 91.0, 50)
    with pytest.raises(RequestRefused) as other_side:
        driver.place(1, action="SELL", order_type="LMT", limit_price=91.0)
    driver.trade(90.9)
    with pytest.raises(RequestRefused) as filled:
        driver.place(1, order_type="LMT", limit_price=92.0)
    with pytest.raises(RequestRefused) as cancel_filled:
        driver.broker.order_entry.cancel(1, 1)
    with pytest.raises(RequestRefused) as unknown:
        driver.broker.order_entry.cancel(2, 1)
    refusals = (other_side, filled, cancel_filled, unknown)
    assert [one.value.code for one in refusals] == [105, 104, 10148, 10147]
    assert "state: Filled" in cancel_filled.value.message


def test_ids_roll_back_as_after_a_nightly_restart(driver: Driver) -> None:
    driver.place(5)
    resting = driver.place(6, order_type="LMT", limit_price=90.0)
    with pytest.raises(RequestRefused) as reused:
        driver.place(4)
    assert reused.value.code == 103
    driver.broker.order_store.roll_back_ids(4)
    assert driver.broker.order_store.next_order_id(1) == 3
    assert driver.place(5).status is Status.FILLED  # the id of a finished order places a new order
    driver.place(6, order_type="LMT", limit_price=91.0)
    assert resting.limit_price == 91.0  # the id of a live order modifies that order


def test_a_partial_fill_on_demand_is_completed_by_the_next_trade(driver: Driver) -> None:
    driver.broker.faults.partials["TSLA"] = deque([30])
    order = driver.place(1)
    assert (order.filled, order.remaining, order.status) == (30, 70, Status.SUBMITTED)
    driver.trade(100.5)
    assert (order.filled, order.status) == (100, Status.FILLED)
    fills = [event.execution for event in driver.events if isinstance(event, Executed)]
    assert [(one.shares, one.cum_qty) for one in fills] == [(30, 30), (70, 100)]
