"""The snapshot store: main is whole at every moment, and the backup was verified."""

import errno
import os
import threading
from pathlib import Path

import pytest
from disk_faults import CountingDisk, FailingDisk, PowerCut

from state.errors import SnapshotFailedError, StateError, SyncFailedError
from state.storage.disk import Disk
from state.storage.files import Folder
from state.storage.snapshot import BACKUP, MAIN, SnapshotStore


def accept(_: bytes) -> None:
    """Every content is valid."""


def store_with(path: Path, *contents: bytes, disk: Disk | None = None) -> SnapshotStore:
    """A store whose folder holds these generations, the last as main; writes go through `disk` from now on."""
    before = SnapshotStore(Folder.open(path))
    for content in contents:
        before.write(content, accept)
    store = SnapshotStore(Folder.open(path, disk=disk))
    store.mark_main_valid(bool(contents))
    return store


def files(path: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in sorted(path.iterdir()) if entry.is_file()}


def test_two_generations_are_kept(tmp_path: Path) -> None:
    store = store_with(tmp_path)
    for content, expected in (
        (b"1", {MAIN: b"1"}),
        (b"2", {MAIN: b"2", BACKUP: b"1"}),
        (b"3", {MAIN: b"3", BACKUP: b"2"}),
    ):
        store.write(content, accept)
        assert files(tmp_path) == expected
    assert (tmp_path / MAIN).stat().st_mode & 0o777 == 0o600


def test_main_is_never_missing_and_never_torn(tmp_path: Path) -> None:
    def cut() -> None:
        raise PowerCut

    outcomes = []
    for at in range(1, 30):
        path = tmp_path / str(at)
        disk = CountingDisk(at, cut)
        store = store_with(path, b"1", b"2", disk=disk)
        try:
            store.write(b"3", accept)
        except PowerCut:
            Folder.open(path).remove_leftovers()
            outcomes.append((files(path)[MAIN], files(path)[BACKUP]))
        else:
            assert disk.calls == ["create", "pwrite", "fsync", "link", "rename", "rename", "fsync"]
            break
    assert outcomes == [(b"2", b"1")] * 5 + [(b"2", b"2"), (b"3", b"2")]


def test_unverified_main_never_becomes_the_backup(tmp_path: Path) -> None:
    store = store_with(tmp_path, b"1", b"2")
    (tmp_path / MAIN).write_bytes(b"damaged")
    store.mark_main_valid(False)
    store.write(b"3", accept)
    assert files(tmp_path) == {MAIN: b"3", BACKUP: b"1"}
    kept = sorted((tmp_path / "quarantine").iterdir())
    assert kept[0].read_bytes() == b"damaged"
    store.write(b"4", accept)
    assert files(tmp_path) == {MAIN: b"4", BACKUP: b"3"}


def test_content_that_would_not_load_again_is_not_written(tmp_path: Path) -> None:
    def refuse(_: bytes) -> None:
        raise StateError("It would not load.", "A defect.")

    store = store_with(tmp_path, b"1", b"2")
    with pytest.raises(StateError):
        store.write(b"nonsense", refuse)
    assert files(tmp_path) == {MAIN: b"2", BACKUP: b"1"}


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("create", errno.EROFS),
        ("create", errno.EMFILE),
        ("pwrite", errno.ENOSPC),
        ("pwrite", errno.EIO),
        ("link", errno.ENOSPC),
        ("rename", errno.EIO),
    ],
)
def test_refused_write_changes_nothing_and_may_be_tried_again(tmp_path: Path, call: str, code: int) -> None:
    disk = FailingDisk(**{call: code})
    store = store_with(tmp_path, b"1", b"2", disk=disk)
    with pytest.raises(SnapshotFailedError, match=os.strerror(code)):
        store.write(b"3", accept)
    assert files(tmp_path) == {MAIN: b"2", BACKUP: b"1"}
    disk.failing.clear()
    store.write(b"4", accept)
    assert files(tmp_path) == {MAIN: b"4", BACKUP: b"2"}


def test_i11_failed_flush_is_final_even_if_a_second_one_would_succeed(tmp_path: Path) -> None:
    disk = FailingDisk(fsync=errno.EIO)
    store = store_with(tmp_path, b"1", b"2", disk=disk)
    with pytest.raises(SyncFailedError):
        store.write(b"3", accept)
    assert files(tmp_path) == {MAIN: b"2", BACKUP: b"1"}
    disk.failing.clear()
    calls = len(disk.calls)
    with pytest.raises(SyncFailedError):
        store.write(b"4", accept)
    assert len(disk.calls) == calls
    assert files(tmp_path) == {MAIN: b"2", BACKUP: b"1"}


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_disk_without_links_gets_a_copy(tmp_path: Path, code: int) -> None:
    store = store_with(tmp_path, b"1", b"2", disk=FailingDisk(link=code))
    store.write(b"3", accept)
    assert files(tmp_path) == {MAIN: b"3", BACKUP: b"2"}


def test_a_main_that_somebody_removed_is_written_again(tmp_path: Path) -> None:
    store = store_with(tmp_path, b"1", b"2")
    (tmp_path / MAIN).unlink()
    store.write(b"3", accept)
    assert files(tmp_path) == {MAIN: b"3", BACKUP: b"1"}


def test_main_replaced_by_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    store = store_with(tmp_path / "logs")
    (tmp_path / "logs" / MAIN).symlink_to(tmp_path / "victim")
    store.write(b"1", accept)
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (tmp_path / "logs" / MAIN).is_symlink()


def test_two_writers_do_not_mix_their_generations(tmp_path: Path) -> None:
    """A save whose task was cancelled still runs in its thread when the last save of the run begins."""
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        assert go_on.wait(10)

    store = store_with(tmp_path, disk=CountingDisk(at=1, interrupt=hold))
    slow = threading.Thread(target=store.write, args=(b"1", accept))
    last = threading.Thread(target=store.write, args=(b"2", accept))
    slow.start()
    assert inside.wait(10)
    last.start()
    last.join(0.3)  # enough time to be first, if it could
    go_on.set()
    slow.join(10)
    last.join(10)
    assert files(tmp_path) == {MAIN: b"2", BACKUP: b"1"}
