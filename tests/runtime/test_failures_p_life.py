"""Failures that users of other traders reported, p10 to p19: hands in TWS, silence, power, and the wrong account.

Each test is named after its failure and was seen to fail with that defect put into the program; the line that was
broken for it stands in the test's docstring.
"""

import ast
import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import ACCOUNT, CALM, ROOT, Trader, live_stops, rows, scanner
from lab_live import live

from paper_gateway.testing import RunningGateway
from trader.core import comparison
from trader.errors import ConfigError
from trader.runtime import connection


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway(*CALM) as running:
        yield running


def test_p10_a_position_changed_by_hand_is_seen_within_seconds(gateway: RunningGateway, tmp_path: Path) -> None:
    """Sold in part, the stop shrinks; sold out, it is gone.

    Broken: `PositionFact` ignored, and no regular comparison.
    """

    async def story() -> None:
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

    asyncio.run(story())


def test_p12_a_corrected_execution_counts_once(gateway: RunningGateway, tmp_path: Path) -> None:
    """`.01` becomes `.02`, and both are told again: shares and P&L follow the last. Broken: `split_exec_id`."""

    async def story() -> None:
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

    asyncio.run(story())


def test_p13_a_clean_stop_leaves_the_stops_and_a_start_makes_sure(gateway: RunningGateway, tmp_path: Path) -> None:
    """Ended in good order with a position; its stop vanishes; the next start guards it again.

    Broken: `reconcile` without `protection_actions`.
    """
    scans = scanner(tmp_path)

    async def story() -> None:
        async with live(gateway, tmp_path) as run:
            await run.enter()

    asyncio.run(story())
    (stop,) = live_stops(gateway.truth())
    assert stop["remaining"] == 100
    gateway.ctl("cancel", order=str(stop["perm_id"]))
    with Trader(gateway, tmp_path, scanner_dir=scans) as trader:
        trader.wait_agreed()
        assert trader.stop() == 0
    assert [found["remaining"] for found in live_stops(gateway.truth())] == [100]


def test_p14_emptied_snapshots_cost_nothing(gateway: RunningGateway, tmp_path: Path) -> None:
    """Main and backup are there with no byte in them: the journal has it all.

    Broken: `load` without `_journal_alone`.
    """

    async def story() -> None:
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

    asyncio.run(story())


def test_p15_a_line_that_is_dead_without_a_word_is_found_dead(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket stays open and nothing comes any more. Broken: `Line.heartbeat` never disconnecting."""
    monkeypatch.setattr(connection, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(connection, "FIRST_WAIT_S", 0.1)
    monkeypatch.setattr(comparison, "COMPARE_S", 60.0)

    async def story() -> None:
        async with live(gateway, tmp_path, gateway__answer_timeout_s=0.3) as run:
            await run.enter()
            await run.agreed()
            gateway.ctl("silence", kind="all")
            await run.until(lambda: not run.state.connection.connected, 5.0)
            assert not run.state.connection.entries_open
            assert run.position().held == 100
            gateway.ctl("silence", kind="all", off=True)
            await run.until(lambda: run.state.connection.entries_open)
            await run.agreed()

    asyncio.run(story())


def test_p16_a_lost_connection_is_shown_with_its_date(gateway: RunningGateway, tmp_path: Path) -> None:
    """`status` from outside says that, and since when, the line is down. Broken: `Standing.lose` saying nothing."""
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
def test_p17_flatten_wins_the_race_with_an_entry(gateway: RunningGateway, tmp_path: Path, when: str) -> None:
    """Paused durably first, then entries cancelled, positions closed, verified. Broken: `Flatten` that looks
    at positions alone, or a pause that is not kept.
    """

    async def story() -> None:
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

    asyncio.run(story())


def test_p18_no_alert_goes_over_a_network() -> None:
    """Nothing but the line to IBKR can keep a start waiting. Broken: `import smtplib` anywhere."""
    outside = {"urllib", "http", "smtplib", "requests", "httpx", "aiohttp", "telegram", "slack_sdk", "ftplib"}
    found = []
    for file in (path for folder in ("trader", "state") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{file}: {name}" for name in names if name.partition(".")[0] in outside]
    assert found == []


def test_p19_the_account_is_checked_and_not_only_the_port(tmp_path: Path) -> None:
    """Another account behind the same port: refused by name; and one account's state is not another's.

    Broken: `choose_account` taking the first; `mismatch` without the account.
    """
    other = "DU7654321"

    async def story() -> None:
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

    asyncio.run(story())
