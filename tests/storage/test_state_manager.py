"""The StateManager: one writer, durable before acknowledged, failures final, every file can be loaded again."""

import asyncio
import errno
import os
import time
from pathlib import Path

import pytest
from disk_faults import FailingDisk
from state_cases import (
    ACCOUNT,
    DATE,
    GATEWAY,
    TRADE,
    apply_events,
    at,
    begun,
    bracket,
    executed,
    opened,
    plain,
    reloaded,
    replayed,
    run,
)

from state.domain import events as ev
from state.domain.model import TraderState
from state.errors import InvariantError, LockHeldError, SyncFailedError
from state.manager import StateManager
from state.storage.codec import BadContentError, decode_state, encode_state
from state.storage.files import Folder
from state.storage.loader import load
from state.storage.snapshot import BACKUP, MAIN


def pause(text: str) -> ev.Paused:
    return ev.Paused(time=at(1), reason=text)


def live(manager: StateManager) -> None:
    """Begin inside the running event loop, as the trader does."""
    manager.begin(DATE, ACCOUNT, GATEWAY, at(0), loop=asyncio.get_running_loop())


def test_i14_a_second_manager_is_refused_and_disturbs_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        begun(manager)
        with pytest.raises(LockHeldError, match=str(os.getpid())) as caught:
            opened(tmp_path, "s2")
        assert caught.value.exit_code == 4
        manager.record(pause("still ours"))
        manager.save_blocking()
    with opened(tmp_path, "s2") as manager:
        begun(manager)
        assert manager.state.risk.paused_reason == "still ours"


def test_i9_a_restart_has_the_same_state(tmp_path: Path) -> None:
    before = run(tmp_path, *bracket(), executed("a.01", TRADE, "BOT", 100, 100.0, 10), save=False)
    with opened(tmp_path, "s2") as manager:
        found = manager.loaded.state
        assert found is not None
        assert plain(found) == plain(before)
        result = begun(manager)
        assert result.resumed
        assert manager.state.session_id == "s2"
        manager.record(pause("second run"))
        manager.flush()
        assert plain(replayed(tmp_path)) == plain(manager.state)


