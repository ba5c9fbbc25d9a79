"""Snapshots, journal and archive together: what is found when one of them is damaged or gone."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from state_cases import begun, opened, plain, reloaded, replayed, segment

from state.domain import events as ev
from state.manager import StateManager
from state.storage.checkpoints import CheckpointStore
from state.storage.snapshot import BACKUP, MAIN


def pause(text: str, seconds: float = 1) -> ev.Paused:
    return ev.Paused(time=datetime(2025, 10, 6, 13, 45, tzinfo=UTC), reason=text)


def record_pauses(manager: StateManager, *reasons: str) -> None:
    """Record pauses; the last reason then shows which events the state has."""
    for reason in reasons:
        manager.record(pause(reason))
    manager.flush()


def test_a_snapshot_says_which_event_it_holds_and_the_journal_reaches_below_the_backup(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        begun(manager)
        for number in range(30):
            record_pauses(manager, str(number))
            manager.save_blocking()
        last = manager.state.sequence
    found = reloaded(tmp_path).loaded
    assert found.snapshot_sequence == last
    assert found.state is not None
    (tmp_path / MAIN).unlink()
    older = reloaded(tmp_path).loaded
    assert (older.source, older.snapshot_sequence, older.replayed) == (BACKUP, last - 1, 1)
    assert older.state is not None
    assert plain(older.state) == plain(found.state) == plain(replayed(tmp_path))


def test_damage_that_a_snapshot_has_passed_is_not_told_for_ever(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        begun(manager)
        record_pauses(manager, *"abcdef")
        manager.save_blocking()
    file = segment(tmp_path)
    data = bytearray(file.read_bytes())
    data[data.index(b'"c"') + 1] = ord("X")
    file.write_bytes(data)
    with opened(tmp_path, "s2") as manager:
        assert manager.loaded.doubtful
        begun(manager)
        record_pauses(manager, "after the damage")
        manager.save_blocking()
    after = reloaded(tmp_path).loaded
    assert (after.doubtful, after.notes) == (False, [])
    assert after.state is not None
    assert after.state.risk.paused_reason == "after the damage"


def test_a_journal_that_is_gone_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        begun(manager)
        record_pauses(manager, "a")
        manager.save_blocking()
    segment(tmp_path).unlink()
    found = reloaded(tmp_path).loaded
    assert found.doubtful
    assert any("journal is empty" in note for note in found.notes)


# State that was set aside on the same date is not used again


@pytest.mark.parametrize("lost", ["removed", "damaged"])
@pytest.mark.parametrize("way", ["fresh", "other account"])
def test_i8_nothing_is_replayed_across_a_break(tmp_path: Path, way: str, lost: str) -> None:
    """Checkpoints and journal from before the break exist, with higher numbers; both snapshots are lost."""
    with opened(tmp_path, "before") as manager:
        begun(manager)
        record_pauses(manager, *(str(number) for number in range(20)))
        manager.save_blocking()
        CheckpointStore(manager.folder, "before").write(manager.state, {}, {}, datetime.now(UTC))
    with opened(tmp_path, "after") as manager:
        begun(manager, account="DU1234567" if way == "fresh" else "DU7654321", fresh=way == "fresh")
        assert not manager.state.risk.paused
        record_pauses(manager, *(f"new {number}" for number in range(40)))
        manager.save_blocking()
        manager.save_blocking()
        live_state = plain(manager.state)
    for name in (MAIN, BACKUP):
        if lost == "removed":
            (tmp_path / name).unlink()
        else:
            (tmp_path / name).write_bytes(b"torn")
    found = reloaded(tmp_path).loaded
    assert found.state is not None
    assert plain(found.state) == live_state
    assert found.source == "journal"
    assert not found.doubtful


def test_a_start_that_died_while_it_set_aside_leaves_one_of_both_and_no_mixture(tmp_path: Path) -> None:
    """Killed after the snapshots were archived, or after the journal was archived too."""
    for step in ("snapshots moved", "journal moved too"):
        folder = tmp_path / step
        with opened(folder, "before") as manager:
            begun(manager)
            record_pauses(manager, "old")
            manager.save_blocking()
            before = manager.state.sequence
        archive = folder / "archive" / "x"
        archive.mkdir(parents=True, mode=0o700)
        for name in (MAIN, BACKUP):
            if (folder / name).exists():
                (folder / name).rename(archive / name)
        if step == "journal moved too":
            (folder / "journal" / "2025-10-06").rename(archive / "2025-10-06")
        with opened(folder, "after") as manager:
            result = begun(manager)
            assert result.resumed is (step == "snapshots moved")
            assert manager.state.sequence == (before + 1 if result.resumed else 1)
