"""The defects f01 to f12 of docs/FAILURES.md: what the state keeps, and what a restart does with it.

Each test failed when its defect was planted in the program; `Planted:` in its docstring says what was changed.
"""

import ast
import json
import shutil
import time
from datetime import datetime
from pathlib import Path

import pytest
from lab import ROOT, Trader, live_stops, rows, status
from lab_live import live

from paper_gateway.testing import RunningGateway
from state.domain.model import TraderState
from state.storage.codec import decode_state

pytestmark = pytest.mark.usefixtures("frequent_comparisons")

LIVE_FOLDERS = ("trader", "state")


def saved(logs: Path) -> TraderState:
    """The state in the main file."""
    return decode_state((logs / "trader_state.json").read_bytes())[0]


async def test_f01_every_save_succeeds_while_a_position_is_open(gateway: RunningGateway, tmp_path: Path) -> None:
    """Planted: `StateManager.save` writes nothing and reports nothing while a position is open."""
    async with live(gateway, tmp_path, files__save_interval_s=0.05) as run:
        await run.enter()
        saves = run.session.manager.saves
        await run.until(lambda: run.session.manager.saves > saves + 2)
        assert run.session.manager.last_save_error == ""
        await run.until(lambda: saved(run.logs).positions == run.state.positions, 3.0)
        assert isinstance(saved(run.logs).positions["TSLA"].entry_time, datetime)


