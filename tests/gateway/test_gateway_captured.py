"""Order messages in the sequence recorded from a real gateway, and its rules for changes and cancels.

The recordings are those of IB Gateway 10.40 in deepentropy/ibx, folder tests/fixtures/gw1040/scenarios; each test
names its scenario. Prices and ids differ, as does the stock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from gateway_helpers import decoded
from ib_insync.util import UNSET_DOUBLE
from order_messages import OrderClient, ended, order, pair

from paper_gateway.testing import RunningGateway

_ids = count(1)


@pytest.fixture(scope="module")
def closed() -> Iterator[RunningGateway]:
    """A gateway at night, when no stock trades."""
    with RunningGateway("--start", "03:00") as running:
        yield running


@pytest.fixture(scope="module")
def premarket() -> Iterator[RunningGateway]:
    """A gateway before the regular session, at the time of the recording."""
    with RunningGateway("--start", "05:04") as running:
        yield running


@pytest.fixture(scope="module")
def regular() -> Iterator[RunningGateway]:
    """A gateway in the regular session, for tests that leave no position."""
    with RunningGateway("--start", "11:00") as running:
        yield running


def client_of(gateway: RunningGateway) -> OrderClient:
    """A client with an id of its own, since the tests of this file share gateways."""
    return OrderClient(gateway.port, next(_ids))


def test_a_limit_order_while_the_market_is_closed(closed: RunningGateway) -> None:
    """0926/lmt_cancel: 399 comes before the first openOrder; PreSubmitted is the first status."""
    with client_of(closed) as client:
        said = client.placed(1, order("BUY", "LMT", 1, lmtPrice=272.86, tif="DAY", orderRef="fourleg"), "AAPL")
        assert said == ["error 1 399", *pair(1, "PreSubmitted") * 2]
        assert client.text_of(399) == (
            "Order Message:\nBUY 1 AAPL NASDAQ.NMS\n"
            "Warning: your order will not be placed at the exchange until 2025-10-06 09:30:00 US/Eastern"
        )
        report = client.reports[1]
        assert (report.contract.exchange, report.contract.tradingClass) == ("SMART", "NMS")
        assert (report.order.ocaGroup, report.order.ocaType, report.order.parentId) == ("", 3, 0)
        assert (report.order.lmtPrice, report.order.auxPrice, report.order.trailStopPrice) == (272.86, 0.0, 273.86)
        assert (report.order.clearingIntent, report.order.orderRef) == ("IB", "fourleg")
        assert (report.order.usePriceMgmtAlgo, report.order.dontUseAutoPriceForHedge) == (True, True)
        status = next(one for one in client.messages if one[0] == "3")
        assert status[3:6] == ["0", "1", "0.0"]


@pytest.mark.parametrize(
    ("fields", "trail_stop"),
    [({"orderType": "STP", "auxPrice": 100.0}, 100.0), ({"orderType": "TRAIL", "trailingPercent": 30.0}, None)],
    ids=["STP", "TRAIL"],
)
def test_outside_rth_is_removed_from_a_stop(
    premarket: RunningGateway, fields: dict[str, Any], trail_stop: float | None
) -> None:
    """0928/premarket_order_types: 2109, then the pair with whyHeld `trigger`, twice; no 399 for a stop."""
    with client_of(premarket) as client:
        said = client.placed(1, order("SELL", fields.pop("orderType"), 1, outsideRth=True, **fields))
        assert said == ["error 1 2109", *pair(1, "PreSubmitted", "trigger") * 2]
        assert client.text_of(2109).endswith("PlaceOrder is now being processed.")
        assert client.reports[1].order.outsideRth is False
        if trail_stop is not None:
            assert client.reports[1].order.trailStopPrice == trail_stop
        assert client.placed(2, order("SELL", "STP", 1, auxPrice=100.0)) == pair(2, "PreSubmitted", "trigger") * 2


@pytest.mark.parametrize("tif", ["FOK", "AUC"])
def test_a_time_in_force_that_ibkr_rejects(regular: RunningGateway, tif: str) -> None:
    """0928: Inactive pair, 201, Inactive pair; the order has a permId and is not among the open orders."""
    with client_of(regular) as client:
        said = client.placed(1, order("BUY", "LMT", 1, lmtPrice=1.0, tif=tif))
        assert said == [*pair(1, "Inactive"), "error 1 201", *pair(1, "Inactive")]
        assert client.text_of(201) == (
            f"Order rejected - reason:The time-in-force {tif} is invalid for this combination of exchange and "
            "security type"
        )
        assert client.reports[1].order.permId > 2**31
        assert [text for text in client.listed() if "Inactive" in text] == []


@pytest.mark.parametrize("tif", ["GTX", "NMIN"])
def test_a_time_in_force_that_the_gateway_changes(regular: RunningGateway, tif: str) -> None:
    """0928: GTX and NMIN are accepted and shown as GTC, without a message."""
    with client_of(regular) as client:
        said = client.placed(1, order("BUY", "LMT", 1, lmtPrice=1.0, tif=tif))
        assert said[:2] == pair(1, "PreSubmitted")
        assert client.reports[1].order.tif == "GTC"


def test_an_immediate_order_that_does_not_fill(premarket: RunningGateway) -> None:
    """0928: PreSubmitted, Submitted and PendingCancel, a pair each, then Cancelled and 202; outsideRth is set."""
    with client_of(premarket) as client:
        said = client.placed(1, order("BUY", "LMT", 1, lmtPrice=1.0, tif="IOC"))
        states = ("PreSubmitted", "Submitted", "PendingCancel")
        assert said == [*(text for state in states for text in pair(1, state)), *ended(1)]
        assert client.reports[1].order.outsideRth is True


def test_an_unsupported_order_type(regular: RunningGateway) -> None:
    """0928: one error 387, no openOrder and no orderStatus."""
    with client_of(regular) as client:
        assert client.placed(1, order("BUY", "MIDPRICE", 1)) == ["error 1 387"]


@pytest.mark.parametrize(
    ("kind", "field", "before", "after"),
    [("STP", "auxPrice", 100.0, 99.0), ("TRAIL", "trailingPercent", 30.0, 29.0)],
)
def test_a_modification_is_told_by_the_pair_with_the_new_value_twice(
    premarket: RunningGateway, kind: str, field: str, before: float, after: float
) -> None:
    """0928/premarket_order_types: no 2109 again, status and permId unchanged, ocaType left out of the request."""
    with client_of(premarket) as client:
        client.placed(1, order("SELL", kind, 1, outsideRth=True, **{field: before}))
        perm_id = client.reports[1].order.permId
        said = client.placed(1, order("SELL", kind, 1, outsideRth=True, **{field: after}))
        assert said == pair(1, "PreSubmitted", "trigger") * 2
        changed = client.reports[1].order
        assert (getattr(changed, field), changed.permId, changed.ocaType) == (after, perm_id, 3)
        if kind == "STP":
            assert changed.trailStopPrice == after


def test_a_fill_of_one_share_is_never_submitted() -> None:
    """0928/premarket_order_types: PreSubmitted to Filled; only the second pair has the commission."""
    filled = ["exec 1 1", *pair(1, "Filled") * 2, "commission"]
    with RunningGateway("--start", "05:04") as gateway, client_of(gateway) as client:
        bought = client.placed(1, order("BUY", "LMT", 1, lmtPrice=900.0, tif="DAY", outsideRth=True))
        assert bought == [*pair(1, "PreSubmitted") * 2, *filled]
        assert client.reports[1].order.totalQuantity == 1
        sold = client.placed(2, order("SELL", "LMT", 1, lmtPrice=1.0, tif="DAY", outsideRth=True))
        assert [text.replace(" 2", " 1") for text in sold][-6:] == filled
        state = client.reports[2].state
        assert (state.commission, state.commissionCurrency) == (1.0, "USD")
        states = [decoded(one)[1][3] for one in client.messages if one[0] == "5" and "Filled" in one]
        assert [one.commission for one in states[-2:]] == [UNSET_DOUBLE, 1.0]
        opened, closed_by = [one for one in client.messages if one[0] == "59"]
        assert float(opened[5]) > 1e300  # unset
        assert -3.0 < float(closed_by[5]) <= -2.0


def bracket(client: OrderClient) -> list[str]:
    return client.bracket(
        order("BUY", "LMT", 1, lmtPrice=200.0, tif="DAY"),
        order("SELL", "LMT", 1, lmtPrice=900.0, tif="DAY"),
        order("SELL", "STP", 1, auxPrice=100.0, tif="DAY"),
    )


def test_a_bracket_is_told_parent_first(closed: RunningGateway) -> None:
    """0926b/bracket: 399 and a pair for each order, then each pair again; the gateway writes the OCA group."""
    with client_of(closed) as client:
        pairs = [
            pair(1, "PreSubmitted"),
            pair(2, "PreSubmitted", "child"),
            pair(3, "PreSubmitted", "child,trigger"),
        ]
        said = bracket(client)
        with_399 = [[f"error {number} 399", *one] for number, one in enumerate(pairs, 1)]
        assert said == [text for one in (*with_399, *pairs) for text in one]
        parent, target, stop = (client.reports[number].order for number in (1, 2, 3))
        assert (parent.ocaGroup, parent.ocaType, parent.parentId) == ("", 3, 0)
        for child in (target, stop):
            assert (child.ocaGroup, child.ocaType, child.parentId) == (str(parent.permId), 3, 1)
        assert (target.permId, stop.permId) == (parent.permId + 1, parent.permId + 2)


def test_cancelling_the_parent_of_a_bracket(closed: RunningGateway) -> None:
    """0926b/bracket: PendingCancel of the parent round the children's pairs, then parent and children with 202."""
    with client_of(closed) as client:
        bracket(client)
        assert client.cancelled(1) == [
            *pair(1, "PendingCancel"),
            *pair(2, "PreSubmitted", "child"),
            *pair(3, "PreSubmitted", "child,trigger"),
            *pair(1, "PendingCancel"),
            *ended(1),
            *ended(2),
            *ended(3),
        ]


