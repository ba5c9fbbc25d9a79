"""Invariant 11: a failed sync is final. No retry, no new entry, stops stay at IBKR, a clear error, exit code 6."""

import asyncio
import errno
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from disk_faults import FailingDisk
from lab import Trader, live_stops, scanner, status, wait_for
from lab_live import Live, live
from lab_positions import LONG_ONLY, in_position, shares, subscribed
from slow_disks import put_state_on

from paper_gateway.testing import RunningGateway
from state.errors import SyncFailedError
from state.storage.snapshot import MAIN

STRACE = shutil.which("strace")


def files(logs: Path) -> dict[str, bytes]:
    """The state's files, without logs."""
    found = [logs / MAIN, *(logs / "journal").rglob("*.jsonl"), *(logs / "checkpoints").rglob("*.json")]
    return {str(path): path.read_bytes() for path in found if path.exists()}


# Inside: each sync of a trading session


@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
async def test_i11_a_failed_sync_while_trading_ends_the_run_and_nothing_is_written_after_it(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    disk = FailingDisk()
    put_state_on(disk, monkeypatch)
    run: Live | None = None
    try:
        async with live(gateway, tmp_path, files__save_interval_s=0.2) as run:
            await run.enter("TSLA")
            disk.failing[call] = errno.EIO
            failed_at = disk.calls.count(call)
            await run.until(lambda: disk.calls.count(call) > failed_at)
            disk.failing.clear()  # a second flush would succeed although the data was lost
            await run.session.stopping.event.wait()
            after = files(run.logs)
            assert run.running is not None
            await asyncio.wait({run.running})
            assert files(run.logs) == after
    except SyncFailedError as error:
        assert error.exit_code == 6  # noqa: PT017 - the context ends the run
        assert "Input/output error" in str(error)  # noqa: PT017 - as above
    else:
        pytest.fail("a failed sync did not end the run")
    assert len(live_stops(gateway.truth(), "TSLA")) == 1


async def test_i1_an_entry_whose_intent_cannot_be_made_durable_is_never_sent(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FailingDisk()
    put_state_on(disk, monkeypatch)
    try:
        async with live(gateway, tmp_path) as run:
            await run.price("TSLA")
            disk.failing["fdatasync"] = errno.EIO
            with pytest.raises(SyncFailedError):
                await run.send_entry("TSLA")
            disk.failing.clear()
            with pytest.raises(SyncFailedError):
                await run.send_entry("NVDA")
    except SyncFailedError:
        pass
    truth = gateway.truth()
    assert (truth["open_orders"], truth["completed_orders"], truth["executions"]) == ([], [], [])


@pytest.mark.parametrize("call", ["create", "rename"])
async def test_a_snapshot_that_is_refused_closes_the_entries_until_one_is_written_again(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A full disk is no failed sync: the journal, whose space is allocated, still has everything."""
    disk = FailingDisk()
    put_state_on(disk, monkeypatch)
    async with live(gateway, tmp_path, files__save_interval_s=0.2) as run:
        await run.enter("TSLA")
        disk.failing[call] = errno.ENOSPC
        await run.until(lambda: not run.state.connection.entries_open)
        assert "saved" in run.state.connection.reason
        assert run.state.connection.ready
        position = run.position()
        await run.orders.move_stop(position, round(position.stop_price + 1, 2), "trail")  # stops are still managed
        disk.failing.clear()
        await run.until(lambda: run.state.connection.entries_open)
        await run.agreed()


# Outside: a real trader, and a kernel that returns EIO or does not return


@contextmanager
def injected(trader: Trader, what: str) -> Iterator[None]:
    """Inject a fault into the system calls of a running trader. what: as strace's `inject=`."""
    calls = what.split(":", 1)[0]
    command = [STRACE or "strace", "-f", "-o", "/dev/null", "-p", str(trader.process.pid)]
    tracing = subprocess.Popen(
        [*command, "-e", f"trace={calls}", "-e", f"inject={what}"], stderr=subprocess.PIPE, text=True
    )
    assert tracing.stderr is not None
    try:
        assert "attached" in tracing.stderr.readline()
        yield
    finally:
        tracing.kill()
        tracing.wait(5)
        tracing.stderr.close()


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
@pytest.mark.parametrize("call", ["fdatasync", "fsync"])
def test_i11_a_real_trader_ends_with_6_and_the_next_one_knows_everything(call: str, tmp_path: Path) -> None:
    with in_position(tmp_path, *LONG_ONLY) as (gateway, trader):
        held = shares(gateway)
        with injected(trader, f"{call}:error=EIO:when=1"):
            gateway.ctl("trade", symbol="TSLA", side="SELL", shares=5)
            assert trader.wait_exit() == 6
        lines = trader.output().strip().splitlines()
        assert "Input/output error" in lines[-2]
        assert "kernel log" in lines[-1]
        assert len(live_stops(gateway.truth(), "TSLA")) == 1
        assert status(trader.logs)["running"] is False
        with Trader(gateway, tmp_path, *LONG_ONLY) as restarted:
            found = restarted.wait_agreed()
            assert found["positions"][0]["quantity"] == held["TSLA"] - 5
            assert "had crashed" in restarted.output()


HANGING = """
import os, time
def hanging(call):
    def sync(fd):
        while os.path.exists({flag!r}):
            time.sleep(0.05)
        call(fd)
    return sync
os.fsync, os.fdatasync = hanging(os.fsync), hanging(os.fdatasync)
"""


@pytest.mark.usefixtures("unmeasured")
def test_a_real_trader_ends_though_the_disk_does_not_answer(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No flush returns any more and a save is waiting: SIGTERM still ends the process, in spite of its threads."""
    flag = tmp_path / "the disk is dead"
    (tmp_path / "sitecustomize.py").write_text(HANGING.format(flag=str(flag)))
    scans = scanner(tmp_path)
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", str(tmp_path))
        doomed = Trader(gateway, tmp_path, scanner_dir=scans, files_save_interval_s="0.2")
    with doomed as trader:
        trader.wait_agreed()
        subscribed(trader)  # the start has written all its files
        flag.touch()
        gateway.ctl("trade", symbol="AMD", side="BUY", shares=5)
        trader.process.terminate()
        assert trader.wait_exit(14.0) == 6
        assert "the disk did not answer within 10 s" in trader.output()
    with Trader(gateway, tmp_path, scanner_dir=scans) as restarted:
        found = restarted.wait_agreed()
        assert [(row["symbol"], row["quantity"]) for row in found["positions"]] == [("AMD", 5)]


# A folder on a file system in RAM


def test_a_logs_folder_on_tmpfs_is_warned_about(gateway: RunningGateway, tmp_path: Path) -> None:
    manager = Path("/dev/shm")
    if not os.access(manager, os.W_OK) or "tmpfs" not in _mounted(manager):
        pytest.skip("there is no tmpfs at /dev/shm")
    scans = scanner(tmp_path)
    with (
        tempfile.TemporaryDirectory(dir=manager) as folder,
        Trader(gateway, Path(folder), scanner_dir=scans) as trader,
    ):
        trader.wait_ready()
        found = wait_for(lambda: [a["text"] for a in trader.status()["alerts"] if "not durable" in a["text"]])
        assert any("tmpfs" in text and "gone after a reboot" in text for text in found)
        assert trader.stop() == 0
        assert "NOT DURABLE" in trader.output()
        logged = [json.loads(line) for line in (trader.logs / "trader.jsonl").read_text().splitlines()]
        assert any("NOT DURABLE" in line["text"] and line["level"] == "WARNING" for line in logged)


def _mounted(path: Path) -> str:
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return next((fields[2] for fields in reversed(lines) if fields[1] == str(path)), "")
