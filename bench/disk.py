"""The folder for the disk measurements: on an ext4 of its own if one can be mounted, else a plain folder.

Mounting needs root, mkfs.ext4 and a free loop device. The mount is removed at the end, also after an error.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

IMAGE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Place:
    """A folder to measure in, and a description of its file system."""

    folder: Path
    description: str


@contextmanager
def place(parent: Path | None = None, *, mount: bool = True) -> Iterator[Place]:
    """A new folder for the run below `parent` (default: the temporary folder), on its own ext4 if possible."""
    with tempfile.TemporaryDirectory(prefix="trader-bench-", dir=parent) as text:
        folder = Path(text)
        if not mount or not _can_mount():
            yield Place(folder, f"{_filesystem(folder)} (no file system of its own could be mounted)")
            return
        target = folder / "mounted"
        target.mkdir()
        try:
            _mount(folder / "image", target)
        except (OSError, subprocess.SubprocessError):
            yield Place(folder, f"{_filesystem(folder)} (mounting an image failed)")
            return
        try:
            yield Place(target, f"ext4 with a journal, in an image on {_filesystem(folder)}")
        finally:
            _run("umount", str(target))


def machine() -> str:
    """A description of the machine without names, and its load. Above one per core the numbers are unreliable."""
    kind = "virtual machine" if _is_virtual() else "machine"
    what = f"{os.cpu_count()}-core {platform.machine()} {kind}, Linux, Python {platform.python_version()}"
    return f"{what}, load {os.getloadavg()[0]:.1f} at the end"


def _can_mount() -> bool:
    return os.geteuid() == 0 and all(shutil.which(name) for name in ("mkfs.ext4", "mount", "umount"))


def _mount(image: Path, target: Path) -> None:
    with image.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, IMAGE_BYTES)
    _run("mkfs.ext4", "-q", "-F", str(image))
    _run("mount", "-o", "loop,noatime", str(image), str(target))


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def _filesystem(folder: Path) -> str:
    best, found = "", "an unknown file system"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if len(where) > len(best) and (folder / "x").is_relative_to(where):
            best, found = where, kind
    return found


def _is_virtual() -> bool:
    return "hypervisor" in Path("/proc/cpuinfo").read_text()
