"""Disks that delay the caller, and a disk that records from which thread it was called."""

import threading
import time

import pytest
from disk_faults import CountingDisk

from state.manager import StateManager
from state.storage.disk import Disk


def put_state_on(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every StateManager that is opened after this call use this disk."""
    opened = StateManager.open
    monkeypatch.setattr(StateManager, "open", lambda logs, session_id: opened(logs, session_id, disk))


class SpyDisk(CountingDisk):
    """Records which calls came from the thread that made it, while `recording` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.recording = False
        self.in_own_thread: list[str] = []
        self.elsewhere: list[str] = []
        self._thread = threading.get_ident()

    def _count(self, name: str) -> None:
        super()._count(name)
        if self.recording:
            own = threading.get_ident() == self._thread
            (self.in_own_thread if own else self.elsewhere).append(name)


class SlowDisk(Disk):
    """Each flush takes `fdatasync_s` or `fsync_s` seconds."""

    def __init__(self) -> None:
        self.fdatasync_s = 0.0
        self.fsync_s = 0.0
        self.flushes = 0

    def fdatasync(self, fd: int) -> None:
        self._wait(self.fdatasync_s)
        super().fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self._wait(self.fsync_s)
        super().fsync(fd)

    def _wait(self, wait_s: float) -> None:
        if wait_s:
            self.flushes += 1
            time.sleep(wait_s)


class DeadDisk(Disk):
    """After `die` no flush returns, until `release`."""

    def __init__(self) -> None:
        self._alive = threading.Event()
        self._alive.set()

    def die(self) -> None:
        """Stop answering, as a network disk whose server is gone."""
        self._alive.clear()

    def release(self) -> None:
        """Let the waiting threads continue."""
        self._alive.set()

    def fdatasync(self, fd: int) -> None:
        self._alive.wait()
        super().fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self._alive.wait()
        super().fsync(fd)
