"""The rows of the decision table over the real socket: a trader dies, the account changes, the next one starts."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from lab import ACCOUNT, CALM, CLIENT_ID, DATE, Trader, live_stops, row_texts, rows, scanner
from lab_live import Live, live, setup_at

from paper_gateway.testing import RunningGateway
from state.domain import events as ev
from state.domain.model import EntryPlan, Order
from state.manager import StateManager
from trader.config.sections import RunOptions
from trader.time_zones import parse_time

GHOST = "ps60-TSLA-L-E1-0h4kq9x2mz"


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
            assert "using IBKR's count" in row_texts(run.logs)
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