def test_cancelling_a_limit_order(closed: RunningGateway) -> None:
    """0926/modify_cancelled: two PendingCancel pairs, then Cancelled and 202, no openOrder; remaining stays."""
    with client_of(closed) as client:
        client.placed(1, order("BUY", "LMT", 7, lmtPrice=200.0))
        assert client.cancelled(1) == [*pair(1, "PendingCancel") * 2, *ended(1)]
        status = [one for one in client.messages if one[0] == "3"][-1]
        assert status[2:5] == ["Cancelled", "0", "7"]
        assert client.text_of(202) == "Order Canceled - reason:"


def test_cancelling_a_stop(premarket: RunningGateway) -> None:
    """0928/premarket_order_types: Cancelled and 202 at once, without PendingCancel."""
    with client_of(premarket) as client:
        client.placed(1, order("SELL", "STP", 1, auxPrice=100.0))
        assert client.cancelled(1) == ended(1)


def test_cancels_that_are_refused(closed: RunningGateway) -> None:
    """0926/cancel_unknown and 0926/oca_group: 10147 for an unknown id, 10148 with the state for an ended order."""
    with client_of(closed) as client:
        assert client.cancelled(5003) == ["error 5003 10147"]
        assert client.text_of(10147) == "OrderId 5003 that needs to be cancelled is not found."
        client.placed(7, order("BUY", "LMT", 1, lmtPrice=200.0))
        client.cancelled(7)
        assert client.cancelled(7) == ["error 7 10148"]
        assert (
            client.text_of(10148) == "OrderId 7 that needs to be cancelled cannot be cancelled, state: Cancelled."
        )


