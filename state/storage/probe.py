"""Checks once, at start, whether a flush on this folder's disk is durable.

A flush that returns in less than 20 microseconds has not reached a disk. Some file systems (memory, network,
temporary overlays) do not keep what was flushed. The trader warns and runs.
"""

import os
import time
from pathlib import Path
from statistics import median

import msgspec

from state.errors import DiskError
from state.storage.files import Folder, sync_fd

SUSPICIOUS_US = 20.0
_AREA_BYTES = 64 * 1024
_WHY = {
    "tmpfs": "it is memory: everything is gone after a reboot",
    "ramfs": "it is memory: everything is gone after a reboot",
    "nfs": "it is a network disk: locks and flushes depend on the server",
    "nfs4": "it is a network disk: locks and flushes depend on the server",
    "cifs": "it is a network disk: locks and flushes depend on the server",
    "smb3": "it is a network disk: locks and flushes depend on the server",
    "9p": "it is shared from a host machine: a flush may stop at the host's memory",
    "virtiofs": "it is shared from a host machine: a flush may stop at the host's memory",
    "vboxsf": "it is shared from a host machine: a flush may stop at the host's memory",
}


class ProbeReport(msgspec.Struct, frozen=True):
    """median_us: of one small write and its flush. fs_type: as the kernel calls it, "" if unknown."""

    median_us: float
    fs_type: str
    warnings: list[str]


def probe(folder: Folder, writes: int = 15) -> ProbeReport:
    """Measure `writes` flushes in a scratch file and name the file system. DiskError if it cannot write."""
    median_us = _median_flush_us(folder, writes)
    fs_type, options = file_system(folder.path)
    warnings = []
    if median_us < SUSPICIOUS_US:
        warnings.append(f"a flush takes {median_us:.0f} µs on {folder.path}: it cannot be reaching a disk")
    if reason := _why_not_durable(fs_type, options):
        warnings.append(f"{folder.path} is on {fs_type}: {reason}")
    return ProbeReport(median_us, fs_type, warnings)


def file_system(path: Path, mountinfo: str | None = None) -> tuple[str, str]:
    """Type and options of the mount that holds `path`, from /proc/self/mountinfo (see proc(5)); "" if unknown."""
    if mountinfo is None:
        try:
            mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        except OSError:  # not Linux: nothing is known
            return "", ""
    resolved = path.resolve()
    best, found = -1, ("", "")
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 6 or len(kind) < 3:
            continue
        point = Path(_unescape(fields[4]))
        if resolved.is_relative_to(point) and len(point.parts) >= best:  # a later mount hides an earlier one
            best, found = len(point.parts), (kind[0], f"{fields[5]},{kind[2]}")
    return found


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def _why_not_durable(fs_type: str, options: str) -> str:
    if fs_type == "overlay" and "volatile" in options.split(","):
        return "it is mounted volatile: flushes are ignored"
    if fs_type.startswith("fuse"):
        return "a user program serves it: how durable a flush is depends on that program"
    return _WHY.get(fs_type, "")


def _median_flush_us(folder: Folder, writes: int) -> float:
    """The median of what the journal does: overwrite a few bytes of a filled file, then fdatasync."""
    name = folder.write_temp("probe", b"\n" * _AREA_BYTES)
    times_us = []
    try:
        fd = folder.disk.open_existing(name, folder.fd)
        try:
            for turn in range(writes):
                start = time.perf_counter()
                folder.disk.pwrite(fd, b"%0255d\n" % turn, 256 * turn % _AREA_BYTES)
                sync_fd(folder.disk.fdatasync, fd, folder.path / name)
                times_us.append((time.perf_counter() - start) * 1e6)
        finally:
            os.close(fd)
    except OSError as cause:
        raise DiskError("measure", folder.path / name, cause) from cause
    finally:
        folder.discard(name)
    return median(times_us)
