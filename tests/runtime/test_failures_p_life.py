"""Failures p10 and p12 to p19 of docs/FAILURES.md: manual trades, silence, power loss, the wrong account.

Each test failed when its defect was planted in the program; `Planted:` in its docstring says what was changed.
"""

import ast
import asyncio
import time
from pathlib import Path

import pytest
from lab import ACCOUNT, CALM, ROOT, Trader, live_stops, rows, scanner
from lab_live import live

from paper_gateway.testing import RunningGateway
from trader.core import comparison
from trader.errors import ConfigError
from trader.runtime import connection


async def test_p10_a_manual_trade_is_seen_within_seconds(gateway: RunningGateway, tmp_path: Path) -> None:
    """After a manual sale of a part the stop is smaller; after a sale of the rest it is cancelled.

    Planted: `take_position` does nothing, and there is no regular comparison.
    """
    async with live(gateway, tmp_path) as run:
        await run.enter()
        began = time.monotonic()
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=40)
        await run.until(lambda: run.position().held == 60, 3.0)
        await run.until(lambda: [s["remaining"] for s in live_stops(gateway.truth())] == [60], 6.0)
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=60)
        await run.until(lambda: not run.state.positions, 3.0)
        await run.agreed()
        assert live_stops(gateway.truth()) == []
        assert time.monotonic() - began < 10


async def test_p12_a_corrected_execution_counts_once(gateway: RunningGateway, tmp_path: Path) -> None:
    """`.01` becomes `.02`, and both are reported again: the last one counts.

    Planted: `split_exec_id` splits nothing.
    """
    async with live(gateway, tmp_path) as run:
        await run.enter()
        entry = next(e for e in gateway.truth()["executions"] if e["order_ref"])
        right = gateway.ctl("correct", exec_id=entry["exec_id"], price=round(entry["price"] - 1, 2))["exec_id"]
        for exec_id in (entry["exec_id"], right, entry["exec_id"]):
            gateway.ctl("repeat", exec_id=exec_id)
        await run.until(lambda: run.position().entry_price == round(entry["price"] - 1, 2))
        assert (run.position().held, len(run.position().fills)) == (100, 1)
        run.set_price(300.0)
        await run.until(lambda: not run.state.positions)
        await run.agreed()
        await run.crash()
    async with live(gateway, tmp_path) as run:
        await run.agreed()


async def test_p13_a_clean_stop_leaves_the_stops_and_a_start_verifies_them(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """A run ends cleanly with a position; its stop is cancelled meanwhile; the next start places it again.

    Planted: `reconcile` does not call `stop_actions`.
    """
    scans = scanner(tmp_path)
    async with live(gateway, tmp_path) as run:
        await run.enter()
    (stop,) = live_stops(gateway.truth())
    assert stop["remaining"] == 100
    gateway.ctl("cancel", order=str(stop["perm_id"]))
    with Trader(gateway, tmp_path, scanner_dir=scans) as trader:
        trader.wait_agreed()
        assert trader.stop() == 0
    assert [found["remaining"] for found in live_stops(gateway.truth())] == [100]


async def test_p14_empty_snapshots_lose_nothing(gateway: RunningGateway, tmp_path: Path) -> None:
    """Main and backup are empty files: the journal has everything.

    Planted: `load` does not call `_journal_alone`.
    """
    async with live(gateway, tmp_path, files__save_interval_s=0.05) as run:
        await run.enter()
        await run.until((run.logs / "trader_state_backup.json").exists)
        pivot = run.position().pivot
        await run.crash()
    for name in ("trader_state.json", "trader_state_backup.json"):
        (tmp_path / "logs" / name).write_bytes(b"")
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs) == {"TSLA": ["matched"]}
        assert (run.position().pivot, run.position().estimated) == (pivot, False)
        await run.agreed()


