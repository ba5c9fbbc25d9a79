"""The defects f01 to f12 that this project exists to end: what was remembered, and what was made of it.

Each test is named after its defect and was seen to fail with that defect put into the program; the line that was
broken for it stands in the test's docstring.
"""

import ast
import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from lab import CALM, ROOT, Trader, live_stops, rows, status
from lab_live import live

from paper_gateway.testing import RunningGateway
from state.domain.model import TraderState
from state.storage.codec import decode_state
from trader.core import comparison

LIVE_FOLDERS = ("trader", "state")


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway(*CALM) as running:
        yield running


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare books and IBKR several times a second, so that nothing has to be waited for."""
    monkeypatch.setattr(comparison, "COMPARE_S", 0.25)


def saved(logs: Path) -> TraderState:
    """What the main file holds."""
    return decode_state((logs / "trader_state.json").read_bytes())[0]


def test_f01_every_save_succeeds_while_a_position_is_open(gateway: RunningGateway, tmp_path: Path) -> None:
    """Broken: `StateManager.save` that gives up, and says nothing, while a position is open."""

    async def story() -> None:
        async with live(gateway, tmp_path, files__save_interval_s=0.05) as run:
            await run.enter()
            saves = run.session.manager.saves
            await run.until(lambda: run.session.manager.saves > saves + 2)
            assert run.session.manager.last_save_error == ""
            await run.until(lambda: saved(run.logs).positions == run.state.positions, 3.0)
            assert isinstance(saved(run.logs).positions["TSLA"].entry_time, datetime)

    asyncio.run(story())


def test_f01_a_failed_save_is_loud_and_closes_the_entries(
    gateway: RunningGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Broken: `Housekeeping.save` without `hold_entries`."""

    async def story() -> None:
        async with live(gateway, tmp_path, files__save_interval_s=0.05) as run:
            backup = run.logs / "trader_state_backup.json"
            await run.until(backup.exists)
            backup.unlink()
            backup.mkdir()  # nothing can be renamed over a folder
            (backup / "in the way").touch()
            await run.until(lambda: not run.state.connection.entries_open)
            assert "was not saved" in caplog.text
            assert await run.judge() == "paused"
            assert saved(run.logs).sequence > 0, "the last good one is still there"
            (backup / "in the way").unlink()
            backup.rmdir()
            await run.until(lambda: run.state.connection.entries_open)

    asyncio.run(story())


@pytest.mark.usefixtures("unmeasured")
def test_f02_the_program_itself_is_killed_and_comes_back(tmp_path: Path) -> None:
    """The real command on the shipped scan: it enters by itself, dies by SIGKILL, and a new one knows it all.

    Broken: `load` that finds nothing, so that only IBKR's records are left.
    """
    told = ("symbol", "entry_price", "entry_time", "path", "attempt", "estimated")
    with RunningGateway("--speed", "30", "--start", "09:44") as gateway:
        with Trader(gateway, tmp_path) as trader:
            trader.wait_status(lambda s: bool(s["positions"]), 30.0)
            trader.kill()
        before = status(tmp_path / "logs")
        assert (before["running"], bool(before["positions"])) == (False, True)
        gateway.ctl("speed", speed=1)
        with Trader(gateway, tmp_path) as trader:
            after = trader.wait_agreed()
            rows_now = {row["symbol"]: row for row in after["positions"]}
            assert [[row[key] for key in told] for row in before["positions"]] == [
                [rows_now[row["symbol"]][key] for key in told] for row in before["positions"]
            ]
            assert after["attempts"] == before["attempts"]
            assert trader.stop() == 0


def test_f03_attempts_are_restored_under_the_scanners_pivot(gateway: RunningGateway, tmp_path: Path) -> None:
    """Two filled entries at one pivot, a crash between them, and the cap of two bites in the third run.

    Broken: `_count_attempt` under `position.stop_price`.
    """

    async def story() -> None:
        pivot = 443.5
        for entered in (1, 2):
            async with live(gateway, tmp_path) as run:
                assert await run.judge(pivot=pivot) == ""
                await run.until(lambda: run.held() > 0 and "TSLA" in run.state.positions)
                gateway.ctl("trade", symbol="TSLA", side="SELL", shares=run.held())
                await run.until(lambda: not run.state.positions)
                await run.agreed()
                assert [row.count for row in run.state.attempts] == [entered]
                await run.crash()
        async with live(gateway, tmp_path) as run:
            assert await run.judge(pivot=pivot) == "max_attempts"
            assert await run.judge(side="SHORT", pivot=pivot) == "", "the other side counts apart"

    asyncio.run(story())