async def test_i1_record_durably_returns_once_it_is_on_disk(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        live(manager)
        sequence = await manager.record_durably(*bracket())
        assert manager.durable_sequence >= sequence == manager.state.sequence
        assert plain(replayed(tmp_path)) == plain(manager.state)


async def test_i7_main_and_backup_are_both_valid_after_every_save(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        live(manager)
        for number in range(4):
            manager.record(pause(str(number)))
            assert await manager.save()
        assert manager.saves == 4
    found = reloaded(tmp_path).loaded
    assert found.state is not None
    assert (found.source, found.state.risk.paused_reason) == (MAIN, "3")
    (tmp_path / MAIN).unlink()
    found = reloaded(tmp_path).loaded
    assert (found.source, found.snapshot_sequence) == (BACKUP, 4)


async def test_i10_the_loop_runs_while_a_snapshot_waits_for_the_disk(tmp_path: Path) -> None:
    class SlowDisk(FailingDisk):
        def fsync(self, fd: int) -> None:
            time.sleep(0.05)
            super().fsync(fd)

    ticks = 0
    with StateManager.open(tmp_path, "s1", SlowDisk()) as manager:
        live(manager)
        saving = asyncio.create_task(manager.save())
        while not saving.done():
            await asyncio.sleep(0.001)
            ticks += 1
        assert await saving
    assert ticks > 10


@pytest.mark.parametrize("call", ["create", "pwrite", "rename", "link"])
async def test_a_refused_snapshot_is_reported_and_the_next_one_succeeds(tmp_path: Path, call: str) -> None:
    disk = FailingDisk()
    with StateManager.open(tmp_path, "s1", disk) as manager:
        live(manager)
        assert await manager.save()
        whole = (tmp_path / MAIN).read_bytes()
        await manager.record_durably(pause("not saved"))
        disk.failing[call] = errno.ENOSPC
        assert not await manager.save()
        assert "No space left" in manager.last_save_error
        assert (tmp_path / MAIN).read_bytes() == whole
        disk.failing.clear()
        assert await manager.save()
        assert manager.last_save_error == ""
    found = reloaded(tmp_path).loaded.state
    assert found is not None
    assert found.risk.paused_reason == "not saved"


@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
async def test_i11_a_failed_sync_is_final(tmp_path: Path, call: str) -> None:
    disk = FailingDisk()
    reported: list[SyncFailedError] = []
    with StateManager.open(tmp_path, "s1", disk) as manager:
        live(manager)
        manager.on_failure = reported.append
        assert await manager.save()
        disk.failing[call] = errno.EIO
        manager.record(pause("lost"))
        with pytest.raises(SyncFailedError):
            await manager.save()
        disk.failing.clear()
        await asyncio.sleep(0)
        assert manager.failure is reported[0]
        for attempt in (lambda: manager.record(pause("again")), manager.save_blocking, manager.flush):
            with pytest.raises(SyncFailedError):
                attempt()
        with pytest.raises(SyncFailedError):
            await manager.save()
    assert len(reported) == 1


def test_i11_a_failed_sync_is_final_without_a_loop_too(tmp_path: Path) -> None:
    disk = FailingDisk()
    with StateManager.open(tmp_path, "s1", disk) as manager:
        begun(manager)
        manager.flush()
        disk.failing["fdatasync"] = errno.EIO
        manager.record(pause("lost"))
        with pytest.raises(SyncFailedError):
            manager.flush()
        disk.failing.clear()
        sequence = manager.state.sequence
        with pytest.raises(SyncFailedError):
            manager.record(pause("again"))
        assert manager.state.sequence == sequence
        assert manager.failure is not None


async def test_a_snapshot_never_holds_an_event_that_the_journal_may_lose(tmp_path: Path) -> None:
    disk = FailingDisk()
    with StateManager.open(tmp_path, "s1", disk) as manager:
        live(manager)
        assert await manager.save()
        whole = (tmp_path / MAIN).read_bytes()
        disk.failing["fdatasync"] = errno.EIO
        manager.record(pause("lost"))
        with pytest.raises(SyncFailedError):
            await manager.save()
        assert (tmp_path / MAIN).read_bytes() == whole


def test_a_state_that_the_loader_would_refuse_is_not_written(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        begun(manager)
        for event in (*bracket(), executed("a.01", TRADE, "BOT", 100, 100.0, 10)):
            manager.record(event)
        manager.save_blocking()
        whole = (tmp_path / MAIN).read_bytes()
        manager.state.positions["TSLA"].stop_price = float("nan")
        with pytest.raises(BadContentError):
            manager.save_blocking()
        assert (tmp_path / MAIN).read_bytes() == whole


def test_a_refused_event_changes_neither_state_nor_journal(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        begun(manager)
        before = plain(manager.state)
        for event in (
            ev.OrderChanged(time=at(1), order_ref="never-announced", status="filled"),
            executed("a.01", TRADE, "BOT", 1, float("inf"), 0),
            ev.Paused(time=at(1), reason="\ud800"),
            ev.OrderModifyIntended(
                time=at(1), order_ref="never-announced", quantity=1, stop_price=1.0, reason="flatten"
            ),
        ):
            with pytest.raises((InvariantError, BadContentError)):
                manager.record(event)
        assert plain(manager.state) == before
        manager.record(pause("goes on"))
        manager.flush()
        assert plain(replayed(tmp_path)) == plain(manager.state)


def test_what_is_recorded_is_not_the_callers_own_object(tmp_path: Path) -> None:
    entry = bracket()[0]
    with opened(tmp_path) as manager:
        begun(manager)
        manager.record(entry)
        entry.order.quantity = 7
        assert manager.state.orders[TRADE].quantity == 100


def test_i5_an_order_reference_is_used_once_for_ever(tmp_path: Path) -> None:
    run(tmp_path, *bracket())
    with opened(tmp_path, "s2") as manager:
        begun(manager)
        with pytest.raises(InvariantError, match="announced twice"):
            manager.record(bracket()[0])


def test_nothing_is_recorded_before_begin(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        assert not manager.begun
        with pytest.raises(InvariantError):
            manager.record(pause("too early"))
        with pytest.raises(InvariantError):
            _ = manager.state


def test_leftovers_of_a_cut_write_are_removed_and_the_folder_is_private(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    with opened(logs) as manager:
        begun(manager)
        leftover = manager.folder.write_temp(MAIN, b"half")
    assert (logs / leftover).exists()
    opened(logs, "s2").close()
    assert not (logs / leftover).exists()
    assert logs.stat().st_mode & 0o777 == 0o700


def test_events_applied_directly_and_through_the_files_give_the_same(tmp_path: Path) -> None:
    """The manager's path (encode, journal, decode) against plain application."""
    events = [*bracket(), executed("a.01", TRADE, "BOT", 60, 100.0, 10), pause("x")]
    with opened(tmp_path) as manager:
        begun(manager)
        expected = reloaded_copy(manager)
        for event in events:
            manager.record(event)
        assert plain(manager.state) == plain(apply_events(expected, *events))


def reloaded_copy(manager: StateManager) -> TraderState:
    """The state as its own file gives it."""
    return decode_state(encode_state(manager.state, at(0)))[0]


def test_segments_that_both_snapshots_hold_are_removed_and_either_snapshot_restores_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StateManager, "segment_bytes", 4096)
    with opened(tmp_path) as manager:
        begun(manager)
        for number in range(300):
            manager.record(ev.EquityMarked(time=at(number), equity=1000.0 + number, daily_pnl=0.0))
            if number in (200, 250):
                manager.save_blocking()
        before = len(list((tmp_path / "journal" / DATE).glob("segment-*")))
        manager.drop_covered()
        manager.flush()
        sequence = manager.state.sequence
    left = list((tmp_path / "journal" / DATE).glob("segment-*"))
    assert 1 < len(left) < before
    for lost in ("trader_state.json", "trader_state_backup.json"):
        with Folder.open(tmp_path) as folder:
            kept = (tmp_path / lost).read_bytes()
            (tmp_path / lost).unlink()
            loaded = load(folder)
            (tmp_path / lost).write_bytes(kept)
        assert loaded.state is not None
        assert (loaded.state.sequence, loaded.doubtful) == (sequence, False), lost
