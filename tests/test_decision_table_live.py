"""The rows of the decision table over the real socket: a trader dies, the account changes, the next one starts."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from gateway_helpers import UNTYPED, connected, stock, until
from lab import ACCOUNT, CALM, CLIENT_ID, DATE, Trader, live_stops, rows, scanner, words
from lab_live import Live, live, setup_at

from paper_gateway.testing import RunningGateway
from state import events as ev
from state.manager import StateManager
from state.model import EntryPlan, Order
from trader.clock import parse_time
from trader.options import RunOptions

GHOST = "ps60-TSLA-L-E1-0h4kq9x2mz"
GHOST_STOP = "ps60-TSLA-L-S1-0h4kq9x2mz.0h4kq9x2n1"


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway(*CALM) as running:
        yield running


async def entered_and_crashed(gateway: RunningGateway, folder: Path, shares: int = 100) -> None:
    """LONG TSLA, guarded; and then the trader is gone."""
    async with live(gateway, folder) as run:
        await run.enter("TSLA", "LONG", shares)
        await run.crash()


def quantity(gateway: RunningGateway, symbol: str = "TSLA") -> int:
    """What the gateway holds."""
    return sum(int(row["quantity"]) for row in gateway.truth()["positions"] if row["symbol"] == symbol)


def believe(gateway: RunningGateway, logs: Path, shares: int, price: float, *, later_s: float = 0.0) -> None:
    """Books that hold a LONG of TSLA of which IBKR knows neither orders nor executions."""
    info, positions = gateway.ctl("info"), gateway.truth()["positions"]
    con_id = positions[0]["con_id"] if positions else 1
    identity = f"embedded:{gateway.port}:{info['gateway_id']}"
    now = parse_time(info["time"]) + timedelta(seconds=later_s)
    target = setup_at("TSLA", price)
    plan = EntryPlan(
        side="LONG", pivot=price, target1=target.target1, target2=target.target2, target3=target.target3,
        stop_price=round(price * 0.95, 2), attempt=1, path="momentum",
    )  # fmt: skip
    entry = Order(
        order_ref=GHOST, role="entry", symbol="TSLA", con_id=con_id, action="BUY", quantity=shares,
        order_type="MKT", trade_id=GHOST, order_id=1, client_id=CLIENT_ID, intended_at=now, plan=plan,
    )  # fmt: skip
    fill = ev.ExecutionSeen(
        time=now, exec_id="ghost.01", order_ref=GHOST, symbol="TSLA", con_id=con_id, side="BOT", shares=shares,
        price=price, executed_at=now,
    )  # fmt: skip
    with StateManager.open(logs, "an-earlier-run") as memory:
        memory.begin(DATE, ACCOUNT, identity, now)
        memory.record(ev.OrderIntended(time=now, order=entry))
        memory.record(fill)
        memory.save_blocking()


def test_row_matched(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        await entered_and_crashed(gateway, tmp_path)
        before = gateway.truth()
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs) == {"TSLA": ["matched"]}
            await run.agreed()
            assert gateway.truth()["open_orders"] == before["open_orders"], "nothing was sent"

    asyncio.run(story())


def test_row_partial_by_our_executions(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            position = await run.enter("TSLA", "LONG", 100)
            gateway.ctl("hold", symbol="TSLA")
            await run.desk.take_partial(position, 50, "partial_target1", await run.price(), 0.01)
            await run.until(lambda: [o.status for o in run.orders("exit")] == ["working"])
            await run.crash()
        gateway.ctl("hold", symbol="TSLA", off=True)
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs) == {"TSLA": ["partial_taken"]}
            assert run.position().remaining == 0.5
            assert [(p.shares, p.reason) for p in run.position().partials_taken] == [(50, "partial_target1")]
            await run.agreed()
            assert [stop["remaining"] for stop in live_stops(gateway.truth())] == [50]

    asyncio.run(story())


def test_row_count_differs_without_evidence(gateway: RunningGateway, tmp_path: Path) -> None:
    gateway.ctl("trade", symbol="TSLA", side="BUY", shares=60)

    async def story() -> None:
        believe(gateway, tmp_path / "logs", 100, 440.0, later_s=1.0)
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs)["TSLA"][:2] == ["count_corrected", "stop_missing"]
            assert "using IBKR's count" in words(run.logs)
            assert (run.position().held, run.position().remaining) == (60, 0.6)
            await run.until(lambda: [stop["remaining"] for stop in live_stops(gateway.truth())] == [60])

    asyncio.run(story())


def test_row_closed_by_our_stop_while_down(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        await entered_and_crashed(gateway, tmp_path)
        gateway.ctl("price", symbol="TSLA", price=400.0)
        assert quantity(gateway) == 0
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs) == {"TSLA": ["closed_while_down"]}
            (closed,) = run.state.closed.values()
            assert closed.exit_reason == "stop_loss_hit"
            assert [row.count for row in run.state.attempts] == [1]
            await run.agreed()

    asyncio.run(story())


def test_row_closed_unexplained(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        believe(gateway, tmp_path / "logs", 100, 440.0)
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs) == {"TSLA": ["closed_unexplained"]}
            assert (run.state.positions, run.state.daily_pnl_estimated) == ({}, True)
            assert gateway.truth()["completed_orders"] == [], "nothing was sold to mend it"

    asyncio.run(story())


def test_row_closed_by_hand(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        await entered_and_crashed(gateway, tmp_path)
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=100)
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs) == {"TSLA": ["closed_by_hand", "orphan_cancelled"]}
            await run.agreed()
            assert live_stops(gateway.truth()) == []

    asyncio.run(story())


def test_row_flip_is_a_conflict(gateway: RunningGateway, tmp_path: Path) -> None:
    asyncio.run(entered_and_crashed(gateway, tmp_path))
    gateway.ctl("trade", symbol="TSLA", side="SELL", shares=150)
    scans = scanner(tmp_path)
    with Trader(gateway, tmp_path, scanner_dir=scans) as trader:
        assert trader.wait_exit() == 3
        assert "--accept-broker" in trader.output()
    assert (quantity(gateway), live_stops(gateway.truth())) == (-50, []), "what would enlarge it is gone"
    with Trader(gateway, tmp_path, "--accept-broker", scanner_dir=scans) as trader:
        said = trader.wait_agreed()
        (row,) = said["positions"]
        assert (row["quantity"], row["side"], row["managed"], row["estimated"]) == (-50, "SHORT", True, True)
        assert trader.stop() == 0
    assert [(stop["action"], stop["remaining"]) for stop in live_stops(gateway.truth())] == [("BUY", 50)]


def test_row_entry_adopted_in_full_from_intent(gateway: RunningGateway, tmp_path: Path) -> None:
    """Killed between the entry's send and its fill: the fill happens while nobody is there."""

    async def story() -> None:
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
                plan.pivot, plan.target1, plan.stop_price,
            )  # fmt: skip
            assert (position.held, position.estimated) == (200, False)
            await run.agreed()

    asyncio.run(story())