async def test_p15_a_silent_connection_is_found_dead(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket stays open and nothing is received. Planted: `ConnectionKeeper.heartbeat` never disconnects."""
    monkeypatch.setattr(connection, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(connection, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(comparison, "COMPARE_S", 60.0)
    async with live(gateway, tmp_path, gateway__answer_timeout_s=0.3, gateway__connect_timeout_s=0.5) as run:
        await run.enter()
        await run.agreed()
        gateway.ctl("silence", kind="all")
        await run.until(lambda: not run.state.connection.connected, 5.0)
        assert not run.state.connection.entries_open
        assert run.position().held == 100
        gateway.ctl("silence", kind="all", off=True)
        await run.until(lambda: run.state.connection.entries_open)
        await run.agreed()


def test_p16_a_lost_connection_is_shown_with_its_duration(gateway: RunningGateway, tmp_path: Path) -> None:
    """`status` reports the lost connection, the log its duration. Planted: `record_loss` records nothing."""
    with Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path), files_save_interval_s="0.1") as trader:
        up = trader.wait_ready()
        assert (up["connected"], up["entries_open"]) == (True, True)
        gateway.ctl("drop", refuse=1.0)
        down = trader.wait_status(lambda s: not s["connected"])
        assert (down["entries_open"], down["ready"], bool(down["entries_reason"])) == (False, False, True)
        trader.wait_agreed()
        assert "Disconnected from IBKR for" in trader.output()
        assert trader.stop() == 0


@pytest.mark.parametrize("when", ["before it fills", "as it fills"])
async def test_p17_flatten_wins_the_race_with_an_entry(gateway: RunningGateway, tmp_path: Path, when: str) -> None:
    """Flatten pauses durably, cancels entries, closes positions and verifies.

    Planted: `flatten` looks at positions only; the pause is not kept.
    """
    async with live(gateway, tmp_path) as run:
        await run.enter("NVDA", "LONG", 50)
        gateway.ctl("hold", symbol="TSLA")
        ref = await run.send_entry("TSLA")
        await run.until(lambda: run.state.orders[ref].status == "working")
        request = run.session.requests.ask("flatten", {})
        if when == "as it fills":
            gateway.ctl("fill", order=ref, shares=60)
            gateway.ctl("hold", symbol="TSLA", off=True)
        reply = await asyncio.wait_for(request, 20)
        assert reply["ok"], reply
        truth = gateway.truth()
        assert (truth["positions"], truth["open_orders"], run.state.positions) == ([], [], {})
        assert run.state.risk.paused
        assert await run.judge("AMD") == "paused"
        await run.crash()
    async with live(gateway, tmp_path) as run:
        assert run.state.risk.paused, "also after a crash"
        await run.agreed()


def test_p18_no_alert_goes_over_a_network() -> None:
    """The API connection is the only one that a start waits for. Planted: `import smtplib` anywhere."""
    outside = {"urllib", "http", "smtplib", "requests", "httpx", "aiohttp", "telegram", "slack_sdk", "ftplib"}
    found = []
    for file in (path for folder in ("trader", "state") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{file}: {name}" for name in names if name.partition(".")[0] in outside]
    assert found == []


async def test_p19_the_account_is_checked_and_not_only_the_port(tmp_path: Path) -> None:
    """An account that is not logged in is refused by name; the state of one account is not used for another.

    Planted: `choose_account` takes the first; `mismatch` does not compare the account.
    """
    other = "DU7654321"
    with RunningGateway(*CALM, "--account", ACCOUNT, "--account", other) as gateway:
        with pytest.raises(ConfigError, match="DU9999999"):
            async with live(gateway, tmp_path, gateway__account="DU9999999"):
                pass
        async with live(gateway, tmp_path, gateway__account=ACCOUNT) as run:
            await run.enter()
            await run.crash()
        async with live(gateway, tmp_path, gateway__account=other) as run:
            assert (run.state.positions, run.state.foreign, run.state.account) == ({}, {}, other)
            assert rows(run.logs) == {}
        assert [stop["account"] for stop in live_stops(gateway.truth())] == [ACCOUNT]
        assert list((tmp_path / "logs" / "archive").glob(f"*{ACCOUNT}*")), "set aside, never deleted"