def test_the_sibling_in_an_oca_group_dies_first(closed: RunningGateway) -> None:
    """0926/oca_group: the given name and type are kept; cancelling 6 ends 7, then 6."""
    with client_of(closed) as client:
        group = {"ocaGroup": "oca198", "ocaType": 1}
        for number in (6, 7):
            client.placed(number, order("BUY", "LMT", 1, lmtPrice=200.0, tif="DAY", **group))
            assert (client.reports[number].order.ocaGroup, client.reports[number].order.ocaType) == ("oca198", 1)
        assert client.cancelled(6) == [*pair(7, "PendingCancel"), *ended(7), *ended(6)]
        assert client.cancelled(7) == ["error 7 10148"]


@pytest.fixture
def filled_bracket() -> Iterator[tuple[RunningGateway, OrderClient]]:
    """A filled market order 1, its stop 2 at 100, and an unrelated limit order 3."""
    with RunningGateway("--start", "11:00") as gateway, OrderClient(gateway.port) as client:
        client.bracket(order("BUY", "MKT", 10), order("SELL", "STP", 10, auxPrice=100.0))
        client.placed(3, order("BUY", "LMT", 1, lmtPrice=1.0))
        yield gateway, client


ACCEPTED = pair(2, "PreSubmitted", "trigger") * 2