async def test_f01_a_failed_save_is_an_error_and_closes_the_entries(
    gateway: RunningGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Planted: `Timers.save` does not close the entries."""
    async with live(gateway, tmp_path, files__save_interval_s=0.05) as run:
        backup = run.logs / "trader_state_backup.json"
        await run.until(backup.exists)
        backup.unlink()
        backup.mkdir()  # no file can be renamed over a folder
        (backup / "in the way").touch()
        await run.until(lambda: not run.state.connection.entries_open)
        assert "was not saved" in caplog.text
        assert await run.judge() == "paused"
        assert saved(run.logs).sequence > 0, "the last good file is still there"
        (backup / "in the way").unlink()
        backup.rmdir()
        await run.until(lambda: run.state.connection.entries_open)


@pytest.mark.usefixtures("unmeasured")
def test_f02_the_real_program_is_killed_and_restarted(tmp_path: Path) -> None:
    """The real command on the shipped scan enters, is killed with SIGKILL, and the next run has the same state.

    Planted: `load` finds nothing, so that only IBKR's records are left.
    """
    keys = ("symbol", "entry_price", "entry_time", "path", "attempt", "estimated")
    with RunningGateway("--speed", "30", "--start", "09:46") as gateway:
        with Trader(gateway, tmp_path) as trader:
            trader.wait_status(lambda s: bool(s["positions"]), 30.0)
            trader.kill()
        before = status(tmp_path / "logs")
        assert (before["running"], bool(before["positions"])) == (False, True)
        gateway.ctl("speed", speed=1)
        with Trader(gateway, tmp_path) as trader:
            after = trader.wait_agreed()
            rows_now = {row["symbol"]: row for row in after["positions"]}
            assert [[row[key] for key in keys] for row in before["positions"]] == [
                [rows_now[row["symbol"]][key] for key in keys] for row in before["positions"]
            ]
            assert after["attempts"] == before["attempts"]
            assert trader.stop() == 0


async def test_f03_attempts_are_restored_under_the_scanners_pivot(gateway: RunningGateway, tmp_path: Path) -> None:
    """Two entries at one pivot fill, with a crash between them; the third run allows no third attempt.

    Planted: `_count_attempt` counts under the position's stop price.
    """
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
        assert await run.judge(side="SHORT", pivot=pivot) == "", "the other side is counted separately"


async def test_f04_half_sold_is_half_held_and_not_a_quarter(gateway: RunningGateway, tmp_path: Path) -> None:
    """Planted: the file's `held` is multiplied by its `remaining`."""
    async with live(gateway, tmp_path) as run:
        position = await run.enter("TSLA", "LONG", 100)
        await run.orders.take_partial(position, 50, "partial_target1")
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


async def test_f05_a_short_that_became_a_long_is_not_restored_and_nothing_is_bought(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Planted: `_compare_flat` does not look at `oversold`."""
    from trader.errors import ConflictError

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


async def test_f06_breakeven_and_partials_survive_a_crash(gateway: RunningGateway, tmp_path: Path) -> None:
    """At 1 R half is sold and the stop moves to breakeven or better; after a crash neither is done again.

    Planted: `PositionView.partials` is empty.
    """
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
        await run.elapse()
        assert [e["shares"] for e in run.exits()] == [50]
        await run.agreed()
        assert live_stops(gateway.truth())[0]["aux_price"] >= entry


async def test_f07_entries_stay_closed_until_the_stop_is_live(gateway: RunningGateway, tmp_path: Path) -> None:
    """The stop is missing and IBKR refuses the first new ones: no entries until one is accepted.

    Planted: `recovery._is_over` is true if no symbol is in conflict.
    """
    async with live(gateway, tmp_path) as run:
        await run.enter()
        await run.crash()
    gateway.ctl("cancel", order=str(live_stops(gateway.truth())[0]["perm_id"]))
    gateway.ctl("reject", role="-S")
    async with live(gateway, tmp_path, ready=False) as run:
        await run.until(lambda: any(order.status == "rejected" for order in run.orders_of("stop")))
        assert (run.state.connection.ready, run.state.connection.entries_open) == (False, False)
        await run.until(lambda: run.state.connection.ready)
        assert [stop["remaining"] for stop in live_stops(gateway.truth())] == [100]
        await run.trading()
        await run.agreed()


async def test_f08_a_lost_positions_answer_drops_nothing_while_trading(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Planted: `snapshot_of` takes lost positions as an empty list."""
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


@pytest.mark.parametrize(
    "harm", ["main gone", "main torn", "main and backup torn", "snapshots gone", "main and journal gone"]
)
async def test_f09_backup_or_journal_replace_a_lost_main_file(
    gateway: RunningGateway, tmp_path: Path, harm: str
) -> None:
    """Planted: `load` reads the main file only; `load` does not call `_journal_alone`."""
    async with live(gateway, tmp_path, files__save_interval_s=0.05) as run:
        await run.enter()
        saves = run.session.manager.saves
        await run.until(lambda: run.session.manager.saves > saves + 2)  # main and backup have the position
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
        assert not run.position().estimated, "pivot and targets are those of the intent"
        await run.agreed()
    kept = [file for file in (tmp_path / "logs" / "quarantine").glob("*.json") if file.stat().st_size == 200]
    assert bool(kept) == ("torn" in harm), "damaged files are kept as found"


async def test_f10_a_fill_is_saved_at_once_and_a_timer_saves_otherwise(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Planted: a fill does not request a save."""
    async with live(gateway, tmp_path, files__save_interval_s=60.0) as run:
        saves, began = run.session.manager.saves, time.monotonic()
        await run.enter()
        await run.until(lambda: run.session.manager.saves > saves, 2.0)
        assert time.monotonic() - began < 2.0
        await run.crash()
    assert "TSLA" in saved(tmp_path / "logs").positions
    async with live(gateway, tmp_path, files__save_interval_s=0.2) as run:
        await run.until(lambda: run.session.manager.saves > 3, 3.0)


def test_f10_nothing_sleeps_in_the_event_loop() -> None:
    """Except in the lock, which waits before the loop runs, and in the commands' end of the control socket.

    Planted: a `time.sleep` in `connection.py`.
    """
    elsewhere = {ROOT / "state" / "storage" / "lock.py", ROOT / "trader" / "cli" / "control_client.py"}
    found = []
    files = {path for folder in LIVE_FOLDERS for path in (ROOT / folder).rglob("*.py")}
    for file in sorted(files - elsewhere):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found += [str(file)] if (node.value.id, node.attr) == ("time", "sleep") else []
    assert found == []


async def test_f11_the_daily_loss_limit_survives_a_crash(gateway: RunningGateway, tmp_path: Path) -> None:
    """Planted: `LossLimitHit` changes nothing in the state."""
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


async def test_f12_a_position_that_is_not_on_the_scan_is_managed_to_the_end_of_the_day(tmp_path: Path) -> None:
    """After a restart with a scan without TSLA it is in the report, keeps its stop, and is sold at 15:55.

    Planted: `open_market` monitors setups only.
    """
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
