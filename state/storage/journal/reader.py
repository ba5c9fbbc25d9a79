"""Reading the journal and judging what was found. Changes nothing; a trader may be writing meanwhile.

The last record K is the last one valid in crc, chain and sequence. Only filling after it: clean. Bytes after
it that no flush had acknowledged: torn, the normal trace of a crash. Evidence that something beyond K had
been durable (a later record that says so, a later segment, a snapshot beyond K, a file shorter than it was
made): corruption. Rot of exactly the last record looks like a torn tail; only IBKR can tell the difference.
"""

from enum import StrEnum
from pathlib import Path

import msgspec

from state.errors import DiskError
from state.storage.files import Folder
from state.storage.journal.record import Record, Scan, SegmentHeader, scan_segment
from state.storage.journal.segment import SEGMENT_LIMIT_BYTES, segment_name, segment_numbers

_LIVE_TRIES = 3


class Verdict(StrEnum):
    """What the journal's files are worth, from the best to the worst."""

    EMPTY = "empty"
    CLEAN = "clean"
    TORN = "torn"
    CORRUPT = "corrupt"


class JournalReport(msgspec.Struct):
    """What was found.

    records: in order, ready to be applied after a snapshot to those with a higher sequence; a gap in the
    sequence only where `detail` tells of damage. detail: sentences for the operator. quarantined: names of
    copies made in quarantine/. last_sequence: the highest number ever used; the next record gets one more.
    """

    records: list[Record]
    verdict: Verdict
    detail: str
    quarantined: list[str]
    last_sequence: int


class Position(msgspec.Struct):
    """Where the next record goes. unsure: the bytes before `offset` that no later record calls durable."""

    segment: int
    size_bytes: int
    offset: int
    crc: int
    sequence: int
    unsure: bytes
    tail: bytes = b""