def test_f04_half_sold_is_half_held_and_not_a_quarter(gateway: RunningGateway, tmp_path: Path) -> None:
    """Broken: `held` of the file taken times `remaining`."""

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            position = await run.enter("TSLA", "LONG", 100)
            await run.desk.take_partial(position, 50, "partial_target1", await run.price(), 0.01)
            await run.until(lambda: run.position().held == 50)
            await run.agreed()
            await run.session.manager.save()
            await run.crash()
        kept = json.loads((tmp_path / "logs" / "trader_state.json").read_text())["positions"]["TSLA"]
        assert (kept["shares"], kept["remaining"]) == (100, 0.5)
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs) == {"TSLA": ["matched"]}
            assert (run.position().held, run.position().remaining, run.held()) == (50, 0.5, 50)
            assert [stop["remaining"] for stop in live_stops(gateway.truth())] == [50]

    asyncio.run(story())


def test_f05_a_flipped_short_is_not_restored_and_nothing_is_bought(gateway: RunningGateway, tmp_path: Path) -> None:
    """Broken: `_compare_flat` without its look at what was flipped."""
    from trader.errors import ConflictError

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter("TSLA", "SHORT", 100)
            await run.crash()
        gateway.ctl("trade", symbol="TSLA", side="BUY", shares=150)
        with pytest.raises(ConflictError, match="TSLA"):
            async with live(gateway, tmp_path):
                pass
        truth = gateway.truth()
        assert [row["quantity"] for row in truth["positions"]] == [50]
        assert live_stops(truth) == [], "a BUY stop would enlarge it"

    asyncio.run(story())


def test_f06_breakeven_and_partials_survive_a_crash(gateway: RunningGateway, tmp_path: Path) -> None:
    """One R up: half is sold and the stop goes to breakeven or better; after a crash neither is done again.

    Broken: `PositionView.partials` given empty.
    """

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            entry = (await run.enter("TSLA", "LONG", 100, stop_pct=2.0)).entry_price
            run.set_price(entry * 1.022)
            await run.until(lambda: run.position().held == 50 and run.position().stop_price >= entry)
            await run.agreed()
            stop = run.position().stop_price
            await run.crash()
        async with live(gateway, tmp_path) as run:
            assert (run.position().stop_price >= stop, len(run.position().partials_taken)) == (True, 1)
            run.set_price(entry * 1.023)
            seconds = run.session.clock.now()
            await run.until(lambda: (run.session.clock.now() - seconds).total_seconds() > 0.8)
            assert [e["shares"] for e in run.exits()] == [50]
            await run.agreed()
            assert live_stops(gateway.truth())[0]["aux_price"] >= entry

    asyncio.run(story())


def test_f07_the_gate_stays_shut_until_the_stop_is_live(gateway: RunningGateway, tmp_path: Path) -> None:
    """The stop is gone and IBKR refuses the first new ones: no entries until one is taken.

    Broken: `Settler.settle` that passes where nothing is in conflict.
    """

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter()
            await run.crash()
        gateway.ctl("cancel", order=str(live_stops(gateway.truth())[0]["perm_id"]))
        gateway.ctl("reject", role="-S")
        async with live(gateway, tmp_path, ready=False) as run:
            await run.until(lambda: any(order.status == "rejected" for order in run.orders("stop")))
            assert (run.state.connection.ready, run.state.connection.entries_open) == (False, False)
            await run.until(lambda: run.state.connection.ready)
            assert [stop["remaining"] for stop in live_stops(gateway.truth())] == [100]
            await run.trading()
            await run.agreed()

    asyncio.run(story())


def test_f08_a_lost_positions_answer_drops_nothing_while_trading(gateway: RunningGateway, tmp_path: Path) -> None:
    """Broken: `build_snapshot` with lost positions as an empty list."""

    async def story() -> None:
        async with live(gateway, tmp_path, gateway__answer_timeout_s=0.25) as run:
            await run.enter()
            before = gateway.truth()
            gateway.ctl("silence", kind="positions")
            await run.until(lambda: not run.state.connection.entries_open)
            assert (run.position().held, run.state.connection.ready) == (100, False)
            assert await run.judge("NVDA") == "paused"
            assert gateway.truth()["open_orders"] == before["open_orders"]
            gateway.ctl("silence", kind="positions", off=True)
            await run.agreed()
            assert run.state.connection.entries_open

    asyncio.run(story())


