"""Disks that fail, for the tests of the state: each is a real `Disk` until its fault is set."""

import errno
import os
import threading
from collections.abc import Callable

from state.storage.disk import Disk


class PowerCut(BaseException):
    """The power is cut here. Not an Exception, so that nothing in the program handles it."""


class CountingDisk(Disk):
    """Counts the calls, and calls `interrupt` before the n-th one (of all, from 1)."""

    def __init__(self, at: int = 0, interrupt: Callable[[], None] | None = None) -> None:
        self.calls: list[str] = []
        self._at = at
        self._interrupt = interrupt

    def _count(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) == self._at and self._interrupt is not None:
            self._interrupt()

    def create(self, name: str, dir_fd: int) -> int:
        self._count("create")
        return super().create(name, dir_fd)

    def open_existing(self, name: str, dir_fd: int) -> int:
        self._count("open_existing")
        return super().open_existing(name, dir_fd)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        self._count("pwrite")
        return super().pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        self._count("fdatasync")
        super().fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self._count("fsync")
        super().fsync(fd)

    def mkdir(self, name: str, dir_fd: int) -> None:
        self._count("mkdir")
        super().mkdir(name, dir_fd)

    def link(self, source: str, target: str, dir_fd: int) -> None:
        self._count("link")
        super().link(source, target, dir_fd)

    def rename(self, source: str, target: str, source_fd: int, target_fd: int) -> None:
        self._count("rename")
        super().rename(source, target, source_fd, target_fd)

    def unlink(self, name: str, dir_fd: int) -> None:
        self._count("unlink")
        super().unlink(name, dir_fd)


class FailingDisk(CountingDisk):
    """Refuses every call named in `failing` with that errno, while it is named there."""

    def __init__(self, **failing: int) -> None:
        super().__init__()
        self.failing = failing

    def _count(self, name: str) -> None:
        super()._count(name)
        if code := self.failing.get(name):
            raise OSError(code, os.strerror(code))


class TearingDisk(Disk):
    """Cuts the power in the middle of the next `pwrite`: only the bytes that `survives` chooses reach the disk.

    Only a write of the thread that made the disk is cut, not one of a background thread.
    """

    def __init__(self) -> None:
        self.survives: Callable[[int], bool] | None = None
        self._thread = threading.get_ident()

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        if self.survives is None or threading.get_ident() != self._thread:
            return super().pwrite(fd, data, offset)
        for at, byte in enumerate(bytes(data)):
            if self.survives(at):
                os.pwrite(fd, bytes([byte]), offset + at)
        self.survives = None
        raise PowerCut


class ShortWriteDisk(CountingDisk):
    """Writes at most seven bytes at a time, as a kernel may."""

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        return super().pwrite(fd, data[:7], offset)


class UnsyncedDisk(Disk):
    """A disk that keeps nothing: `fdatasync` fails with EIO once, then reports success, as real ones do."""

    def __init__(self) -> None:
        self.syncs = 0

    def fdatasync(self, fd: int) -> None:
        self.syncs += 1
        if self.syncs == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