class Reading(msgspec.Struct):
    """A report with what a writer needs to go on.

    position is None where the writer has to begin a segment of its own (number next_segment), saying `gap` if
    damage came before. damaged: segments not yet copied aside. starts: (segment, the sequence it comes after).
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

    snapshot_sequence: of the snapshot that the records are to follow; with it the journal is also judged by
    that: damage before it no longer counts, and a journal that ends or begins wrongly beside it is corrupt.
    A live writer may be in the middle of a write, or remove an old segment, so what does not look whole is
    looked at again. Raises CorruptFileError and DiskError.
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
    """Read every segment and judge. snapshot_sequence: of the newest valid snapshot, None if not to be judged."""
    judge = _Judge(folder.path, snapshot_sequence)
    for number in segment_numbers(folder):
        data = folder.read_file(segment_name(number), SEGMENT_LIMIT_BYTES)
        if data is not None:  # None: dropped since the listing
            judge.add(number, data)
    return judge.conclude()


class _Judge:
    """Takes the segments in order and keeps count of what continues what."""

    def __init__(self, path: Path, snapshot_sequence: int | None) -> None:
        self._path = path
        self._snapshot = snapshot_sequence
        self._records: list[Record] = []
        self._position: Position | None = None
        self._last_crc = 0
        self._sequence = 0  # K
        self._highest = 0
        self._numbers: list[int] = []
        self._seen = False  # a segment with content
        self._damage: list[str] = []  # sentences not yet answered by a segment that begins after the damage
        self._told: list[str] = []  # damage that an earlier run found, and went on after
        self._damaged: list[str] = []
        self._starts: list[tuple[int, int]] = []

    def add(self, number: int, data: bytes) -> None:
        self._numbers.append(number)
        scan = scan_segment(data, self._sequence)
        if scan is None:  # prepared, not begun
            return
        self._highest = max(self._highest, scan.highest)
        if scan.header is not None:
            self._starts.append((number, scan.header.after_sequence))
        if problem := self._problem(number, scan):
            self._break(number, problem)
        if not self._damage:
            self._take(number, scan, data)
        self._seen = True

    def conclude(self) -> Reading:
        snapshot = self._snapshot or 0
        if self._numbers and not self._seen:
            self._break(self._numbers[-1], "holds nothing, not even its first line")
        if self._seen and not self._damage and snapshot > self._sequence:
            self._damage.append(
                f"The snapshot holds sequence {snapshot}, but the journal in {self._path} ends at {self._sequence}."
            )
        if self._damage:
            self._position = None
        verdict, detail = self._verdict()
        last = max(self._sequence, snapshot, self._highest if self._damage else 0)
        report = JournalReport(self._records, verdict, detail, [], last)
        following = max(self._numbers, default=0) + 1
        if self._position is not None and self._position.offset == 0:
            following = self._position.segment  # its first line was cut short: made anew
        return Reading(
            report, self._position, following, " ".join(self._damage), self._last_crc, self._damaged, self._starts
        )

    def _verdict(self) -> tuple[Verdict, str]:
        if self._damage or self._told:
            return Verdict.CORRUPT, " ".join(self._told + self._damage)
        if not self._seen:
            after = f"; the snapshot at sequence {self._snapshot} stands alone" if self._snapshot else ""
            return Verdict.EMPTY, f"The journal in {self._path} has no records{after}."
        if self._position is not None and self._position.tail:
            return Verdict.TORN, (
                f"{segment_name(self._position.segment)} ends in {len(self._position.tail)} bytes of an unfinished "
                f"write after sequence {self._sequence}; nothing in them had been acknowledged."
            )
        return Verdict.CLEAN, f"The journal is whole up to sequence {self._sequence}."

    def _problem(self, number: int, scan: Scan) -> str:
        """Why this segment does not continue what was read so far, or an empty text."""
        header, position = scan.header, self._position
        if header is not None and header.gap:
            self._resume(number, header.gap, header.after_sequence)
            return ""
        if position is not None and position.tail and not self._damage:
            self._break(position.segment, f"is damaged after sequence {self._sequence}: a later segment follows")
        if self._damage:
            return "comes after the damage and was not used"
        if position is None:
            return self._problem_of_first(number, header)
        if header is None:  # the first write into it was cut short, or it is damaged: what follows will tell
            return ""
        if (header.after_sequence, header.after_crc) != (self._sequence, f"{position.crc:08x}"):
            return f"goes on after sequence {header.after_sequence}, but before it all ends at {self._sequence}"
        return ""

    def _problem_of_first(self, number: int, header: SegmentHeader | None) -> str:
        """The first segment stands alone if it is number 1; else a snapshot must hold what was dropped."""
        if header is None:
            return "has no valid first line"
        if number > 1 and self._snapshot is not None and header.after_sequence > self._snapshot:
            return (
                f"begins after sequence {header.after_sequence}, but the snapshot ends at "
                f"{self._snapshot}: what lies between is missing"
            )
        return ""

    def _resume(self, number: int, gap: str, after_sequence: int) -> None:
        """An earlier run found the damage before this segment, said so in its header and went on."""
        if self._snapshot is None or self._snapshot < after_sequence:
            self._told.append(f"{gap} An earlier start found this and went on in {segment_name(number)}.")
        self._damage, self._damaged, self._position = [], [], None

    def _break(self, number: int, problem: str) -> None:
        self._damage.append(f"{segment_name(number)} {problem}.")
        self._damaged.append(segment_name(number))

    def _take(self, number: int, scan: Scan, data: bytes) -> None:
        """Use the segment's valid part, and judge what follows it."""
        if scan.header is None:  # the first write into a prepared segment was cut short
            self._position = Position(number, len(data), 0, self._last_crc, self._sequence, b"", scan.tail)
        else:
            self._records += scan.records
            self._sequence, self._last_crc = scan.sequence, scan.crc
            self._position = Position(
                number, scan.header.size_bytes, scan.end, scan.crc, scan.sequence, _unsure(scan, data), scan.tail
            )
            if len(data) < scan.header.size_bytes:
                self._break(number, f"has {len(data)} bytes, but was made with {scan.header.size_bytes}")
        if scan.claim is not None:
            self._break(
                number,
                f"is damaged after sequence {self._sequence}: its record {scan.claim.sequence} "
                f"says that all up to {scan.claim.durable} had been on disk",
            )


def _unsure(scan: Scan, data: bytes) -> bytes:
    """The last lines of the valid part, as far as no record says that they reached the disk."""
    count = scan.sequence - scan.records[-1].durable if scan.records else 1
    if count > len(scan.records):
        return data[: scan.end]
    start = scan.end
    for _ in range(count):
        start = data.rfind(b"\n", 0, start - 1) + 1
    return data[start : scan.end]
