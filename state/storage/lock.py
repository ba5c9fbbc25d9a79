"""One writer per logs folder: an flock on a file of its own, which is never renamed or removed.

flock and not lockf: a POSIX record lock is released as soon as any descriptor of the file is closed, also one that
was opened only to read it. The kernel releases the lock when the process ends, however it ends. The JSON in the
file (pid, session_id, started) is for people and messages; nothing is decided by it.
"""

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Self

import msgspec

from state.errors import CorruptFileError, DiskError, LockHeldError, TraderError
from state.storage.disk import FILE_MODE
from state.storage.files import Folder

LOCK_NAME = "trader.lock"
_TRIES, _PAUSE_S = 5, 0.02  # a `holder` call of another process owns the lock for microseconds


class LockHolder(msgspec.Struct, frozen=True):
    """The process that holds the lock. pid: 0 where the file does not say. started: ISO 8601 text."""

    pid: int = 0
    session_id: str = ""
    started: str = ""


class FolderLock:
    """The held lock. Release it last; the end of the process releases it too."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def acquire(cls, folder: Folder, session_id: str, started: str, name: str = LOCK_NAME) -> Self:
        """Take the lock, or LockHeldError naming the holder. Blocks for at most a tenth of a second."""
        path = folder.path / name
        fd = _open(name, folder.fd, path, os.O_RDWR | os.O_CREAT)
        try:
            for attempt in range(_TRIES):
                if _try_flock(fd, fcntl.LOCK_EX, path):
                    break
                time.sleep(_PAUSE_S if attempt < _TRIES - 1 else 0)
            else:
                raise LockHeldError(path, _read(fd).pid or None)
            text = msgspec.json.encode(LockHolder(os.getpid(), session_id, started)) + b"\n"
            os.ftruncate(fd, 0)
            os.pwrite(fd, text, 0)
        except OSError as cause:
            os.close(fd)
            raise DiskError("write", path, cause) from cause
        except TraderError:
            os.close(fd)
            raise
        return cls(path, fd)

    def release(self) -> None:
        """Release the lock. The file stays, so that every process locks the same one."""
        with contextlib.suppress(OSError):  # the text is for people; closing releases the lock
            os.ftruncate(self._fd, 0)
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def holder(path: Path) -> LockHolder | None:
    """The live holder of the lock file at `path`, or None. Tries a shared lock and releases it at once."""
    try:
        fd = _open(str(path), None, path, os.O_RDONLY)
    except DiskError as failure:
        if isinstance(failure.cause, FileNotFoundError):
            return None
        raise
    try:
        return None if _try_flock(fd, fcntl.LOCK_SH, path) else _read(fd)
    finally:
        os.close(fd)


def _open(name: str, dir_fd: int | None, path: Path, flags: int) -> int:
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=dir_fd)
    except OSError as cause:
        if cause.errno == errno.ELOOP:
            raise CorruptFileError(path, "it is a symbolic link, which is never followed") from cause
        raise DiskError("open", path, cause) from cause


def _try_flock(fd: int, kind: int, path: Path) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as cause:
        raise DiskError("lock", path, cause) from cause
    return True


def _read(fd: int) -> LockHolder:
    """The holder that the file names; an empty one for an empty or unreadable file."""
    try:
        return msgspec.json.decode(os.pread(fd, 4096, 0), type=LockHolder)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return LockHolder()
