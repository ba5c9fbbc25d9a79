"""What a start loads: main, backup, journal or a checkpoint, and what it does with damaged files."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from journal_cases import damage, used_bytes
from state_cases import (
    DATE,
    TRADE,
    at,
    begun,
    bracket,
    opened,
    plain,
    reloaded,
    run,
    segment,
    signed,
    two_generations,
)

from state.domain import events as ev
from state.storage.codec import NewerSchemaError, encode_state
from state.storage.files import Folder
from state.storage.loader import Loaded, load
from state.storage.snapshot import BACKUP, MAIN


def look(logs: Path) -> Loaded:
    """What a read-only command loads; nothing is moved."""
    with Folder.open(logs) as folder:
        return load(folder)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def swap_side(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"LONG"', b'"SHORT"', 1))


def link(path: Path) -> None:
    elsewhere = path.with_suffix(".elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


DAMAGES = [cut, empty, swap_side, link]


def test_nothing_there_is_a_clean_start(tmp_path: Path) -> None:
    found = look(tmp_path)
    assert (found.state, found.source, found.found_anything, found.doubtful) == (None, "nothing", False, False)


def test_main_and_later_events_of_the_journal_give_the_last_state(tmp_path: Path) -> None:
    live = two_generations(tmp_path)
    found = look(tmp_path)
    assert (found.source, found.replayed, found.main_valid, found.doubtful) == (MAIN, 1, True, False)
    assert found.state is not None
    assert plain(found.state) == plain(live)


@pytest.mark.parametrize("hurt", DAMAGES)
def test_f09_a_damaged_main_gives_way_to_the_backup(tmp_path: Path, hurt: Callable[[Path], None]) -> None:
    live = two_generations(tmp_path)
    hurt(tmp_path / MAIN)
    as_found = (tmp_path / MAIN).read_bytes()
    with opened(tmp_path, "s2") as manager:
        found = manager.loaded
        assert (found.source, found.replayed, found.main_valid) == (BACKUP, 2, False)
        assert found.state is not None
        assert plain(found.state) == plain(live)
        assert found.damaged[0][0] == MAIN
        assert any(note.startswith(f"{MAIN} was not used.") for note in found.notes)
        kept = [path for path in (tmp_path / "quarantine").iterdir() if not path.name.endswith(".txt")]
        assert [path.read_bytes() for path in kept] == [as_found]
        backup = (tmp_path / BACKUP).read_bytes()
        begun(manager)
        manager.save_blocking()
        assert (tmp_path / BACKUP).read_bytes() == backup  # a damaged main never replaces a good backup
    assert reloaded(tmp_path).loaded.source == MAIN


@pytest.mark.parametrize("hurt", DAMAGES)
def test_f09_a_damaged_backup_gets_the_same_checks_and_changes_nothing(
    tmp_path: Path, hurt: Callable[[Path], None]
) -> None:
    live = two_generations(tmp_path)
    hurt(tmp_path / BACKUP)
    found = reloaded(tmp_path).loaded
    assert (found.source, [name for name, _ in found.damaged]) == (MAIN, [BACKUP])
    assert found.state is not None
    assert plain(found.state) == plain(live)
    assert not (tmp_path / BACKUP).exists()


@pytest.mark.parametrize("lost", ["removed", "damaged"])
def test_i9_both_snapshots_lost_the_journal_rebuilds_all(tmp_path: Path, lost: str) -> None:
    live = two_generations(tmp_path)
    for name in (MAIN, BACKUP):
        if lost == "removed":
            (tmp_path / name).unlink()
        else:
            swap_side(tmp_path / name)
    found = look(tmp_path)
    assert (found.source, found.doubtful, found.found_anything) == ("journal", False, True)
    assert found.state is not None
    assert plain(found.state) == plain(live)


def test_main_removed_between_the_renames_of_an_older_writer(tmp_path: Path) -> None:
    live = two_generations(tmp_path)
    (tmp_path / MAIN).unlink()
    found = look(tmp_path)
    assert (found.source, found.damaged) == (BACKUP, [])
    assert found.state is not None
    assert plain(found.state) == plain(live)


def test_i7_the_highest_sequence_is_used_and_a_note_says_why(tmp_path: Path) -> None:
    live = two_generations(tmp_path)
    newer, older = (tmp_path / MAIN).read_bytes(), (tmp_path / BACKUP).read_bytes()
    (tmp_path / MAIN).write_bytes(older)
    (tmp_path / BACKUP).write_bytes(newer)
    found = look(tmp_path)
    assert found.source == BACKUP
    assert found.state is not None
    assert found.state.sequence == live.sequence
    assert any("the newer one was used" in note and MAIN in note for note in found.notes)


def test_i8_a_higher_sequence_of_an_earlier_date_is_not_used(tmp_path: Path) -> None:
    live = two_generations(tmp_path)
    yesterday = msgspec.json.decode(encode_state(live, at(0)))
    yesterday |= {"date": "2025-10-03", "sequence": 5000}
    (tmp_path / BACKUP).write_bytes(signed(yesterday))
    found = look(tmp_path)
    assert (found.source, found.state and found.state.trading_date) == (MAIN, DATE)


def test_a_torn_tail_is_not_damage(tmp_path: Path) -> None:
    live = two_generations(tmp_path)
    file = segment(tmp_path)
    end = used_bytes(file)
    damage(file, end, b'{"crc":"00000000","sequence":99,"ru')
    found = look(tmp_path)
    assert found.state is not None
    assert plain(found.state) == plain(live)
    assert not found.doubtful
    assert any("cut short by the crash" in note for note in found.notes)


def test_a_corrupt_journal_makes_the_state_doubtful(tmp_path: Path) -> None:
    two_generations(tmp_path)
    for name in (MAIN, BACKUP):
        (tmp_path / name).unlink()
    place = segment(tmp_path).read_bytes().index(b'"type":"OrderIntended"')
    damage(segment(tmp_path), place + 9)
    found = look(tmp_path)
    assert found.doubtful
    assert any("The journal is damaged" in note for note in found.notes)
    assert found.state is not None
    assert found.state.orders == {}


def test_what_is_recorded_after_corruption_is_not_lost_by_the_next_crash(tmp_path: Path) -> None:
    """A replay cannot get over the gap, so a start after damage saves at once."""
    two_generations(tmp_path)
    for name in (MAIN, BACKUP):
        (tmp_path / name).unlink()
    damage(segment(tmp_path), segment(tmp_path).read_bytes().index(b'"type":"OrderIntended"') + 9)
    with opened(tmp_path, "s2") as manager:
        begun(manager)
        assert manager.loaded.doubtful
        manager.record(ev.Paused(time=at(50), reason="after the damage"))
        manager.flush()
        live = manager.state  # and no save: the process ends here
    found = reloaded(tmp_path).loaded
    assert found.state is not None
    assert plain(found.state) == plain(live)
    assert found.state.risk.paused_reason == "after the damage"


def test_a_lost_journal_leaves_the_snapshot_and_is_doubtful(tmp_path: Path) -> None:
    two_generations(tmp_path)
    segment(tmp_path).unlink()
    found = look(tmp_path)
    assert (found.source, found.replayed, found.doubtful) == (MAIN, 0, True)
    assert any("what happened after the snapshot is not known" in note for note in found.notes)


def test_a_journal_that_ends_before_the_snapshot_is_doubtful(tmp_path: Path) -> None:
    two_generations(tmp_path)
    file = segment(tmp_path)
    lines = file.read_bytes().split(b"\n")
    kept = b"\n".join(lines[:3]) + b"\n"
    file.write_bytes(kept + b"\n" * (file.stat().st_size - len(kept)))
    found = look(tmp_path)
    assert (found.source, found.doubtful) == (MAIN, True)


def test_an_event_that_cannot_follow_stops_the_replay_there(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        begun(manager)
        manager.record(bracket()[0])
        journal = manager._journal
        assert journal is not None
        journal.append("FromTheFuture", b"{}")
        manager.flush()
    found = look(tmp_path)
    assert found.doubtful
    assert found.state is not None
    assert list(found.state.orders) == [TRADE]
    assert any("FromTheFuture" in note for note in found.notes)


def test_a_checkpoint_is_used_where_both_snapshots_are_damaged(tmp_path: Path) -> None:
    live = two_generations(tmp_path)
    kept = tmp_path / "checkpoints" / "s1"
    kept.mkdir(parents=True, mode=0o700)
    (kept / "000001.json").write_bytes((tmp_path / BACKUP).read_bytes())
    (kept / "000002.json").write_bytes((tmp_path / MAIN).read_bytes())
    (kept / "000003.json").write_bytes(b"torn")
    swap_side(tmp_path / MAIN)
    swap_side(tmp_path / BACKUP)
    found = look(tmp_path)
    assert found.source == "checkpoints/s1/000002.json"
    assert found.state is not None
    assert plain(found.state) == plain(live)


def test_a_checkpoint_of_yesterday_is_not_used_beside_a_journal_of_today(tmp_path: Path) -> None:
    with opened(tmp_path, "s0") as manager:
        begun(manager, "2025-10-03")
        manager.save_blocking()
    kept = tmp_path / "checkpoints" / "s0"
    kept.mkdir(parents=True, mode=0o700)
    (kept / "000001.json").write_bytes((tmp_path / MAIN).read_bytes())
    live = two_generations(tmp_path)
    swap_side(tmp_path / MAIN)
    swap_side(tmp_path / BACKUP)
    found = look(tmp_path)
    assert found.source == "journal"
    assert found.state is not None
    assert plain(found.state) == plain(live)


def test_all_damaged_and_no_journal_is_not_a_clean_start(tmp_path: Path) -> None:
    two_generations(tmp_path)
    segment(tmp_path).unlink()
    swap_side(tmp_path / MAIN)
    swap_side(tmp_path / BACKUP)
    found = look(tmp_path)
    assert (found.state, found.found_anything) == (None, True)


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    run(tmp_path, *bracket())
    content = msgspec.json.decode((tmp_path / MAIN).read_bytes())
    content["schema_version"] = 99
    newer = signed(content)
    (tmp_path / MAIN).write_bytes(newer)
    with pytest.raises(NewerSchemaError):
        opened(tmp_path, "s2")
    assert (tmp_path / MAIN).read_bytes() == newer
    assert not (tmp_path / "quarantine").exists()
    content["schema_version"] = 1
    (tmp_path / MAIN).write_bytes(signed(content))
    opened(tmp_path, "s3").close()  # and the lock was released


def test_loading_changes_nothing_also_beside_a_running_trader(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        begun(manager)
        manager.record(bracket()[0])
        manager.save_blocking()
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        found = look(tmp_path)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        assert found.state is not None
        assert found.state.sequence == manager.state.sequence