def test_row_entry_adopted_with_every_file_lost(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        await entered_and_crashed(gateway, tmp_path)
        shutil.rmtree(tmp_path / "logs")
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs) == {"TSLA": ["adopted"]}
            assert (run.position().held, run.position().estimated) == (100, True)
            await run.agreed()

    asyncio.run(story())


def test_row_foreign_is_shown_not_managed(gateway: RunningGateway, tmp_path: Path) -> None:
    gateway.ctl("trade", symbol="AMD", side="BUY", shares=200)
    gateway.ctl("trade", symbol="AMD", side="SELL", shares=200, limit=900.0)
    before = gateway.truth()

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs) == {"AMD": ["foreign"]}
            assert "AMD" in run.state.foreign
            await run.agreed()

    asyncio.run(story())
    after = gateway.truth()
    assert [after[key] for key in ("positions", "open_orders")] == [
        before[key] for key in ("positions", "open_orders")
    ]


def test_row_yesterdays_state_is_quoted_not_applied(gateway: RunningGateway, tmp_path: Path) -> None:
    asyncio.run(entered_and_crashed(gateway, tmp_path))
    scans, kept = scanner(tmp_path), tmp_path / "held.json"
    shutil.copy(scans / "scanner_results_20251006.json", scans / "scanner_results_20251007.json")
    kept.write_text(json.dumps([{"symbol": "TSLA", "quantity": 100, "avg_cost": 444.0}]))
    with (
        RunningGateway("--date", "2025-10-07", "--positions", str(kept)) as next_day,
        Trader(next_day, tmp_path, scanner_dir=scans) as trader,
    ):
        said = trader.wait_ready()
        assert [(row["quantity"], row["managed"]) for row in said["positions"]] == [(100, False)]
        assert "on 2025-10-06 it held TSLA LONG 100 shares" in trader.output()
        assert next_day.truth()["open_orders"] == []
    assert list((tmp_path / "logs" / "archive").rglob("trader_state*.json")), "set aside, never deleted"


def test_row_split_suspected(gateway: RunningGateway, tmp_path: Path) -> None:
    gateway.ctl("trade", symbol="TSLA", side="BUY", shares=200)
    cost = gateway.truth()["positions"][0]["avg_cost"]

    async def story() -> None:
        believe(gateway, tmp_path / "logs", 100, round(cost * 2, 2), later_s=1.0)
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs)["TSLA"] == ["split_suspected"]
            assert "TSLA" in run.state.halted
            assert live_stops(gateway.truth()) == []

    asyncio.run(story())


