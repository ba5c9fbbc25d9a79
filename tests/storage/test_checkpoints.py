"""Checkpoints: never changed, readable by the loader, counted when they fail, pruned by count and age."""

import asyncio
import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from disk_faults import FailingDisk
from state_cases import bracket, executed, intended, opened, plain, run, state_after

from state.domain.events import Event
from state.domain.model import TraderState
from state.errors import SnapshotFailedError, StateError, SyncFailedError
from state.manager import StateManager
from state.storage.checkpoints import CheckpointInfo, CheckpointStore, overdue
from state.storage.codec import decode_state
from state.storage.files import Folder
from state.storage.loader import load

NOW = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
ACCOUNT_VALUES = {"portfolio_value": 100_500.0, "buying_power": 50_000.0, "cash": 45_000.0}
PARAMETERS = {"risk": {"risk_per_trade_pct": 1.0}}


def trade_events() -> list[Event]:
    return [*bracket(), executed("1.01", intended().order.order_ref, "BOT", 100, 100.0, 5)]


def held() -> TraderState:
    return state_after(*trade_events())


def store_in(path: Path, session: str = "s1", disk: FailingDisk | None = None) -> CheckpointStore:
    return CheckpointStore(Folder.open(path, disk=disk), session)


def written(path: Path, session: str, *ages_s: float) -> list[str]:
    """Checkpoints of a session, so many seconds before NOW."""
    store = store_in(path, session)
    return [store.write(held(), {}, {}, NOW - timedelta(seconds=age_s)) for age_s in ages_s]


def names(path: Path) -> list[str]:
    return [info.path for info in store_in(path).list()]


