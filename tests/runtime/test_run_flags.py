"""The flags of `run`, as the operator types them, with real traders and a real gateway."""

import asyncio
import logging
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from lab import CALM, DATE, ROOT, WAIT_S, Trader, live_stops, rows, scanner, status, wait_for
from lab_live import live
from scripted_tws import scripted_tws

from paper_gateway.testing import RunningGateway
from state.storage.checkpoints import CheckpointStore
from state.storage.files import Folder
from state.storage.sessions import SessionStore
from trader.config.sections import RunOptions
from trader.errors import UntrustedStateError

pytestmark = pytest.mark.usefixtures("frequent_comparisons")

NEXT_DATE = "2025-10-07"
BOTH = ("--symbols", "TSLA,NVDA")


def sessions(logs: Path) -> list[tuple[str, str]]:
    """Id and status of each session, oldest first."""
    with Folder.open(logs, create=False) as folder:
        return [(session.session_id, session.status) for session in SessionStore(folder).list()]


def refused(trader: Trader, code: int, text: str) -> None:
    assert trader.wait_exit() == code, trader.output()
    said = trader.output()
    assert text in said, said
    assert "Traceback" not in said


def own_records(truth: dict[str, Any]) -> list[Any]:
    """Every order and execution with an orderRef of the trader."""
    kinds = ("open_orders", "completed_orders", "executions")
    return [item for kind in kinds for item in truth[kind] if item["order_ref"].startswith("ps60")]


# --dry-run


def test_a_dry_run_decides_everything_and_sends_nothing(tmp_path: Path) -> None:
    """With two signals that a run enters: test_i9_killed_with_a_long_and_a_short has the same day."""
    with RunningGateway("--speed", "1", "--start", "09:46:00", "--date", DATE) as gateway:
        with Trader(gateway, tmp_path, *BOTH, "--dry-run") as trader:
            trader.wait_ready()
            wait_for(lambda: "Subscribed to" in trader.output())
            gateway.ctl("speed", speed=60.0)
            log = trader.logs / "trader.log"
            wait_for(lambda: len(re.findall(r"Dry run, not sent\. \w+: momentum entry", log.read_text())) == 2)
            gateway.ctl("speed", speed=1.0)
            found = trader.status()
            assert (found["positions"], found["live_orders"], found["attempts"]) == ([], 0, [])
            assert trader.stop() == 0
        assert own_records(gateway.truth()) == []
        assert gateway.truth()["positions"] == []


