"""The rows of the decision table about orders, over a real socket: pending entries, stops, orphans."""

import asyncio
import shutil
from pathlib import Path

import pytest
from gateway_helpers import UNTYPED, connected, stock, until
from lab import CLIENT_ID, live_stops, rows
from lab_live import entered_and_crashed, held_at, live

from paper_gateway.testing import RunningGateway

GHOST_STOP = "ps60-TSLA-L-S1-0h4kq9x2mz.0h4kq9x2n1"


async def test_row_entry_adopted_in_full_from_intent(gateway: RunningGateway, tmp_path: Path) -> None:
    """Killed between the sending of the entry and its fill, which happens during the downtime."""
    gateway.ctl("hold", symbol="TSLA")
    async with live(gateway, tmp_path) as run:
        ref = await run.send_entry("TSLA", "LONG", 200)
        await run.until(lambda: run.state.orders[ref].status == "working")
        plan = run.state.orders[ref].plan
        await run.crash()
    gateway.ctl("hold", symbol="TSLA", off=True)
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"TSLA": ["adopted"]}
        position = run.position()
        assert plan is not None
        assert (position.pivot, position.target1, position.stop_price) == (
            plan.pivot,
            plan.target1,
            plan.stop_price,
        )
        assert (position.held, position.estimated) == (200, False)
        await run.agreed()


async def test_row_entry_adopted_with_every_file_lost(gateway: RunningGateway, tmp_path: Path) -> None:
    await entered_and_crashed(gateway, tmp_path)
    shutil.rmtree(tmp_path / "logs")
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"TSLA": ["adopted"]}
        assert (run.position().held, run.position().estimated) == (100, True)
        await run.agreed()


async def test_row_entry_still_working(gateway: RunningGateway, tmp_path: Path) -> None:
    gateway.ctl("hold", symbol="TSLA")
    async with live(gateway, tmp_path) as run:
        ref = await run.send_entry()
        await run.until(lambda: run.state.orders[ref].status == "working")
        await run.crash()
    async with live(gateway, tmp_path) as run:
        assert "entry_working" in rows(run.logs)["TSLA"]
        gateway.ctl("hold", symbol="TSLA", off=True)
        await run.until(lambda: "TSLA" in run.state.positions)
        await run.agreed()
        assert len([o for o in gateway.truth()["completed_orders"] if o["order_ref"] == ref]) == 1


async def test_row_entry_never_sent(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the intent was durable and before anything was sent."""
    async with live(gateway, tmp_path) as run:
        with monkeypatch.context() as patch:
            patch.setattr(run.session.connected.broker, "send", lambda tickets: None)
            ref = await run.send_entry()
        await run.crash()
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"TSLA": ["entry_not_sent"]}
        assert run.state.orders[ref].status == "not_sent"
        assert run.state.attempts == []
        await run.agreed()
    assert gateway.truth()["completed_orders"] == []


async def test_row_stop_missing(gateway: RunningGateway, tmp_path: Path) -> None:
    await entered_and_crashed(gateway, tmp_path)
    (stop,) = live_stops(gateway.truth())
    gateway.ctl("cancel", order=str(stop["perm_id"]))
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs)["TSLA"] == ["matched", "stop_missing"]
        await run.agreed()
        (placed,) = live_stops(gateway.truth())
        assert (placed["aux_price"], placed["remaining"]) == (stop["aux_price"], 100)


async def test_row_stop_missing_and_its_price_passed(gateway: RunningGateway, tmp_path: Path) -> None:
    await entered_and_crashed(gateway, tmp_path)
    (stop,) = live_stops(gateway.truth())
    gateway.ctl("cancel", order=str(stop["perm_id"]))
    gateway.ctl("price", symbol="TSLA", price=390.0)
    assert held_at(gateway) == 100
    async with live(gateway, tmp_path) as run:
        await run.until(lambda: held_at(gateway) == 0, 3.0)
        await run.agreed()
        assert [trade.exit_reason for trade in run.state.closed.values()] == ["stop_loss_hit"]


@pytest.mark.parametrize("kind", ["two stops", "wrong size", "wrong price"])
async def test_row_two_stops_or_a_wrong_one(gateway: RunningGateway, tmp_path: Path, kind: str) -> None:
    await entered_and_crashed(gateway, tmp_path)
    (stop,) = live_stops(gateway.truth())
    async with connected(gateway, CLIENT_ID) as ib:
        order = UNTYPED.StopOrder("SELL", 100, stop["aux_price"], tif="GTC", orderRef=stop["order_ref"])
        if kind == "two stops":
            order.orderRef = stop["order_ref"][:-1] + ("y" if stop["order_ref"][-1] != "y" else "z")
        else:
            order.orderId = stop["order_id"]
            order.totalQuantity, order.auxPrice = (40, stop["aux_price"]) if kind == "wrong size" else (100, 300.0)
        trade = ib.placeOrder(stock(), order)
        while trade.orderStatus.status not in ("PreSubmitted", "Submitted"):
            await asyncio.wait_for(trade.statusEvent, 5)
    async with live(gateway, tmp_path) as run:
        expected = "orphan_cancelled" if kind == "two stops" else "stop_corrected"
        assert rows(run.logs)["TSLA"] == ["matched", expected]
        await run.agreed()
        assert [(s["perm_id"], s["aux_price"], s["remaining"]) for s in live_stops(gateway.truth())] == [
            (stop["perm_id"], stop["aux_price"], 100)
        ]


async def test_row_own_order_without_position(gateway: RunningGateway, tmp_path: Path) -> None:
    async with connected(gateway, CLIENT_ID) as ib:
        for ref in (GHOST_STOP, "the operator's"):
            ib.placeOrder(stock(), UNTYPED.StopOrder("SELL", 10, 300.0, tif="GTC", orderRef=ref))
        await until(lambda: len(gateway.truth()["open_orders"]) == 2)
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"TSLA": ["orphan_cancelled"]}
        await run.agreed()
    assert [order["order_ref"] for order in gateway.truth()["open_orders"]] == ["the operator's"]
