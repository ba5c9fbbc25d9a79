"""Helpers of the journal's tests: opening one in a folder, and reading it."""

from pathlib import Path

from state.storage.disk import Disk
from state.storage.files import Folder
from state.storage.journal import Journal
from state.storage.journal.reader import JournalReport

CLOCK = "2026-01-05T09:45:00-05:00"


def clock() -> str:
    """A stopped clock: records of the same event differ in the run only."""
    return CLOCK


def payload(number: int) -> bytes:
    """An event whose length is always the same, so that records of different runs end at the same offsets."""
    return b'{"n":"%05d"}' % number


def open_journal(path: Path, snapshot: int = 0, size_bytes: int = 4096, disk: Disk | None = None) -> Journal:
    """A journal without an event loop, in `path`/journal."""
    folder = Folder.open(path, disk=disk).subfolder("journal")
    return Journal.open(folder, snapshot_sequence=snapshot, clock=clock, loop=None, segment_bytes=size_bytes)


def write_each(path: Path, first: int, last: int, size_bytes: int = 4096) -> None:
    """Append events `first` to `last`, each durable before the next, and close."""
    journal = open_journal(path, size_bytes=size_bytes)
    for number in range(first, last + 1):
        journal.append_durable_blocking("test", payload(number))
    journal.close()


def numbers(report: JournalReport) -> list[int]:
    """The payloads' numbers, in order."""
    return [int(bytes(record.data)[6:11]) for record in report.records]


def segment(path: Path, number: int = 1) -> Path:
    return path / "journal" / f"segment-{number:08d}.jsonl"


def used_bytes(file: Path) -> int:
    """How much of a segment is written."""
    return len(file.read_bytes().rstrip(b"\n")) + 1


def damage(file: Path, at: int, byte: bytes = b"\x00") -> None:
    """Change one byte in place."""
    content = bytearray(file.read_bytes())
    content[at : at + 1] = byte
    file.write_bytes(content)
