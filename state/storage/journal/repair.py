"""Preparing a journal that was read for writing: a torn tail is blanked, damaged segments are left alone.

A torn tail is copied to quarantine/ and blanked before anything new is written. Without the blanking its records
could continue new ones after the next crash, and would be read as valid. Damaged segments are copied too and stay
as they are; the writer goes on in a new segment, whose first line names the damage.
"""

from state.errors import DiskError
from state.storage.disk import write_all
from state.storage.files import Folder, sync_fd
from state.storage.journal.decoder import Position
from state.storage.journal.reader import Reading
from state.storage.journal.segment import SEGMENT_LIMIT_BYTES, segment_name


def keep_aside(folder: Folder, reading: Reading) -> list[str]:
    """Copy the torn tail, or the damaged segments, to quarantine/. Returns the names of the copies."""
    kept = []
    if reading.position is not None and reading.position.tail:
        name = segment_name(reading.position.segment)
        kept.append(folder.quarantine_copy(f"torn-{name}", reading.position.tail, reading.report.detail))
    for name in reading.damaged:
        data = folder.read_file(name, SEGMENT_LIMIT_BYTES)
        if data is not None:
            kept.append(folder.quarantine_copy(name, data, reading.report.detail))
    return kept


def make_durable(folder: Folder, position: Position) -> None:
    """Blank the torn tail and flush what was read, before the trader acts on it.

    After kill -9, or after a flush that failed in an earlier run, the page cache may show records that are not on
    disk, in pages that it takes for clean. So the last group is written again, and then flushed. The segment's name
    may be in the page cache only, too.
    """
    name = segment_name(position.segment)
    path = folder.path / name
    start = position.offset - len(position.unsure)
    repaired = position.unsure + b"\n" * len(position.tail)
    try:
        fd = folder.disk.open_existing(name, folder.fd)
        try:
            write_all(folder.disk, fd, repaired, start)
            sync_fd(folder.disk.fdatasync, fd, path)
        finally:
            folder.disk.close(fd)
    except OSError as cause:
        raise DiskError("repair", path, cause) from cause
    folder.sync()