@pytest.mark.parametrize(
    ("changes", "said", "text"),
    [
        pytest.param({"ocaGroup": "", "parentId": 0}, ACCEPTED, "", id="nothing echoed"),
        pytest.param({"parentId": 1}, ACCEPTED, "", id="parentId echoed"),
        pytest.param({"ocaGroup": "held", "ocaType": 3, "parentId": 1}, ACCEPTED, "", id="all echoed"),
        pytest.param({"totalQuantity": 6}, ACCEPTED, "", id="smaller"),
        pytest.param({"action": "BUY"}, ["error 2 105"], "does not match", id="side"),
        pytest.param({"symbol": "NVDA"}, ["error 2 105"], "does not match", id="stock"),
        pytest.param({"orderType": "MKT"}, ["error 2 329"], "order type", id="type"),
        pytest.param({"tif": "DAY"}, ["error 2 462"], "Time in Force", id="tif"),
        pytest.param({"ocaGroup": "other"}, ["error 2 10326"], "OCA group", id="group"),
        pytest.param({"ocaGroup": "held", "ocaType": 1}, ["error 2 10327"], "type", id="group type"),
        pytest.param({"parentId": 3}, ["error 2 321"], "10341", id="another parent"),
        pytest.param({"parentId": 77}, ["error 2 321"], "Can't find order with id = 77", id="unknown parent"),
        pytest.param({"auxPrice": 99.001}, ["error 2 110"], "price variation", id="tick"),
        pytest.param({"totalQuantity": 0}, ["error 2 321"], "zero", id="no size"),
    ],
)
def test_changes_of_a_child_after_its_parent_filled(
    filled_bracket: tuple[RunningGateway, OrderClient], changes: dict[str, Any], said: list[str], text: str
) -> None:
    """The rules read from the gateway's program: a refusal is one error frame, and the stop stays as it was."""
    gateway, client = filled_bracket
    fields = {"auxPrice": 90.0} | changes
    if fields.get("ocaGroup") == "held":
        fields["ocaGroup"] = client.reports[2].order.ocaGroup
    symbol = fields.pop("symbol", "TSLA")
    changed = order("SELL", "STP", 10)
    for name, value in fields.items():
        setattr(changed, name, value)
    assert client.placed(2, changed, symbol) == said
    stop = next(one for one in gateway.truth()["open_orders"] if one["order_id"] == 2)
    expected = (90.0, changed.totalQuantity) if said == ACCEPTED else (100.0, 10)
    assert (stop["aux_price"], stop["quantity"]) == expected
    assert text in client.messages[-1][4]


def test_orders_that_ended_cannot_be_changed() -> None:
    """rules: 104 while the order is in the table; 103 and 10147 once it is not (reported in ib_insync#656)."""
    with RunningGateway("--start", "11:00", "--quirk", "purge=0.3") as gateway, OrderClient(gateway.port) as client:
        client.placed(1, order("BUY", "MKT"))
        client.placed(2, order("BUY", "LMT", lmtPrice=1.0))
        client.cancelled(2)
        assert client.placed(1, order("BUY", "MKT")) == ["error 1 104"]
        assert client.placed(2, order("BUY", "LMT", lmtPrice=2.0)) == ["error 2 104"]
        assert client.cancelled(1) == ["error 1 10148"]
        time.sleep(0.5)
        assert client.placed(1, order("BUY", "MKT")) == ["error 1 103"]
        assert client.cancelled(2) == ["error 2 10147"]


