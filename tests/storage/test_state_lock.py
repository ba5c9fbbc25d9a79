"""One writer: the kernel holds the lock, the file only names the holder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from state.errors import CorruptFileError, LockHeldError
from state.storage.files import Folder
from state.storage.lock import FolderLock, LockHolder, holder

REPO = Path(__file__).resolve().parents[2]
HOLD = """
import sys
from pathlib import Path
from state.storage.files import Folder
from state.storage.lock import FolderLock
lock = FolderLock.acquire(Folder.open(Path(sys.argv[1])), "session-1", "2026-01-05T09:30:00-05:00")
sys.stdout.write("held\\n"); sys.stdout.flush(); sys.stdin.read()
"""


def start_other_trader(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=REPO,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate(timeout=10)


def test_second_trader_is_refused_with_the_pid(tmp_path: Path) -> None:
    other = start_other_trader(tmp_path)
    try:
        with pytest.raises(LockHeldError, match=f"pid {other.pid}") as caught:
            FolderLock.acquire(Folder.open(tmp_path), "session-2", "now")
        assert caught.value.exit_code == 4
        assert holder(tmp_path / "trader.lock") == LockHolder(other.pid, "session-1", "2026-01-05T09:30:00-05:00")
    finally:
        end(other)


def test_lock_of_a_killed_trader_is_free_at_once(tmp_path: Path) -> None:
    end(start_other_trader(tmp_path))
    assert str(os.getpid()) not in (tmp_path / "trader.lock").read_text()
    assert holder(tmp_path / "trader.lock") is None
    with FolderLock.acquire(Folder.open(tmp_path), "session-2", "now"):
        assert holder(tmp_path / "trader.lock") == LockHolder(os.getpid(), "session-2", "now")
    assert holder(tmp_path / "trader.lock") is None


def test_reading_the_file_does_not_drop_the_lock(tmp_path: Path) -> None:
    with FolderLock.acquire(Folder.open(tmp_path), "session-1", "now"):
        (tmp_path / "trader.lock").read_text()  # opens and closes: would drop a POSIX record lock
        with pytest.raises(LockHeldError):
            FolderLock.acquire(Folder.open(tmp_path), "session-2", "now")


def test_garbage_in_the_file_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "trader.lock").write_bytes(b"\xff\x00 not json")
    assert holder(tmp_path / "trader.lock") is None
    with FolderLock.acquire(Folder.open(tmp_path), "session-1", "now"):
        (tmp_path / "trader.lock").write_bytes(b'{"session_id":"\xff"}')
        assert holder(tmp_path / "trader.lock") == LockHolder()
        with pytest.raises(LockHeldError, match="another process"):
            FolderLock.acquire(Folder.open(tmp_path), "session-2", "now")


def test_symlink_as_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "trader.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(CorruptFileError, match="symbolic link"):
        FolderLock.acquire(Folder.open(tmp_path), "session-1", "now")
    assert (tmp_path / "victim").read_text() == "precious"


def test_no_file_means_no_holder(tmp_path: Path) -> None:
    assert holder(tmp_path / "trader.lock") is None
