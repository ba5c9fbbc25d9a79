"""The decision table over a real socket: a trader is killed, the account changes, the next trader starts."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from lab import ACCOUNT, CLIENT_ID, DATE, Trader, live_stops, row_texts, rows, scanner
from lab_live import Live, entered_and_crashed, held_at, live, setup_at

from paper_gateway.testing import RunningGateway
from state.domain import events as ev
from state.domain.model import EntryPlan, Order
from state.manager import StateManager
from trader.config.sections import RunOptions
from trader.core import comparison
from trader.time_zones import parse_time

GHOST = "ps60-TSLA-L-E1-0h4kq9x2mz"


def write_state(gateway: RunningGateway, logs: Path, shares: int, price: float, *, later_s: float = 0.0) -> None:
    """Write a state with a LONG in TSLA of which IBKR has neither orders nor executions."""
    info, positions = gateway.ctl("info"), gateway.truth()["positions"]
    con_id = positions[0]["con_id"] if positions else 1
    identity = f"embedded:{gateway.port}:{info['gateway_id']}"
    now = parse_time(info["time"]) + timedelta(seconds=later_s)
    target = setup_at("TSLA", price)
    plan = EntryPlan(
        side="LONG",
        pivot=price,
        target1=target.target1,
        target2=target.target2,
        target3=target.target3,
        stop_price=round(price * 0.95, 2),
        attempt=1,
        path="momentum",
    )
    entry = Order(
        order_ref=GHOST,
        role="entry",
        symbol="TSLA",
        con_id=con_id,
        action="BUY",
        quantity=shares,
        order_type="MKT",
        trade_id=GHOST,
        order_id=1,
        client_id=CLIENT_ID,
        intended_at=now,
        reason="entry",
        plan=plan,
    )
    fill = ev.ExecutionSeen(
        time=now,
        exec_id="ghost.01",
        order_ref=GHOST,
        symbol="TSLA",
        con_id=con_id,
        side="BOT",
        shares=shares,
        price=price,
        executed_at=now,
    )
    with StateManager.open(logs, "an-earlier-run") as manager:
        manager.begin(DATE, ACCOUNT, identity, now)
        manager.record(ev.OrderIntended(time=now, order=entry))
        manager.record(fill)
        manager.save_blocking()


@pytest.fixture(autouse=True)
def no_young_executions(monkeypatch: pytest.MonkeyPatch) -> None:
    """An execution of the last minute outranks a share count; here it has passed."""
    monkeypatch.setattr(comparison, "YOUNG_S", -60.0)


async def test_row_matched(gateway: RunningGateway, tmp_path: Path) -> None:
    await entered_and_crashed(gateway, tmp_path)
    before = gateway.truth()
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"TSLA": ["matched"]}
        await run.agreed()
        assert gateway.truth()["open_orders"] == before["open_orders"], "nothing was sent"


async def test_row_partial_by_own_executions(gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path) as run:
        position = await run.enter("TSLA", "LONG", 100)
        gateway.ctl("hold", symbol="TSLA")
        await run.orders.take_partial(position, 50, "partial_target1")
        await run.until(lambda: [o.status for o in run.orders_of("exit")] == ["working"])
        await run.crash()
    gateway.ctl("hold", symbol="TSLA", off=True)
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"TSLA": ["partial_taken"]}
        assert run.position().remaining == 0.5
        assert [(p.shares, p.reason) for p in run.position().partials_taken] == [(50, "partial_target1")]
        await run.agreed()
        assert [stop["remaining"] for stop in live_stops(gateway.truth())] == [50]


async def test_row_count_differs_without_evidence(gateway: RunningGateway, tmp_path: Path) -> None:
    gateway.ctl("trade", symbol="TSLA", side="BUY", shares=60)
    write_state(gateway, tmp_path / "logs", 100, 440.0, later_s=1.0)
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs)["TSLA"][:2] == ["count_corrected", "stop_missing"]
        assert "using IBKR's count" in row_texts(run.logs)
        assert (run.position().held, run.position().remaining) == (60, 0.6)
        await run.until(lambda: [stop["remaining"] for stop in live_stops(gateway.truth())] == [60])


async def test_row_closed_by_own_stop_while_down(gateway: RunningGateway, tmp_path: Path) -> None:
    await entered_and_crashed(gateway, tmp_path)
    gateway.ctl("price", symbol="TSLA", price=400.0)
    assert held_at(gateway) == 0
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"TSLA": ["closed_while_down"]}
        (closed,) = run.state.closed.values()
        assert closed.exit_reason == "stop_loss_hit"
        assert [row.count for row in run.state.attempts] == [1]
        await run.agreed()


async def test_row_closed_unexplained(gateway: RunningGateway, tmp_path: Path) -> None:
    write_state(gateway, tmp_path / "logs", 100, 440.0)
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"TSLA": ["closed_unexplained"]}
        assert (run.state.positions, run.state.daily_pnl_estimated) == ({}, True)
        assert gateway.truth()["completed_orders"] == [], "nothing was sold to correct it"


async def test_row_closed_manually(gateway: RunningGateway, tmp_path: Path) -> None:
    await entered_and_crashed(gateway, tmp_path)
    gateway.ctl("trade", symbol="TSLA", side="SELL", shares=100)
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"TSLA": ["closed_by_hand", "orphan_cancelled"]}
        await run.agreed()
        assert live_stops(gateway.truth()) == []


async def test_row_reversal_is_a_conflict(gateway: RunningGateway, tmp_path: Path) -> None:
    await entered_and_crashed(gateway, tmp_path)
    gateway.ctl("trade", symbol="TSLA", side="SELL", shares=150)
    scans = scanner(tmp_path)
    with Trader(gateway, tmp_path, scanner_dir=scans) as trader:
        assert trader.wait_exit() == 3
        assert "--accept-broker" in trader.output()
    assert (held_at(gateway), live_stops(gateway.truth())) == (-50, []), (
        "the stop that would enlarge it is cancelled"
    )
    with Trader(gateway, tmp_path, "--accept-broker", scanner_dir=scans) as trader:
        found = trader.wait_agreed()
        (row,) = found["positions"]
        assert (row["quantity"], row["side"], row["managed"], row["estimated"]) == (-50, "SHORT", True, True)
        assert trader.stop() == 0
    assert [(stop["action"], stop["remaining"]) for stop in live_stops(gateway.truth())] == [("BUY", 50)]


async def test_row_foreign_is_shown_not_managed(gateway: RunningGateway, tmp_path: Path) -> None:
    gateway.ctl("trade", symbol="AMD", side="BUY", shares=200)
    gateway.ctl("trade", symbol="AMD", side="SELL", shares=200, limit=900.0)
    before = gateway.truth()
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"AMD": ["foreign"]}
        assert "AMD" in run.state.foreign
        await run.agreed()
    after = gateway.truth()
    assert [after[key] for key in ("positions", "open_orders")] == [
        before[key] for key in ("positions", "open_orders")
    ]


async def test_row_yesterdays_state_is_quoted_not_applied(gateway: RunningGateway, tmp_path: Path) -> None:
    await entered_and_crashed(gateway, tmp_path)
    scans, kept = scanner(tmp_path), tmp_path / "held.json"
    shutil.copy(scans / "scanner_results_20251006.json", scans / "scanner_results_20251007.json")
    kept.write_text(json.dumps([{"symbol": "TSLA", "quantity": 100, "avg_cost": 444.0}]))
    with (
        RunningGateway("--date", "2025-10-07", "--positions", str(kept)) as next_day,
        Trader(next_day, tmp_path, scanner_dir=scans) as trader,
    ):
        found = trader.wait_ready()
        assert [(row["quantity"], row["managed"]) for row in found["positions"]] == [(100, False)]
        assert "on 2025-10-06 it held TSLA LONG 100 shares" in trader.output()
        assert next_day.truth()["open_orders"] == []
    assert list((tmp_path / "logs" / "archive").rglob("trader_state*.json")), "set aside, never deleted"


async def test_row_split_suspected(gateway: RunningGateway, tmp_path: Path) -> None:
    gateway.ctl("trade", symbol="TSLA", side="BUY", shares=200)
    cost = gateway.truth()["positions"][0]["avg_cost"]
    write_state(gateway, tmp_path / "logs", 100, round(cost * 2, 2), later_s=1.0)
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs)["TSLA"] == ["split_suspected"]
        assert "TSLA" in run.state.halted
        assert live_stops(gateway.truth()) == []


@pytest.mark.parametrize("kind", ["positions", "open_orders", "completed_orders", "executions", "account"])
async def test_row_incomplete_answer(gateway: RunningGateway, tmp_path: Path, kind: str) -> None:
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


async def test_row_conflict_halts_its_symbol_only(gateway: RunningGateway, tmp_path: Path) -> None:
    """A conflict while trading halts its symbol; the others are still traded."""
    async with live(gateway, tmp_path, options=RunOptions()) as run:
        await run.enter("TSLA", "LONG", 100)
        await run.enter("NVDA", "LONG", 50)
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=150)
        await run.until(lambda: "TSLA" in run.state.halted and not live_stops(gateway.truth(), "TSLA"))
        assert_protected(run)


def assert_protected(run: Live) -> None:
    """NVDA's stop is unchanged."""
    (stop,) = live_stops(run.gateway.truth(), "NVDA")
    assert (stop["action"], stop["remaining"]) == ("SELL", 50)