@pytest.mark.parametrize(
    "harm", ["main gone", "main torn", "main and backup torn", "snapshots gone", "main and journal gone"]
)
def test_f09_another_generation_takes_the_place_of_the_main_file(
    gateway: RunningGateway, tmp_path: Path, harm: str
) -> None:
    """Broken: `load` reading main alone; and without `_journal_alone`."""

    async def story() -> None:
        async with live(gateway, tmp_path, files__save_interval_s=0.05) as run:
            await run.enter()
            saves = run.session.manager.saves
            await run.until(lambda: run.session.manager.saves > saves + 2)  # main and backup hold it
            await run.crash()
        main, backup = (tmp_path / "logs" / name for name in ("trader_state.json", "trader_state_backup.json"))
        for file in (main, backup) if "snapshots" in harm or "backup" in harm else (main,):
            if "torn" in harm:
                file.write_bytes(file.read_bytes()[:200])
            else:
                file.unlink()
        if "journal" in harm:
            shutil.rmtree(tmp_path / "logs" / "journal")
        async with live(gateway, tmp_path) as run:
            assert rows(run.logs) == {"TSLA": ["matched"]}
            assert not run.position().estimated, "pivot and targets are the intended ones"
            await run.agreed()
        kept = [file for file in (tmp_path / "logs" / "quarantine").glob("*.json") if file.stat().st_size == 200]
        assert bool(kept) == ("torn" in harm), "what is damaged is kept as found"

    asyncio.run(story())


def test_f10_a_fill_is_saved_at_once_and_else_a_timer_saves(gateway: RunningGateway, tmp_path: Path) -> None:
    """Broken: `save_wanted` never set by a fill."""

    async def story() -> None:
        async with live(gateway, tmp_path, files__save_interval_s=60.0) as run:
            saves, began = run.session.manager.saves, time.monotonic()
            await run.enter()
            await run.until(lambda: run.session.manager.saves > saves, 2.0)
            assert time.monotonic() - began < 2.0
            await run.crash()
        assert "TSLA" in saved(tmp_path / "logs").positions
        async with live(gateway, tmp_path, files__save_interval_s=0.2) as run:
            await run.until(lambda: run.session.manager.saves > 3, 3.0)

    asyncio.run(story())


def test_f10_nothing_sleeps_in_the_event_loop() -> None:
    """The lock's bounded wait comes before there is a connection. Broken: a `time.sleep` in the connection."""
    found = []
    files = {path for folder in LIVE_FOLDERS for path in (ROOT / folder).rglob("*.py")}
    for file in sorted(files - {ROOT / "state" / "storage" / "lock.py"}):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found += [str(file)] if (node.value.id, node.attr) == ("time", "sleep") else []
    assert found == []


def test_f11_the_daily_loss_limit_survives_a_crash(gateway: RunningGateway, tmp_path: Path) -> None:
    """Broken: `_loss_limit_hit` that keeps nothing."""

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            entry = (await run.enter("TSLA", "LONG", 100)).entry_price
            run.set_price(entry * 0.90)
            await run.until(lambda: run.state.risk.loss_limit_hit)
            await run.agreed()
            lost = run.state.daily_pnl
            await run.crash()
        assert lost < -3000
        async with live(gateway, tmp_path) as run:
            assert run.state.risk.loss_limit_hit
            assert run.state.daily_pnl == pytest.approx(lost)
            assert await run.judge("NVDA") == "circuit_breaker"
            await run.agreed()

    asyncio.run(story())


def test_f12_a_position_off_the_watchlist_is_managed_to_the_end_of_the_day(tmp_path: Path) -> None:
    """Restarted with a scan that does not name TSLA: it has its row, its stop, and is sold at 15:55.

    Broken: `Market.open` watching setups only, and `_manage` leaving out what is not watched.
    """

    async def story() -> None:
        with RunningGateway("--speed", "1", "--start", "15:54:57") as gateway:
            gateway.ctl("hold", symbol="TSLA")
            async with live(gateway, tmp_path) as run:
                ref = await run.send_entry()
                await run.until(lambda: run.state.orders[ref].status == "working")
                await run.crash()
            gateway.ctl("hold", symbol="TSLA", off=True)
            async with live(gateway, tmp_path, universe__symbols="NVDA") as run:
                assert "TSLA" in rows(run.logs)
                await run.until(lambda: not run.state.positions)
                assert [trade.exit_reason for trade in run.state.closed.values()] == ["end_of_day"]
                await run.agreed()
                assert run.held() == 0

    asyncio.run(story())
