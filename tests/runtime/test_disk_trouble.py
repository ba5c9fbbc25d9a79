"""Disk errors outside the journal: they are reported, trading goes on, and the next write is tried."""

import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from lab import DATE, live_stops
from lab_live import Live, live

from paper_gateway.testing import RunningGateway
from state.storage.checkpoints import CheckpointStore
from state.storage.files import Folder
from state.storage.retention import FREE_BYTES_MIN, prune_dates
from trader.core import market_data

pytestmark = pytest.mark.usefixtures("frequent_comparisons")

OFTEN: dict[str, Any] = {
    f"files__{name}_s": 0.2 for name in ("checkpoint_interval", "checkpoint_idle_interval", "save_interval")
}


def can_mount() -> bool:
    if os.geteuid() != 0:
        return False
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return tried.returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="needs root and the right to mount a small tmpfs")


@pytest.fixture(autouse=True)
def frequent_bar_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Store bars every 0.2 s, so that no test waits for it."""
    monkeypatch.setattr(market_data, "KEEP_EVERY_S", 0.2)


@contextmanager
def small_disk(logs: Path, megabytes: int) -> Iterator[None]:
    """A tmpfs of so many megabytes as the logs folder."""
    logs.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "none", str(logs)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(logs)], check=True)


def fill(logs: Path) -> Path:
    """Use all free space; returns the file to remove."""
    ballast = logs / "ballast"
    space = os.statvfs(logs)
    ballast.write_bytes(b"\0" * (space.f_bavail * space.f_frsize))
    assert os.statvfs(logs).f_bavail == 0
    return ballast


def checkpoints(run: Live) -> int:
    return len(CheckpointStore(run.session.manager.folder).list())


async def assert_managed(run: Live, symbol: str = "TSLA") -> None:
    """The position is still managed: its stop is moved at IBKR, and the stop's fill is recorded."""
    position = run.position(symbol)
    higher = round(position.stop_price * 1.01, 2)
    await run.orders.move_stop(position, higher, "trail")
    await run.until(lambda: [stop["aux_price"] for stop in live_stops(run.gateway.truth(), symbol)] == [higher])
    run.gateway.ctl("price", symbol=symbol, price=round(higher * 0.99, 2))
    await run.until(lambda: symbol not in run.state.positions)


@needs_mounts
async def test_a_full_disk_prevents_only_snapshots_and_checkpoints(
    gateway: RunningGateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The journal's segment has its space, so events stay durable; entries close until a snapshot succeeds."""
    caplog.set_level(logging.INFO, "trader")
    with small_disk(tmp_path / "logs", 24):
        async with live(gateway, tmp_path, **OFTEN) as run:
            await run.enter("TSLA", "LONG", 100)
            await run.until(lambda: checkpoints(run) > 0)
            ballast = fill(run.logs)
            await run.until(lambda: "No checkpoint this time" in caplog.text)
            await run.until(lambda: "The state was not saved" in caplog.text)
            await run.until(lambda: not run.state.connection.entries_open)
            assert run.state.connection.ready
            await assert_managed(run)
            before = checkpoints(run)
            ballast.unlink()
            await run.until(lambda: checkpoints(run) > before)
            await run.until(lambda: run.state.connection.entries_open)
            assert "The state is saved again" in caplog.text
            await run.agreed()
            pnl = run.state.daily_pnl
            fill(run.logs)
            await run.enter("NVDA", "LONG", 10)
            await run.crash()
        (tmp_path / "logs" / "ballast").unlink()
        async with live(gateway, tmp_path) as run:
            assert run.state.daily_pnl == pnl
            assert run.position("NVDA").held == 10, "the journal had it"
            await run.agreed()


def a_file(path: Path) -> None:
    path.write_text("not a folder")


def a_link(path: Path) -> None:
    target = path.parent.parent / "elsewhere"
    target.mkdir(exist_ok=True)
    path.symlink_to(target)


def open_to_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


@pytest.mark.parametrize("trouble", [a_file, a_link, open_to_all])
@pytest.mark.parametrize("folder", ["checkpoints", "bars", "recovery"])
async def test_a_folder_that_cannot_be_used_is_reported_and_trading_goes_on(
    gateway: RunningGateway,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    folder: str,
    trouble: Callable[[Path], None],
) -> None:
    """None of the three is needed to protect a position; each is tried again once the obstacle is gone."""
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o700)
    trouble(logs / folder)
    async with live(gateway, tmp_path, **OFTEN) as run:
        await run.until(lambda: str(logs / folder) in caplog.text)
        await run.enter("TSLA", "LONG", 100)
        assert run.state.connection.entries_open
        if folder == "checkpoints":
            await run.until(lambda: any("checkpoint" in alert.text for alert in run.state.alerts))
            (logs / folder).rename(logs / "aside")
            await run.until(lambda: checkpoints(run) > 0)
        await assert_managed(run)
        await run.agreed()
    assert list((tmp_path / "elsewhere").iterdir() if (tmp_path / "elsewhere").exists() else []) == []


