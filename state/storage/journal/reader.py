"""Reading the journal: what its segments hold (`decoder`), folded into records, a verdict and a position.

Changes nothing; a trader may be writing meanwhile. Clean: only filling follows the last valid record. Torn: an
unfinished write follows it. Corrupt: something that had been durable is missing, also where a snapshot is beyond
the last record. A damaged last record looks like a torn one; only IBKR's records tell the difference.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import msgspec

from state.errors import DiskError
from state.storage.files import Folder
from state.storage.journal.decoder import (
    Damaged,
    EndOfSegment,
    Item,
    Position,
    Records,
    SegmentStart,
    Torn,
    Unused,
    decode_segments,
)
from state.storage.journal.record import Record
from state.storage.journal.segment import SEGMENT_LIMIT_BYTES, segment_name, segment_numbers

_LIVE_TRIES = 3


class Verdict(StrEnum):
    """The condition of the journal's files."""

    EMPTY = "empty"
    CLEAN = "clean"
    TORN = "torn"
    CORRUPT = "corrupt"


class JournalReport(msgspec.Struct):
    """What was found.

    records: in order; their sequence has a gap only where `detail` names damage. detail: sentences for the
    operator. quarantined: names of copies made in quarantine/. last_sequence: the highest sequence ever used; the
    next record gets one more.
    """

    records: list[Record]
    verdict: Verdict
    detail: str
    quarantined: list[str]
    last_sequence: int


class Reading(msgspec.Struct):
    """A report with what a writer needs to go on.

    position: None where the writer has to begin a new segment (number next_segment). gap: the damage that its first
    line must name. damaged: segments to be copied to quarantine/. starts: (segment, the sequence it continues).
    """

    report: JournalReport
    position: Position | None
    next_segment: int
    gap: str
    last_crc: int
    damaged: list[str]
    starts: list[tuple[int, int]]


def read_journal(folder_path: Path, snapshot_sequence: int | None = None) -> JournalReport:
    """Read the journal in a folder without changing anything; an absent folder is an empty journal.

    snapshot_sequence: of the snapshot that the records are to follow. With it, damage before the snapshot does not
    count, and a journal is corrupt that ends before it or begins after it. A writer may be in the middle of a
    write, or remove an old segment, so a journal that is not clean is read again. CorruptFileError, DiskError.
    """
    try:
        folder = Folder.open(folder_path, create=False)
    except DiskError as failure:
        if isinstance(failure.cause, FileNotFoundError):
            return JournalReport([], Verdict.EMPTY, f"There is no journal in {folder_path}.", [], 0)
        raise
    with folder:
        report = read_segments(folder, snapshot_sequence).report
        for _ in range(_LIVE_TRIES - 1):
            if report.verdict in (Verdict.CLEAN, Verdict.EMPTY):
                break
            report = read_segments(folder, snapshot_sequence).report
    return report


def read_segments(folder: Folder, snapshot_sequence: int | None) -> Reading:
    """Read every segment. snapshot_sequence: of the newest valid snapshot, None to read without one."""
    found = _fold(decode_segments(_contents(folder), snapshot_sequence), snapshot_sequence)
    return _conclude(found, folder.path, snapshot_sequence)


def _contents(folder: Folder) -> Iterator[tuple[int, bytes]]:
    for number in segment_numbers(folder):
        data = folder.read_file(segment_name(number), SEGMENT_LIMIT_BYTES)
        if data is not None:  # None: dropped since the listing
            yield number, data


class _Found(msgspec.Struct):
    """The sum of the decoded items.

    damage: that no later segment names in its first line. known: sentences about damage that an earlier run found
    and went on after. position: the end of the last segment that was used. last_segment: the highest number.
    """

    records: list[Record] = []
    starts: list[tuple[int, int]] = []
    damage: list[Damaged] = []
    known: list[str] = []
    position: Position | None = None
    highest: int = 0
    last_segment: int = 0
    empty: bool = True


def _fold(items: Iterable[Item], snapshot_sequence: int | None) -> _Found:
    """Add up what the segments hold."""
    found = _Found()
    for item in items:
        found.last_segment = max(found.last_segment, item.segment)
        found.empty = found.empty and isinstance(item, Unused)
        match item:
            case SegmentStart(segment, header):
                found.starts.append((segment, header.after_sequence))
                if header.gap:
                    found.damage.clear()
                    if snapshot_sequence is None or snapshot_sequence < header.after_sequence:
                        went_on = f"An earlier start found this and went on in {segment_name(segment)}."
                        found.known.append(f"{header.gap} {went_on}")
            case Records(_, records):
                found.records += records
            case EndOfSegment(_, position):
                found.position, found.highest = position, max(found.highest, position.sequence)
            case Torn(_, position, highest):
                found.position, found.highest = position, max(found.highest, highest)
            case Damaged(_, _, position, highest):
                found.damage.append(item)
                found.position, found.highest = position or found.position, max(found.highest, highest)
    return found


def _conclude(found: _Found, path: Path, snapshot_sequence: int | None) -> Reading:
    """The verdict, and where the next record goes."""
    position = found.position
    sequence, crc = (position.sequence, position.crc) if position is not None else (0, 0)
    snapshot = snapshot_sequence or 0
    damage = [f"{segment_name(item.segment)} {item.problem}." for item in found.damage]
    if not damage and not found.empty and snapshot > sequence:
        damage.append(f"The snapshot holds sequence {snapshot}, but the journal in {path} ends at {sequence}.")
    following = found.last_segment + 1
    if damage:
        position = None
    elif position is not None and position.offset == 0:
        following = position.segment  # its first line was cut short: it is written again
    if damage or found.known:
        verdict, detail = Verdict.CORRUPT, " ".join(found.known + damage)
    elif found.empty:
        after = f"; the snapshot ends at sequence {snapshot}" if snapshot else ""
        verdict, detail = Verdict.EMPTY, f"The journal in {path} has no records{after}."
    elif position is not None and position.tail:
        verdict, detail = (
            Verdict.TORN,
            (
                f"{segment_name(position.segment)} ends in {len(position.tail)} bytes of an unfinished "
                f"write after sequence {sequence}; nothing in them had been acknowledged."
            ),
        )
    else:
        verdict, detail = Verdict.CLEAN, f"The journal is whole up to sequence {sequence}."
    last = max(sequence, snapshot, found.highest if damage else 0)
    return Reading(
        report=JournalReport(found.records, verdict, detail, [], last),
        position=position,
        next_segment=following,
        gap=" ".join(damage),
        last_crc=crc,
        damaged=[segment_name(item.segment) for item in found.damage],
        starts=found.starts,
    )
