"""One folder of the state, opened once: reading and writing whole files in it.

Every call uses the folder's own descriptor, so that nothing that happens to the path afterwards can redirect a read
or a write. Symbolic links are never followed, and only plain files of the trader's own user are read. A file that
is written here appears whole or not at all. `quarantine/` keeps damaged files as they were found; nothing in it is
overwritten.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from state.errors import CorruptFileError, DiskError, InvariantError, StateError, SyncFailedError
from state.storage.disk import FOLDER_MODE, Disk, write_all
from state.storage.layout import QUARANTINE

READ_LIMIT_BYTES = 16 * 1024 * 1024
_TEMP_NAME = re.compile(r"\.(.+)\.\d+\.[0-9a-f]{16}\.tmp")


class Folder:
    """A directory of the trader, held open until `close`.

    Blocking. Several threads may use it, since it keeps no state but descriptors. Errors are DiskError (the system
    refused), SyncFailedError (a flush failed, final), CorruptFileError (not a plain file of the trader's user) and
    StateError (the folder itself cannot be trusted).
    """

    def __init__(self, path: Path, fd: int, disk: Disk, root: "Folder | None" = None) -> None:
        """Use `Folder.open` or `subfolder`. root: the folder whose quarantine/ takes damaged files."""
        self.path = path
        self.disk = disk
        self.fd = fd
        self._root = root or self

    @classmethod
    def open(cls, path: Path, *, create: bool = True, disk: Disk | None = None) -> Self:
        """Open the folder at `path`, creating it and its parents (0700) unless told not to."""
        path = path.absolute()
        with _disk_errors("open the folder", path):
            if create:
                for missing in reversed([p for p in (path, *path.parents) if not p.exists()]):
                    with contextlib.suppress(FileExistsError):  # another process was quicker
                        os.mkdir(missing, FOLDER_MODE)  # noqa: PTH102 - Path.mkdir gives parents another mode
                        _sync_names(missing.parent)
            fd = _open_folder_fd(path, None)
        return cls(path, _trusted(fd, path, repair=create), disk or Disk())

    def subfolder(self, name: str, *, create: bool = True) -> "Folder":
        """The folder `name` inside this one; it shares this one's quarantine."""
        path = self.path / _plain(name)
        with _disk_errors("open the folder", path):
            if create:
                with contextlib.suppress(FileExistsError):
                    self.disk.mkdir(name, self.fd)
                    self.sync()
            fd = _open_folder_fd(Path(name), self.fd)
        return Folder(path, _trusted(fd, path, repair=create), self.disk, self._root)

    def close(self) -> None:
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def names(self) -> list[str]:
        """Every name in the folder, sorted, without leftovers of writes that never finished."""
        return [name for name in self._entries() if not _TEMP_NAME.fullmatch(name)]

    def exists(self, name: str) -> bool:
        """Whether there is a file, a folder or a link of that name."""
        try:
            os.stat(_plain(name), dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def read_file(self, name: str, limit_bytes: int = READ_LIMIT_BYTES) -> bytes | None:
        """The whole content, or None where there is no such file.

        CorruptFileError for a link, a folder, a device, another user's file or one beyond the limit.
        """
        path = self.path / _plain(name)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a planted FIFO must not block
        try:
            fd = os.open(name, flags, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        except OSError as cause:
            if cause.errno == errno.ELOOP:
                raise CorruptFileError(path, "it is a symbolic link, which is never followed") from cause
            raise DiskError("open", path, cause) from cause
        try:
            _check_plain_file(status := os.fstat(fd), path, limit_bytes)
            with _disk_errors("read", path):
                data = os.read(fd, status.st_size + 1)  # in one piece, unless the file is growing
                while (piece := os.read(fd, 65536)) and len(data) <= limit_bytes:
                    data += piece
        finally:
            os.close(fd)
        if len(data) > limit_bytes:
            raise CorruptFileError(path, f"it grew beyond {limit_bytes} bytes while being read")
        return data

    def write_new(self, name: str, data: bytes) -> None:
        """Write a whole file under `name`, replacing what was there in one step, and flush it."""
        temp = self.write_temp(name, data)
        try:
            self.rename(temp, name)
        except DiskError:
            self.abandon(temp)
            raise
        self.sync()

    def write_temp(self, name: str, data: bytes) -> str:
        """Write and flush a whole file under a temporary name beside `name`; returns that name.

        On an error nothing is left behind.
        """
        temp = self.temp_name(name)
        path = self.path / temp
        with _disk_errors("create", path):
            fd = self.disk.create(temp, self.fd)
        try:
            try:
                with _disk_errors("write", path):
                    write_all(self.disk, fd, data, 0)
                sync_fd(self.disk.fsync, fd, path)
            finally:
                self.disk.close(fd)
        except DiskError:
            self.abandon(temp)
            raise
        return temp

    def temp_name(self, name: str) -> str:
        """An unpredictable name that `remove_leftovers` recognises."""
        return f".{_plain(name)}.{os.getpid()}.{secrets.token_hex(8)}.tmp"

    def rename(self, source: str, target: str) -> None:
        """Move a name inside the folder, replacing the target in one step. Durable after `sync`."""
        with _disk_errors("rename", self.path / source):
            self.disk.rename(_plain(source), _plain(target), self.fd, self.fd)

    def discard(self, name: str) -> None:
        """Remove a name, if it is there. An error is DiskError."""
        with _disk_errors("remove", self.path / name), contextlib.suppress(FileNotFoundError):
            self.disk.unlink(_plain(name), self.fd)

    def abandon(self, temp: str) -> None:
        """Remove a temp file after an error. A second error is ignored: `remove_leftovers` removes it later."""
        with contextlib.suppress(DiskError):
            self.discard(temp)

    def sync(self) -> None:
        """Bring the names in this folder to the disk. SyncFailedError is final."""
        sync_fd(self.disk.fsync, self.fd, self.path)

    def remove_leftovers(self) -> list[str]:
        """Remove temp files of writes that a crash cut short; returns their names.

        Only plain files with the name of a temp file are removed. To be called under the folder's lock, when no
        other writer can have one of them open.
        """
        found = [name for name in self._entries() if _TEMP_NAME.fullmatch(name) and self._is_file(name)]
        for name in found:
            self.discard(name)
        return found

    def _entries(self) -> list[str]:
        """Every name, sorted. Uses a descriptor of its own, since threads that share one share its position."""
        with _disk_errors("list the folder", self.path):
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd)
            try:
                return sorted(entry.name for entry in os.scandir(fd))
            finally:
                os.close(fd)

    def _is_file(self, name: str) -> bool:
        try:
            return stat.S_ISREG(os.stat(name, dir_fd=self.fd, follow_symlinks=False).st_mode)
        except FileNotFoundError:  # removed since the folder was listed
            return False

    def quarantine(self, name: str, reason: str) -> str:
        """Move a damaged file to quarantine/, with the reason beside it; returns its new name."""
        path = self.path / _plain(name)
        with self._root.subfolder(QUARANTINE) as kept:
            target = _reserve(kept, name, f"{reason}\nIt was found as {path}.\n")
            with _disk_errors("move to quarantine", path):
                self.disk.rename(name, target, self.fd, kept.fd)
            kept.sync()
            self.sync()
        return target

    def quarantine_copy(self, name: str, data: bytes, reason: str) -> str:
        """Keep a copy of bytes found in the file `name`, which stays; returns the copy's name."""
        with self._root.subfolder(QUARANTINE) as kept:
            target = _reserve(kept, name, f"{reason}\nIt was found in {self.path / _plain(name)}.\n")
            kept.write_new(target, data)
        return target


def existing_folder(path: Path) -> Folder | None:
    """The folder at `path`, or None where there is none. StateError, DiskError as `Folder.open`."""
    return _unless_missing(lambda: Folder.open(path, create=False))


def existing_subfolder(folder: Folder, name: str) -> Folder | None:
    """The folder `name` inside `folder`, or None where there is none."""
    return _unless_missing(lambda: folder.subfolder(name, create=False))


def _unless_missing(open_folder: Callable[[], Folder]) -> Folder | None:
    try:
        return open_folder()
    except DiskError as error:
        if isinstance(error.cause, FileNotFoundError):
            return None
        raise


def sync_fd(call: Callable[[int], None], fd: int, path: Path) -> None:
    """Flush by `call` (fsync or fdatasync of a Disk). Any error is final, so it is SyncFailedError."""
    try:
        call(fd)
    except OSError as cause:
        raise SyncFailedError("flush to disk", path, cause) from cause


@contextlib.contextmanager
def _disk_errors(operation: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        raise DiskError(operation, path, cause) from cause


def _open_folder_fd(path: Path, parent_fd: int | None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)


def _sync_names(path: Path) -> None:
    """Flush the names in a folder of any user; one that cannot be read is left alone."""
    with contextlib.suppress(PermissionError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _trusted(fd: int, path: Path, *, repair: bool) -> int:
    """The descriptor, if no other user may write in the folder; else it is closed and StateError is raised.

    repair: take the permissions of other users away, which a checkout may have left. Readers change nothing.
    """
    status = os.fstat(fd)
    problem = ""
    if status.st_uid != os.geteuid():
        problem = f"it belongs to user id {status.st_uid}, not to the trader's user id {os.geteuid()}"
    elif status.st_mode & 0o002:
        problem = "every user of this machine may write in it"
    if problem:
        os.close(fd)
        raise StateError(
            f"The folder {path} cannot be trusted: {problem}.",
            f"Check what is in it, then: chown {os.geteuid()} {path}; chmod 700 {path}.",
        )
    if repair and status.st_mode & 0o077:
        with contextlib.suppress(OSError):  # on a read-only disk the next write gives the clearer error
            os.fchmod(fd, FOLDER_MODE)
    return fd


def _plain(name: str) -> str:
    """The name, if it is a single path component."""
    if not name or name in {".", ".."} or "/" in name or "\0" in name:
        raise InvariantError(f"{name!r} is not a plain file name.")
    return name


def _check_plain_file(status: os.stat_result, path: Path, limit_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise CorruptFileError(path, "it is not a plain file")
    if status.st_uid != os.geteuid():
        raise CorruptFileError(path, f"it belongs to user id {status.st_uid}, not to the trader's user")
    if status.st_size > limit_bytes:
        raise CorruptFileError(path, f"it has {status.st_size} bytes, more than the {limit_bytes} allowed")


def _reserve(kept: Folder, name: str, reason: str) -> str:
    """A free name in quarantine/, reserved by creating its .reason.txt first, so that nothing is overwritten."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    for attempt in range(1, 1000):
        target = f"{stamp}-{name}" if attempt == 1 else f"{stamp}-{attempt}-{name}"
        note = f"{target}.reason.txt"
        with _disk_errors("write", kept.path / note):
            try:
                fd = kept.disk.create(note, kept.fd)
            except FileExistsError:
                continue
            try:
                write_all(kept.disk, fd, reason.encode(), 0)
                sync_fd(kept.disk.fsync, fd, kept.path / note)
            finally:
                kept.disk.close(fd)
        if not kept.exists(target):
            return target
    raise StateError(f"{kept.path} is full of quarantined files.", "Check them and move them away.")
