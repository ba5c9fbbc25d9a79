"""Orders over the socket: the recorded sequences of messages, and ib_insync's view of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from gateway_helpers import UNTYPED, RawClient, connected, running, stock, until
from ib_insync import LimitOrder, MarketOrder, StopOrder

from paper_gateway.testing import RunningGateway

OPEN_ORDER, ORDER_STATUS, ERROR, EXECUTION, COMMISSION, POSITION = "5", "3", "4", "11", "59", "61"


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    yield from running()


def kinds(messages: list[list[str]]) -> list[str]:
    return [message[0] for message in messages]


def test_a_fill_comes_in_the_recorded_order(gateway: RunningGateway) -> None:
    with RawClient(gateway.port) as client:
        client.place(1, MarketOrder("BUY", 10, orderRef="r"))
        messages = client.read_until(COMMISSION)
        pair = [OPEN_ORDER, ORDER_STATUS]
        assert kinds(messages) == [*pair, *pair, EXECUTION, *pair, *pair, COMMISSION]
        execution, commission = messages[4], messages[-1]
        assert (execution[1], execution[2], execution[14].split(".")[2:]) == ("-1", "1", ["01", "01"])
        assert execution[15].startswith("20251006 09:44:")
        assert execution[15].endswith(" US/Eastern")
        assert int(execution[21]) > 2**31
        assert commission[2:6] == [execution[14], "1.0", "USD", "1.7976931348623157E308"]


def test_a_cancel_is_a_status_and_then_202(gateway: RunningGateway) -> None:
    with RawClient(gateway.port) as client:
        client.place(1, LimitOrder("BUY", 10, 1.0))
        client.read_until(ORDER_STATUS, "1", "Submitted")
        client.send("4", "1", "1", "")
        pending = [client.read() for _ in range(4)]
        assert kinds(pending) == [OPEN_ORDER, ORDER_STATUS] * 2
        assert [one[2] for one in pending[1::2]] == ["PendingCancel"] * 2
        status, error = client.read(), client.read()
        assert status[:5] == [ORDER_STATUS, "1", "Cancelled", "0", "10"]
        assert error[:4] == [ERROR, "2", "1", "202"]


def test_a_stop_is_held_and_its_modification_acknowledged_twice(gateway: RunningGateway) -> None:
    with RawClient(gateway.port) as client:
        for price in (400.0, 401.0):
            client.place(1, StopOrder("SELL", 10, price))
            messages = [client.read() for _ in range(4)]
            assert kinds(messages) == [OPEN_ORDER, ORDER_STATUS] * 2
            assert (messages[1][2], messages[1][10]) == ("PreSubmitted", "trigger")
            assert messages[0][16:18] == ["0.0", str(price)]


async def test_ib_insync_trades_a_bracket_to_its_stop(gateway: RunningGateway) -> None:
    async with connected(gateway) as ib:
        entry, target, stop = ib.bracketOrder("BUY", 10, 500.0, 600.0, 400.0)
        trades = [ib.placeOrder(stock(), order) for order in (entry, target, stop)]
        await until(lambda: trades[2].orderStatus.whyHeld == "trigger")
        assert [trade.orderStatus.status for trade in trades] == ["Filled", "Submitted", "PreSubmitted"]
        children = gateway.truth()["open_orders"]
        assert [one["oca_group"] for one in children] == [str(one["parent_perm_id"]) for one in children]
        gateway.ctl("price", symbol="TSLA", price=399.5)
        await until(lambda: trades[2].isDone() and trades[1].isDone())
        assert [trade.orderStatus.status for trade in trades] == ["Filled", "Cancelled", "Filled"]
        assert trades[2].fills[0].commissionReport.realizedPNL == pytest.approx(
            10 * (399.49 - trades[0].orderStatus.avgFillPrice) - 2.0, abs=1e-6
        )
        await until(lambda: not ib.positions())


async def test_cancelling_the_parent_cancels_each_child_with_202(gateway: RunningGateway) -> None:
    async with connected(gateway) as ib:
        codes: list[tuple[int, int]] = []
        ib.errorEvent += lambda request_id, code, *_: codes.append((request_id, code))
        orders = ib.bracketOrder("BUY", 10, 300.0, 600.0, 200.0)
        trades = [ib.placeOrder(stock(), order) for order in orders]
        await until(lambda: trades[2].orderStatus.whyHeld == "child,trigger")
        ib.cancelOrder(orders[0])
        await until(lambda: all(trade.orderStatus.status == "Cancelled" for trade in trades))
        assert [pair for pair in codes if pair[1] == 202] == [(order.orderId, 202) for order in orders]


async def test_orders_rest_and_fill_while_no_client_is_connected(gateway: RunningGateway) -> None:
    async with connected(gateway) as ib:
        ib.placeOrder(stock(), LimitOrder("BUY", 5, 430.0, orderRef="rest"))
        ib.placeOrder(stock(), StopOrder("SELL", 5, 300.0, orderRef="stay"))
        await until(lambda: all(trade.orderStatus.permId for trade in ib.trades()))
    gateway.ctl("price", symbol="TSLA", price=429.0)
    async with connected(gateway) as ib:
        assert [fill.execution.orderRef for fill in ib.fills()] == ["rest"]
        assert [(one.contract.symbol, one.position) for one in ib.positions()] == [("TSLA", 5)]
        open_trades = ib.openTrades()
        assert [(one.order.orderRef, one.orderStatus.whyHeld) for one in open_trades] == [("stay", "trigger")]
        open_trades[0].order.auxPrice = 310.0
        ib.placeOrder(open_trades[0].contract, open_trades[0].order)
        await until(lambda: gateway.truth()["open_orders"][0]["aux_price"] == 310.0)
        done = await ib.reqCompletedOrdersAsync(False)
        assert [(one.order.orderRef, one.orderStatus.status) for one in done] == [("rest", "Filled")]


def test_orders_belong_to_their_client(gateway: RunningGateway) -> None:
    with RawClient(gateway.port, 1) as owner, RawClient(gateway.port, 2) as other:
        owner.place(7, LimitOrder("BUY", 1, 1.0))
        owner.read_until(ORDER_STATUS)
        other.send("4", "1", "7", "")
        assert other.read()[:4] == [ERROR, "2", "7", "10147"]
        other.send("5", "1")
        assert other.read() == ["53", "1"]
        other.send("16", "1")
        assert kinds(other.read_until("53")) == [OPEN_ORDER, ORDER_STATUS, "53"]
        other.send("58", "1")
        owner.read_until(ERROR, "2", "7", "202")
    assert gateway.truth()["open_orders"] == []


def test_the_codes_for_ids_used_twice(gateway: RunningGateway) -> None:
    with RawClient(gateway.port) as client:
        client.place(5, MarketOrder("BUY", 1))
        client.read_until(COMMISSION)
        client.place(5, MarketOrder("BUY", 1))
        assert client.read()[:4] == [ERROR, "2", "5", "104"]
        client.place(4, MarketOrder("BUY", 1))
        assert client.read()[:4] == [ERROR, "2", "4", "103"]
        client.send("4", "1", "5", "")
        assert client.read()[:4] == [ERROR, "2", "5", "10148"]


def test_manual_orders_have_client_id_0_and_can_be_bound(gateway: RunningGateway) -> None:
    with RawClient(gateway.port, 0) as master, RawClient(gateway.port, 1) as other:
        other.send("61", "1")
        other.read_until("62")
        gateway.ctl("trade", symbol="TSLA", side="BUY", shares=3)
        execution = next(one for one in master.read_until(COMMISSION) if one[0] == EXECUTION)
        assert (execution[2], execution[22]) == ("0", "0")
        position = other.read()
        assert (position[0], position[4], position[14]) == (POSITION, "TSLA", "3")
        resting = gateway.ctl("trade", symbol="TSLA", side="SELL", shares=3, limit=900.0)
        master.read_until(ORDER_STATUS, "0")
        master.send("15", "1", "1")
        bound = master.read_until("100")[-1]
        assert bound[1:3] == [str(resting["perm_id"]), "0"]
        master.send("4", "1", bound[3], "")
        master.read_until(ERROR, "2", bound[3], "202")


async def test_what_if_answers_and_places_nothing(gateway: RunningGateway) -> None:
    async with connected(gateway) as ib:
        state = await asyncio.wait_for(ib.whatIfOrderAsync(stock(), LimitOrder("BUY", 100, 400.0)), 5)
        assert (state.initMarginChange, state.commission) == ("10000.0", 1.0)
    truth = gateway.truth()
    assert (truth["open_orders"], truth["completed_orders"], truth["executions"]) == ([], [], [])


@pytest.mark.parametrize(("mode", "expected"), [("all", ["a", "b", ""]), ("own", [""])])
async def test_client_id_0_in_an_execution_filter_follows_the_option(mode: str, expected: list[str]) -> None:
    with RunningGateway("--executions-of", mode) as gateway:
        for client_id, reference in ((1, "a"), (2, "b")):
            with RawClient(gateway.port, client_id) as client:
                client.place(1, MarketOrder("BUY", 1, orderRef=reference))
                client.read_until(COMMISSION)
        gateway.ctl("trade", symbol="NVDA", side="SELL", shares=2)

        async def ask(**terms: object) -> list[str]:
            async with connected(gateway, 9, readonly=True) as ib:
                fills = await asyncio.wait_for(ib.reqExecutionsAsync(UNTYPED.ExecutionFilter(**terms)), 5)
                return [fill.execution.orderRef for fill in fills]

        assert await ask() == expected
        assert await ask(clientId=2) == ["b"]
        if mode == "all":
            assert await ask(symbol="NVDA", side="SELL") == [""]
            assert await ask(time="20251006 15:00:00 US/Eastern") == []


async def test_accounts_positions_and_values_follow_a_fill(gateway: RunningGateway) -> None:
    async with connected(gateway) as ib:
        ib.placeOrder(stock(), MarketOrder("BUY", 10))
        await until(lambda: ib.positions() and ib.portfolio())
        position, item = ib.positions()[0], ib.portfolio()[0]
        assert (position.position, position.contract.exchange) == (10, "NASDAQ")
        assert item.averageCost == position.avgCost
        values = {one.tag: one.value for one in ib.accountValues() if one.currency == "USD"}
        assert float(values["GrossPositionValue"]) == pytest.approx(10 * item.marketPrice, rel=0.01)
        rows = [
            one for one in await ib.accountSummaryAsync() if (one.account, one.currency) == ("DU1234567", "USD")
        ]
        summary = {one.tag: float(one.value) for one in rows}
        assert summary["BuyingPower"] == pytest.approx(
            4 * summary["NetLiquidation"] - summary["GrossPositionValue"], abs=0.05
        )
