"""Power losses on real file systems: shut down at each call without a flush of their log, then mounted again.

An image on a loop device is mounted, and the state manager writes to it. Before its n-th call the file system is
shut down by the ioctl that file-system developers use for such tests: data that is not on the "disk" yet is lost.
The next mount replays the file system's journal. This needs root, loop devices and mkfs; if one of them is
missing, the row of the table says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crashlab.images import Image
from crashlab.powerloss import TMPFS, History, inline_run, judge
from crashlab.recording import Acked, AcknowledgingDisk, Tree
from crashlab.report import Tally
from state.errors import TraderError
from state.storage.disk import Disk
from state.storage.files import Folder
from state.storage.loader import load

SHUTDOWN_IOCTL, NO_LOG_FLUSH = 0x8004587D, 2
EVENTS = 8
CALLS = ("create", "open_existing", "pwrite", "fdatasync", "fsync", "mkdir", "link", "rename", "unlink")


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system to try. make: mkfs and its flags. options: of mount. size_mb: of the sparse image."""

    name: str
    make: tuple[str, ...]
    options: str
    size_mb: int


KINDS = (
    FileSystem("ext4", ("mkfs.ext4", "-q", "-F"), "loop", 16),
    FileSystem("ext4 noauto_da_alloc", ("mkfs.ext4", "-q", "-F"), "loop,noauto_da_alloc", 16),
    FileSystem("xfs", ("mkfs.xfs", "-q", "-f"), "loop", 320),
)


class ShutdownDisk(AcknowledgingDisk):
    """A real disk whose file system is shut down before the n-th call. at: that n; 0 for never."""

    def __init__(self, mounted: Path, at: int) -> None:
        self.calls = 0
        self.acked = Acked(0)
        self._mounted = mounted
        self._at = at

    def acknowledge(self, sequence: int, *, saved: bool) -> None:
        """Ignored after the shutdown. (XFS lets an fsync of a folder succeed even then.)"""
        if not self._at or self.calls < self._at:
            self.acked = Acked(sequence, saved)

    def tick(self) -> None:
        """Count one call. From the n-th on, the file system refuses every call."""
        self.calls += 1
        if self.calls == self._at:
            fd = os.open(self._mounted, os.O_RDONLY)
            try:
                fcntl.ioctl(fd, SHUTDOWN_IOCTL, struct.pack("<I", NO_LOG_FLUSH))
            finally:
                os.close(fd)


def _counted(name: str) -> Callable[..., Any]:
    def call(self: ShutdownDisk, *args: Any) -> Any:
        self.tick()
        return getattr(Disk, name)(self, *args)

    return call


for _name in CALLS:
    setattr(ShutdownDisk, _name, _counted(_name))


def file_systems(every: int = 1) -> list[Tally]:
    """One row for each file system, shut down before each `every`-th call."""
    return [_tried(kind, every) for kind in KINDS]


def why_not(kind: FileSystem) -> str:
    """Why this file system cannot be tried here, or an empty text."""
    if os.geteuid() != 0:
        return "it needs root"
    if shutil.which(kind.make[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        return f"{kind.make[0]} is not installed"
    if not Path("/dev/loop-control").exists():
        return "there are no loop devices"
    return ""


def _tried(kind: FileSystem, every: int) -> Tally:
    tally = Tally(f"file system: {kind.name}", skipped=why_not(kind))
    if tally.skipped:
        return tally
    folder = Path(tempfile.mkdtemp(prefix="crashlab-fs-", dir=TMPFS if TMPFS.is_dir() else None))
    try:
        with tally.timed():
            _make(kind, folder)
            total = _cut(Tally("dry"), kind, folder, at=0)
            for at in range(1, total + 1, every):
                _cut(tally, kind, folder, at)
    except (OSError, subprocess.CalledProcessError) as error:
        stderr = getattr(error, "stderr", b"") or b""
        tally.skipped = f"{error} {stderr.decode(errors='replace').strip()}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return tally


def _make(kind: FileSystem, folder: Path) -> None:
    with (folder / "empty").open("wb") as image:
        image.truncate(kind.size_mb * 1024 * 1024)
    _run(*kind.make, str(folder / "empty"))
    (folder / "mounted").mkdir()


def _cut(tally: Tally, kind: FileSystem, folder: Path, at: int) -> int:
    """One run on a fresh file system that is shut down before call `at`. Returns the number of calls."""
    tally.points += 1
    _run("cp", "--sparse=always", str(folder / "empty"), str(folder / "image"))
    history = History()
    with _mounted(kind, folder) as mounted:
        disk = ShutdownDisk(mounted, at)
        with contextlib.suppress(TraderError):
            inline_run(mounted / "logs", disk, history, "first", events=EVENTS)
    with _mounted(kind, folder) as mounted:
        if (mounted / "logs").is_dir():
            with Folder.open(mounted / "logs") as logs:
                judge(tally, load(logs), Image(Tree(), disk.acked, at), history)
        elif disk.acked.sequence:
            tally.fail("lost", f"before call {at}: the folder is gone")
    return disk.calls


@contextlib.contextmanager
def _mounted(kind: FileSystem, folder: Path) -> Iterator[Path]:
    mounted = folder / "mounted"
    _run("mount", "-o", kind.options, str(folder / "image"), str(mounted))
    try:
        yield mounted
    finally:
        _run("umount", str(mounted))


def _run(*command: str) -> None:
    environ = os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    subprocess.run(command, check=True, capture_output=True, timeout=60, env=environ)