# Old files


def dated(logs: Path, *days_before: int) -> None:
    """Make folders of so many days before the session's date, of every kind that is kept by date."""
    for days in days_before:
        name = (date.fromisoformat(DATE) - timedelta(days=days)).isoformat()
        for kind in ("journal", "bars", "recovery", "archive", "quarantine"):
            (logs / kind / name).mkdir(parents=True)
            (logs / kind / name / "x.jsonl").write_text("{}\n")


def kept(logs: Path, kind: str) -> list[int]:
    """The age in days of each folder of one kind that is left."""
    names = [path.name for path in (logs / kind).iterdir() if path.name != DATE]
    return sorted((date.fromisoformat(DATE) - date.fromisoformat(name)).days for name in names)


async def test_a_trader_removes_what_is_older_than_it_was_told_to_keep(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o700)
    dated(logs, 1, 5, 6, 400)
    (logs / "journal" / "2001-01-01-copy").mkdir()
    (logs / "bars" / "2001-01-01").symlink_to(tmp_path)
    async with live(gateway, tmp_path, files__keep_days=5) as run:
        await run.until(lambda: not (logs / "recovery" / "2024-09-01").exists())
        await run.until(lambda: kept(logs, "recovery") == [1, 5])
    assert kept(logs, "archive") == [1, 5, 6, 400], "never removed: they are for the operator"
    assert kept(logs, "quarantine") == [1, 5, 6, 400]
    assert (logs / "journal" / "2001-01-01-copy").exists(), "not a date, so it is left alone"
    assert (logs / "bars" / "2001-01-01").is_symlink()
    assert (logs / "journal" / DATE).is_dir()


@needs_mounts
async def test_fewer_days_are_kept_if_space_is_short_and_an_alert_says_so(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    """With less than 200 MiB free, two days are kept."""
    logs = tmp_path / "logs"
    with small_disk(logs, 24):
        dated(logs, 1, 2, 3, 20)
        async with live(gateway, tmp_path) as run:
            await run.until(lambda: any("MiB are free" in alert.text for alert in run.state.alerts))
            assert kept(logs, "journal") == [1, 2]
            await run.enter()
            await run.agreed()


def test_pruning_returns_what_it_removed_and_what_is_free(tmp_path: Path) -> None:
    dated(tmp_path, 0, 2, 31)
    found = prune_dates(tmp_path, DATE, 30)
    oldest = (date.fromisoformat(DATE) - timedelta(days=31)).isoformat()
    assert found.removed == [f"{kind}/{oldest}" for kind in ("journal", "bars", "recovery")]
    assert found.tight == (found.free_bytes < FREE_BYTES_MIN)
    assert prune_dates(tmp_path, DATE, 30).removed == []
    assert prune_dates(tmp_path / "journal", DATE, 30).removed == [], "nothing to remove in a folder without dates"


def test_pruning_continues_if_a_folder_vanishes(tmp_path: Path) -> None:
    """The operator cleans up at the same time."""
    dated(tmp_path, 31)
    (tmp_path / "journal").rename(tmp_path / "aside")
    assert len(prune_dates(tmp_path, DATE, 30).removed) == 2
    with Folder.open(tmp_path) as folder:
        assert CheckpointStore(folder).list() == []