async def test_a_dry_run_does_not_touch_what_an_earlier_run_holds(
    gateway: RunningGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A missing stop is logged once and not placed; no partial is taken before the protection gate has passed."""
    caplog.set_level(logging.INFO, "trader")
    async with live(gateway, tmp_path) as run:
        held = await run.enter("TSLA", "LONG", 100, stop_pct=1.0)
        await run.enter("NVDA", "LONG", 100)
        stop = run.state.protective_stop(run.position("NVDA"))
        assert stop is not None
        await run.crash()
    gateway.ctl("cancel", order=str(stop.perm_id))
    gateway.ctl("price", symbol="TSLA", price=round(held.entry_price * 1.012, 2))
    before = gateway.truth()["open_orders"]
    caplog.clear()
    async with live(gateway, tmp_path, options=RunOptions(dry_run=True), ready=False) as run:
        await run.trading()
        monitor = run.monitors["TSLA"]
        await run.until(lambda: monitor.price > held.entry_price * 1.01)
        await run.elapse(1.5)
        assert not run.state.connection.entries_open, "NVDA has no stop"
        assert run.position("TSLA").held == 100
    logged = [record.getMessage() for record in caplog.records if "Dry run, not sent" in record.getMessage()]
    assert logged, "it manages the position, and sends nothing"
    assert len(set(logged)) == len(logged), "each is logged once"
    assert "Entries are open" not in caplog.text, "the protection gate has not passed"
    assert gateway.truth()["open_orders"] == before
    async with live(gateway, tmp_path) as run:
        await run.until(lambda: len(live_stops(gateway.truth(), "NVDA")) == 1)
        await run.until(lambda: run.position("TSLA").held == 50)
        await run.agreed()


# --duration, --symbols, --checkpoint-interval


async def test_a_duration_is_in_session_minutes_and_ends_cleanly(gateway: RunningGateway, tmp_path: Path) -> None:
    """Half a session minute at speed 20 is 1.5 s. The position stays, and so does its stop."""
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", "LONG", 100)
    gateway.ctl("speed", speed=20.0)
    with Trader(gateway, tmp_path, "--duration", "0.5", scanner_dir=scanner(tmp_path)) as trader:
        assert trader.wait_exit() == 0
        assert "0.5 minutes of --duration are over" in trader.output()
    assert sessions(tmp_path / "logs")[-1][1] == "completed"
    assert len(live_stops(gateway.truth(), "TSLA")) == 1


async def test_only_the_named_symbols_are_entered_and_all_that_is_held_is_managed(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with live(gateway, tmp_path, universe__symbols="TSLA") as run:
        assert set(run.monitors) == {"TSLA"}
        await run.crash()
    async with live(gateway, tmp_path) as run:
        await run.enter("NVDA", "SHORT", 10)
        await run.crash()
    async with live(gateway, tmp_path, universe__symbols="TSLA") as run:
        assert set(run.monitors) == {"TSLA", "NVDA"}
        monitor = run.monitors["NVDA"]
        assert monitor.setup is None, "there are no entries in it"
        gateway.ctl("price", symbol="NVDA", price=round(run.position("NVDA").stop_price * 1.01, 2))
        await run.until(lambda: run.state.positions == {})
        await run.agreed()


async def test_the_checkpoint_interval_is_kept_while_a_position_is_open(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", "LONG", 100)
        await run.crash()
    with Trader(gateway, tmp_path, "--checkpoint-interval", "0.2", scanner_dir=scanner(tmp_path)) as trader:
        trader.wait_ready()
        this = trader.status()["session_id"]
        with Folder.open(trader.logs, create=False) as folder:
            store = CheckpointStore(folder)
            wait_for(lambda: len(store.list(this)) >= 5)
            mean_s = store.stats(this).mean_interval_s
            assert mean_s is not None
            assert 0.2 <= mean_s < 1.0
            assert trader.stop() == 0
            assert len(store.list(this)) > 5, "and one at the end of the run"
            assert "TSLA" in store.read(store.list(this)[-1]).state.positions


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "often", "1e9", ""])
def test_an_invalid_checkpoint_interval_is_refused(value: str, gateway: RunningGateway, tmp_path: Path) -> None:
    with Trader(gateway, tmp_path, f"--checkpoint-interval={value}", scanner_dir=scanner(tmp_path)) as trader:
        refused(trader, 2, "checkpoint_interval_s")
    assert not (tmp_path / "logs").exists()


# --resume, --resume-session, --fresh


def test_resume_is_the_default_and_without_state_a_clean_start(gateway: RunningGateway, tmp_path: Path) -> None:
    scans = scanner(tmp_path)
    with Trader(gateway, tmp_path, "--resume", scanner_dir=scans) as trader:
        trader.wait_ready()
        assert "No previous state found (clean start)" in trader.output()
        trader.kill()
    with Trader(gateway, tmp_path, "--resume", scanner_dir=scans) as trader:
        trader.wait_ready()
        assert "Loaded state file from" in trader.output()
        assert "had crashed" in trader.output()


async def test_a_session_is_resumed_by_its_name(gateway: RunningGateway, tmp_path: Path) -> None:
    """A day has one state, whichever of its sessions is named; the session may have completed or crashed."""
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", "LONG", 100)
        first = run.session.manager.session_id
    async with live(gateway, tmp_path, options=RunOptions(resume_session=first)) as run:
        assert rows(run.logs) == {"TSLA": ["matched"]}
        second = run.session.manager.session_id
        await run.crash()
    async with live(gateway, tmp_path, options=RunOptions(resume_session=second)) as run:
        assert run.position("TSLA").held == 100
        await run.agreed()
    found = dict(sessions(tmp_path / "logs"))
    assert (found[first], found[second]) == ("completed", "crashed")


@pytest.mark.parametrize("name", ["no-such-session", "../sessions/x", "", "x" * 300])
async def test_an_unknown_session_is_not_resumed(name: str, gateway: RunningGateway, tmp_path: Path) -> None:
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", "LONG", 100)
    before = gateway.truth()["open_orders"]
    with Trader(gateway, tmp_path, f"--resume-session={name}", scanner_dir=scanner(tmp_path)) as trader:
        if name:
            refused(trader, 5, "no such session is known")
        else:
            refused(trader, 2, "--resume-session")
    assert gateway.truth()["open_orders"] == before
    assert [row["symbol"] for row in status(tmp_path / "logs")["positions"]] == ["TSLA"], "the state is unchanged"


async def test_i8_a_session_of_another_date_is_not_resumed(tmp_path: Path) -> None:
    """The start is refused: the operator asked for that session and no other state."""
    with RunningGateway(*CALM) as day:
        port = day.port
        endpoint: Any = f"127.0.0.1:{port}"
        async with live(day, tmp_path, gateway__endpoint=endpoint) as run:
            name = run.session.manager.session_id
    with RunningGateway("--port", str(port), "--date", NEXT_DATE, "--start", "11:00") as gateway:
        with pytest.raises(UntrustedStateError, match=f"it is of {DATE}, and the trading date is {NEXT_DATE}"):
            async with live(gateway, tmp_path, options=RunOptions(resume_session=name), gateway__endpoint=endpoint):
                pass
        assert status(tmp_path / "logs")["trading_date"] == DATE, "nothing was set aside"


async def test_fresh_sets_the_state_aside_and_takes_over_what_ibkr_records(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """Position, stop, attempts and P&L are rebuilt from own orderRefs and executions; the rest starts empty."""
    async with live(gateway, tmp_path) as run:
        await run.enter("TSLA", "LONG", 100)
        lost = await run.enter("NVDA", "LONG", 10, stop_pct=0.4)
        gateway.ctl("price", symbol="NVDA", price=round(lost.entry_price * 0.98, 2))
        await run.until(lambda: "NVDA" not in run.state.positions)
        await run.agreed()
        pnl = run.state.daily_pnl
        stop = live_stops(gateway.truth(), "TSLA")
        await run.crash()
    async with live(gateway, tmp_path, options=RunOptions(fresh=True)) as run:
        assert run.position("TSLA").held == 100
        shown = await asyncio.to_thread(status, run.logs)
        assert [(row["symbol"], row["managed"]) for row in shown["positions"]] == [("TSLA", True)]
        await run.agreed()
        assert live_stops(gateway.truth(), "TSLA") == stop, "its stop was not touched"
        assert run.state.daily_pnl == pnl
        assert run.state.last_signals == {}
        assert len(list((run.logs / "archive").rglob("trader_state.json"))) == 1, "set aside, never deleted"
        await run.crash()
    async with live(gateway, tmp_path) as run:
        assert rows(run.logs)["TSLA"] == ["matched"], "the state that was set aside is not used again"


# --live


@asynccontextmanager
async def login_of(account: str, folder: Path, *flags: str, **settings: str) -> AsyncIterator[Process]:
    """A trader on a peer that is logged in to that account: the paper gateway has no live accounts."""
    async with scripted_tws() as tws:
        tws.start = ((15, 1, account), (9, 1, 1))
        where = ("--gateway", f"127.0.0.1:{tws.port}", "--logs-dir", str(folder / "logs"))
        trader = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "trader.py"),
            *where,
            "--scanner-dir",
            str(scanner(folder)),
            *flags,
            stdout=PIPE,
            stderr=STDOUT,
            cwd=ROOT,
            env=os.environ | settings,
        )
        try:
            yield trader
        finally:
            if trader.returncode is None:
                trader.kill()
            await trader.communicate()
            assert not [fields for fields in tws.received if fields[0] == "3"], "no order was placed"


@pytest.mark.parametrize(
    ("account", "flags", "settings", "text"),
    [
        ("U7654321", (), {}, "U7654321 is a live account"),
        ("U7654321", ("--live",), {}, "live"),
        ("U7654321", ("--live",), {"TRADER_GATEWAY_LIVE_ACCOUNT": "U1111111"}, "U1111111"),
        ("U7654321,U1111111", ("--live",), {"TRADER_GATEWAY_LIVE_ACCOUNT": "U1111111"}, "several accounts"),
        ("DU1234567", (), {"TRADER_GATEWAY_ACCOUNT": "DU7654321"}, "DU7654321"),
    ],
    ids=["no flag", "no account named", "another one named", "one of two", "not the login's"],
)
async def test_i15_an_account_that_was_not_chosen_is_not_traded(
    account: str, flags: tuple[str, ...], settings: dict[str, str], text: str, tmp_path: Path
) -> None:
    async with login_of(account, tmp_path, *flags, **settings) as trader:
        out, _ = await asyncio.wait_for(trader.communicate(), WAIT_S)
        said = out.decode()
        assert (trader.returncode, text in said, "Traceback" in said) == (2, True, False), said


async def test_i15_a_live_account_that_was_named_twice_is_connected_to_and_says_so(tmp_path: Path) -> None:
    settings = {"TRADER_GATEWAY_LIVE_ACCOUNT": "U7654321"}
    async with login_of("U7654321", tmp_path, "--live", **settings) as trader:
        assert trader.stdout is not None
        said = await asyncio.wait_for(trader.stdout.readuntil(b"Account: U7654321)"), WAIT_S)
        assert b"LIVE TRADING SESSION" in said
        assert b"Connected to IBKR (LIVE: Port" in said