def test_a_child_loses_its_parents_id_when_the_parent_leaves_the_table() -> None:
    """ib_insync#647: the old parentId then gives 135 inside 321; without it the change is accepted."""
    with RunningGateway("--start", "11:00", "--quirk", "purge=0.3") as gateway, OrderClient(gateway.port) as client:
        client.bracket(order("BUY", "MKT"), order("SELL", "STP", auxPrice=100.0))
        assert client.reports[2].order.parentId == 1
        time.sleep(0.5)
        assert client.listed() == ["status 2 PreSubmitted trigger"]
        stop = client.reports[2].order
        assert (stop.parentId, stop.ocaGroup) == (0, str(stop.permId - 1))
        assert client.placed(2, order("SELL", "STP", auxPrice=99.0, parentId=1)) == ["error 2 321"]
        assert client.text_of(321).endswith("Can't find order with id = 1")
        assert client.placed(2, order("SELL", "STP", auxPrice=99.0)) == ACCEPTED


def test_a_child_loses_its_parents_id_when_its_client_reconnects() -> None:
    """ib_insync#551: parentId 0, ocaGroup = the parent's permId = its own minus 1, ocaType 3."""
    with RunningGateway("--start", "11:00") as gateway:
        with OrderClient(gateway.port) as client:
            client.bracket(order("BUY", "MKT"), order("SELL", "STP", auxPrice=100.0))
            client.bracket(order("BUY", "LMT", lmtPrice=1.0), order("SELL", "STP", auxPrice=0.5), first_id=3)
        with OrderClient(gateway.port) as client:
            client.listed()
            stop = client.reports[2].order
            assert (stop.parentId, stop.ocaGroup, stop.ocaType) == (0, str(stop.permId - 1), 3)
            assert client.reports[4].order.parentId == 3  # its parent works


def test_another_client_cannot_change_an_order_and_is_noted(regular: RunningGateway) -> None:
    """ibkralgoTrade: 103 under another client id, the order unchanged; the gateway notes whom it concerned."""
    with client_of(regular) as owner, client_of(regular) as other:
        owner.placed(801, order("SELL", "STP", auxPrice=100.0, orderRef="mine"))
        other.placed(900, order("BUY", "LMT", lmtPrice=1.0))
        before = len(regular.ctl("exposure")["touched"])
        assert other.placed(801, order("SELL", "STP", auxPrice=99.0)) == ["error 801 103"]
        assert other.cancelled(801) == ["error 801 10147"]
        other.send("58", "1")
        other.said()
        touched = regular.ctl("exposure")["touched"][before:]
        perm_id = owner.reports[801].order.permId
        assert [one["what"] for one in touched if one["perm_id"] == perm_id] == [
            "change refused",
            "cancel refused",
            "cancel",
        ]
        assert {one["order_ref"] for one in touched if one["perm_id"] == perm_id} == {"mine"}


@pytest.mark.parametrize("state", ["filled", "cancelled"])
def test_a_child_is_rejected_once_its_parent_has_ended(state: str) -> None:
    """Reported in traderui#27: 201 `Parent order is being cancelled.`, with the Inactive pairs."""
    with RunningGateway("--start", "11:00") as gateway, OrderClient(gateway.port) as client:
        client.placed(1, order("BUY", "MKT") if state == "filled" else order("BUY", "LMT", lmtPrice=1.0))
        if state == "cancelled":
            client.cancelled(1)
        said = client.placed(2, order("SELL", "STP", auxPrice=100.0, parentId=1))
        assert said == [*pair(2, "Inactive"), "error 2 201", *pair(2, "Inactive")]
        assert client.text_of(201) == "Order rejected - reason:Parent order is being cancelled."


@pytest.mark.parametrize("code", [399, 404, 481, 2109, 10349])
def test_codes_that_look_like_errors_leave_the_order_alive(regular: RunningGateway, code: int) -> None:
    """C2: 404 (shares are located), 399, 2109, 481 and 10349 are notices."""
    with client_of(regular) as client:
        regular.ctl("reject", code=code)
        said = client.placed(1, order("BUY", "LMT", lmtPrice=1.0))
        assert said == [f"error 1 {code}", *pair(1, "PreSubmitted") * 2, *pair(1, "Submitted")]


def test_a_trailing_child_needs_a_limit_parent(regular: RunningGateway) -> None:
    """rules: 328 for a trailing child of a market order; the child does not exist."""
    with client_of(regular) as client:
        client.placed(1, order("BUY", "MKT", transmit=False))
        assert client.placed(2, order("SELL", "TRAIL", auxPrice=1.0, parentId=1)) == ["error 2 328"]