def test_row_entry_still_working(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
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

    asyncio.run(story())


def test_row_entry_never_sent(gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the intent was durable and before anything was on the wire."""

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            with monkeypatch.context() as patch:
                patch.setattr(run.session.line.broker, "send", lambda tickets: None)
                ref = await run.send_entry()
            await run.crash()
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs) == {"TSLA": ["entry_not_sent"]}
            assert run.state.orders[ref].status == "not_sent"
            assert run.state.attempts == []
            await run.agreed()
        assert gateway.truth()["completed_orders"] == []

    asyncio.run(story())


def test_row_stop_missing(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        await entered_and_crashed(gateway, tmp_path)
        (stop,) = live_stops(gateway.truth())
        gateway.ctl("cancel", order=str(stop["perm_id"]))
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs)["TSLA"] == ["matched", "stop_missing"]
            await run.agreed()
            (placed,) = live_stops(gateway.truth())
            assert (placed["aux_price"], placed["remaining"]) == (stop["aux_price"], 100)

    asyncio.run(story())


def test_row_stop_missing_with_the_price_through_it(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        await entered_and_crashed(gateway, tmp_path)
        (stop,) = live_stops(gateway.truth())
        gateway.ctl("cancel", order=str(stop["perm_id"]))
        gateway.ctl("price", symbol="TSLA", price=390.0)
        assert quantity(gateway) == 100
        async with live(gateway, tmp_path) as run:
            await run.until(lambda: quantity(gateway) == 0, 3.0)
            await run.agreed()
            assert [trade.exit_reason for trade in run.state.closed.values()] == ["stop_loss_hit"]

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["two stops", "wrong size", "wrong price"])
def test_row_two_stops_or_a_wrong_one(gateway: RunningGateway, tmp_path: Path, kind: str) -> None:
    async def story() -> None:
        await entered_and_crashed(gateway, tmp_path)
        (stop,) = live_stops(gateway.truth())
        async with connected(gateway, CLIENT_ID) as ib:
            order = UNTYPED.StopOrder("SELL", 100, stop["aux_price"], tif="GTC", orderRef=stop["order_ref"])
            if kind == "two stops":
                order.orderRef = stop["order_ref"][:-1] + ("y" if stop["order_ref"][-1] != "y" else "z")
            else:
                order.orderId = stop["order_id"]
                order.totalQuantity, order.auxPrice = (
                    (40, stop["aux_price"]) if kind == "wrong size" else (100, 300.0)
                )
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

    asyncio.run(story())


def test_row_our_order_without_position(gateway: RunningGateway, tmp_path: Path) -> None:
    async def story() -> None:
        async with connected(gateway, CLIENT_ID) as ib:
            for ref in (GHOST_STOP, "the owner's"):
                ib.placeOrder(stock(), UNTYPED.StopOrder("SELL", 10, 300.0, tif="GTC", orderRef=ref))
            await until(lambda: len(gateway.truth()["open_orders"]) == 2)
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs) == {"TSLA": ["orphan_cancelled"]}
            await run.agreed()
        assert [order["order_ref"] for order in gateway.truth()["open_orders"]] == ["the owner's"]

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["positions", "open_orders", "completed_orders", "executions", "account"])
def test_row_incomplete_answer(gateway: RunningGateway, tmp_path: Path, kind: str) -> None:
    async def story() -> None:
        await entered_and_crashed(gateway, tmp_path)
        before = gateway.truth()
        gateway.ctl("silence", kind=kind)
        async with live(gateway, tmp_path, ready=False, gateway__answer_timeout_s=0.25) as run:
            await run.until(lambda: any("no complete answer" in alert.text for alert in run.state.alerts))
            assert (run.position().held, run.state.connection.entries_open) == (100, False)
            assert gateway.truth()["open_orders"] == before["open_orders"]
            gateway.ctl("silence", kind=kind, off=True)
            await run.trading()
            await run.agreed()
            assert rows(run.logs) == {"TSLA": ["matched"]}

    asyncio.run(story())


def test_row_conflict_keeps_the_rest_halted_until_the_operator_decides(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Met while trading, a conflict halts its symbol; the others are traded on."""

    async def story() -> None:
        async with live(gateway, tmp_path, options=RunOptions()) as run:
            await run.enter("TSLA", "LONG", 100)
            await run.enter("NVDA", "LONG", 50)
            gateway.ctl("trade", symbol="TSLA", side="SELL", shares=150)
            await run.until(lambda: "TSLA" in run.state.halted and not live_stops(gateway.truth(), "TSLA"))
            assert_guarded(run)

    asyncio.run(story())


def assert_guarded(run: Live) -> None:
    """NVDA's stop is untouched."""
    (stop,) = live_stops(run.gateway.truth(), "NVDA")
    assert (stop["action"], stop["remaining"]) == ("SELL", 50)