def test_it_holds_the_state_the_account_and_the_parameters(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    name = store.write(held(), ACCOUNT_VALUES, PARAMETERS, NOW)
    assert name == "20260105T150000.000Z-00000004.json"
    file = tmp_path / "checkpoints" / "s1" / name
    assert file.stat().st_mode & 0o777 == 0o600
    state, saved_at = decode_state(file.read_bytes())
    assert plain(state) == plain(held())
    assert saved_at == NOW
    found = store.read(store.list()[0])
    assert found.extra.account == ACCOUNT_VALUES
    assert found.extra.parameters == PARAMETERS
    assert (found.extra.active_positions, found.extra.closed_trades, found.extra.live_orders) == (1, 0, 2)


def test_one_of_the_same_moment_gets_a_name_of_its_own(tmp_path: Path) -> None:
    first, second = written(tmp_path, "s1", 0, 0)
    assert first != second
    assert len(names(tmp_path)) == 2


def test_the_loader_falls_back_on_it(tmp_path: Path) -> None:
    run(tmp_path, *trade_events())
    state = load(Folder.open(tmp_path)).state
    assert state is not None
    store_in(tmp_path).write(state, {}, {}, NOW)
    for name in ("trader_state.json", "trader_state_backup.json"):
        (tmp_path / name).write_text("{}")
    loaded = load(Folder.open(tmp_path))
    assert loaded.source.startswith("checkpoints/s1/")
    assert plain(loaded.state) == plain(state)  # type: ignore[arg-type]  # None would not be equal


def test_a_changed_checkpoint_is_refused(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    name = store.write(held(), ACCOUNT_VALUES, {}, NOW)
    file = tmp_path / "checkpoints" / "s1" / name
    file.write_text(file.read_text().replace("45000", "95000"))
    with pytest.raises(StateError, match="checksum"):
        store.read(store.list()[0])


def test_full_disk_leaves_nothing_and_is_counted_by_the_next(tmp_path: Path) -> None:
    disk = FailingDisk()
    store = store_in(tmp_path, disk=disk)
    store.write(held(), {}, {}, NOW)
    disk.failing = {"pwrite": errno.ENOSPC}
    with pytest.raises(SnapshotFailedError, match="No space left"):
        store.write(held(), {}, {}, NOW + timedelta(seconds=30))
    assert len(list((tmp_path / "checkpoints" / "s1").iterdir())) == 1
    disk.failing = {}
    store.write(held(), {}, {}, NOW + timedelta(seconds=60))
    stats = store_in(tmp_path).stats(now=NOW + timedelta(seconds=61))
    assert (stats.attempts, stats.failures) == (3, 1)
    assert stats.success_rate == pytest.approx(2 / 3)
    assert (stats.number, stats.mean_interval_s, stats.last_age_s) == (2, 60.0, 1.0)
    assert stats.mean_write_ms is not None
    assert stats.mean_write_ms > 0


def test_a_failed_flush_is_final_for_the_caller(tmp_path: Path) -> None:
    store = store_in(tmp_path, disk=FailingDisk(fsync=errno.EIO))
    (tmp_path / "checkpoints" / "s1").mkdir(parents=True)
    with pytest.raises(SyncFailedError):
        store.write(held(), {}, {}, NOW)
    assert store.failures == 1


def test_a_state_that_would_not_load_again_is_not_written(tmp_path: Path) -> None:
    broken = held()
    broken.positions["TSLA"].held = -5
    with pytest.raises(StateError):
        store_in(tmp_path).write(broken, {}, {}, NOW)
    assert names(tmp_path) == []


async def test_it_never_holds_an_event_that_the_journal_may_lose(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        manager.begin("2025-10-06", "DU1234567", "127.0.0.1:17497", NOW, loop=asyncio.get_running_loop())
        store = CheckpointStore(manager.folder, "s1")
        for event in trade_events():
            manager.record(event)
        name = await store.take(manager, {}, {}, NOW)
        assert manager.durable_sequence == 5
    assert name.endswith("-00000005.json")


async def test_none_is_written_with_events_that_the_journal_lost(tmp_path: Path) -> None:
    disk = FailingDisk()
    manager = StateManager.open(tmp_path, "s1", disk)
    try:
        manager.begin("2025-10-06", "DU1234567", "127.0.0.1:17497", NOW, loop=asyncio.get_running_loop())
        await manager.durable(manager.state.sequence)
        disk.failing = {"fdatasync": errno.EIO}
        for event in trade_events():
            manager.record(event)
        with pytest.raises(SyncFailedError):
            await CheckpointStore(manager.folder, "s1").take(manager, {}, {}, NOW)
    finally:
        manager.close()
    assert names(tmp_path) == []


def test_retention_by_count_and_by_age(tmp_path: Path) -> None:
    written(tmp_path, "old", 90_000, 50, 40, 30)
    kept = written(tmp_path, "new", 20, 10)
    gone = store_in(tmp_path).prune(4, 24.0, [], NOW)
    assert [info.saved_at for info in gone] == [NOW - timedelta(seconds=90_000), NOW - timedelta(seconds=50)]
    written(tmp_path, "old", 90_000)
    assert [info.saved_at for info in store_in(tmp_path).prune(100, 24.0, [], NOW)] == [NOW - timedelta(hours=25)]
    store_in(tmp_path).prune(1, 24.0, [], NOW)
    assert names(tmp_path) == [f"new/{kept[-1]}"]
    assert [folder.name for folder in (tmp_path / "checkpoints").iterdir()] == ["new"]


def test_active_sessions_are_never_pruned_and_the_newest_always_stays(tmp_path: Path) -> None:
    active = written(tmp_path, "active", 200_000, 100_000)
    written(tmp_path, "done", 190_000, 90_000)
    store_in(tmp_path).prune(0, 1.0, ["active"], NOW)
    assert [name for name in names(tmp_path) if name.startswith("active/")] == [f"active/{one}" for one in active]
    store_in(tmp_path).prune(0, 1.0, [], NOW)
    assert len(names(tmp_path)) == 1


def test_files_that_are_no_checkpoint_are_left_alone(tmp_path: Path) -> None:
    written(tmp_path, "s1", 100_000, 90_000)
    folder = tmp_path / "checkpoints"
    (folder / "s1" / "notes.txt").write_text("mine")
    (folder / "link").symlink_to(tmp_path)
    (folder / "file").write_text("x")
    assert len(names(tmp_path)) == 2
    store_in(tmp_path).prune(0, 1.0, [], NOW)
    assert (folder / "s1" / "notes.txt").read_text() == "mine"
    assert (folder / "link").is_symlink()


def test_it_is_found_by_any_name_an_operator_would_give(tmp_path: Path) -> None:
    first, second = written(tmp_path, "s1", 60, 30)
    store = store_in(tmp_path)

    def found(name: str) -> str | None:
        info: CheckpointInfo | None = store.find(name)
        return info.name if info is not None else None

    assert found(f"s1/{first}") == found(first) == found(first.removesuffix(".json")) == first
    assert found("s1") == found("latest") == second
    assert found("nothing") is None
    assert store_in(tmp_path / "empty").find("latest") is None


def test_five_missing_ones_raise_an_alert() -> None:
    assert overdue(NOW, 30.0, NOW + timedelta(seconds=150)) == ""
    assert "151 s" in overdue(NOW, 30.0, NOW + timedelta(seconds=151))


def test_stats_of_nothing(tmp_path: Path) -> None:
    stats = store_in(tmp_path).stats()
    assert (stats.number, stats.first, stats.success_rate, stats.last_age_s) == (0, None, None, None)
