"""The open journal: append, wait until durable, remove segments that are not needed any more."""

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Self

from state.errors import InvariantError, StateError, SyncFailedError, TraderError
from state.storage.files import Folder
from state.storage.journal.decoder import Position
from state.storage.journal.reader import JournalReport, Reading, read_segments
from state.storage.journal.record import SegmentHeader, encode_header, encode_record
from state.storage.journal.repair import keep_aside, make_durable
from state.storage.journal.segment import SEGMENT_BYTES, SegmentKeeper, create_segment
from state.storage.journal.writer import Committer, InlineWriter, ThreadedWriter

_log = logging.getLogger(__name__)


class Journal:
    """An open journal. `report`: what was found on opening.

    append, drop_below and wait_durable are called by one thread: the event loop's, or without a loop the only one.
    """

    def __init__(
        self, folder: Folder, reading: Reading, position: Position, run: str, clock: Callable[[], str]
    ) -> None:
        """Use `Journal.open`."""
        self.report: JournalReport = reading.report
        self.run = run
        self._folder = folder
        self._clock = clock
        self._starts = reading.starts
        self._segment = position.segment
        self._size_bytes = position.size_bytes
        self._room = position.size_bytes - position.offset
        self._crc = position.crc
        self._sequence = position.sequence
        self._closed = False
        self._keeper = SegmentKeeper(folder, position.size_bytes, self._background_error)
        self._committer = Committer(folder, self._keeper, position.segment, position.offset, position.size_bytes)
        self._writer: InlineWriter | ThreadedWriter = InlineWriter(self._committer, position.sequence)

    @classmethod
    def open(
        cls,
        folder: Folder,
        *,
        snapshot_sequence: int,
        clock: Callable[[], str],
        loop: asyncio.AbstractEventLoop | None,
        on_failure: Callable[[SyncFailedError], None] | None = None,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> Self:
        """Read, repair and open the journal in `folder`, under the lock of the logs folder. Blocking.

        snapshot_sequence: of the newest valid snapshot, 0 if there is none. clock: the time of a record, ISO
        8601. loop: of those who wait; None for synchronous programs. on_failure: called once, in the loop, when a
        write or flush failed. Damage does not raise: see `report`. DiskError and SyncFailedError when the disk
        refuses.
        """
        run = secrets.token_hex(4)
        folder.remove_leftovers()
        reading = read_segments(folder, snapshot_sequence)
        reading.report.quarantined += keep_aside(folder, reading)
        position = reading.position
        if position is not None and position.offset:
            make_durable(folder, position)
        else:
            position = _begin(folder, reading, run, clock(), segment_bytes)
        journal = cls(folder, reading, position, run, clock)
        if loop is not None:
            journal._writer = ThreadedWriter(journal._committer, position.sequence, loop, on_failure or _ignore)
        return journal

    @property
    def sequence(self) -> int:
        """The sequence of the last appended event."""
        return self._sequence

    @property
    def durable_sequence(self) -> int:
        """The highest sequence known to be on disk."""
        return self._writer.durable

    def append(self, type_: str, data: bytes) -> int:
        """Queue one event (data: compact JSON) and return its sequence. Never waits.

        SyncFailedError after a failure; StateError if it is not one line of JSON or larger than a segment.
        """
        if self._writer.failure is not None:
            raise self._writer.failure
        if self._closed:
            raise InvariantError(f"The event {type_} was appended after the journal was closed.")
        sequence = self._sequence + 1
        now = self._clock()
        line, crc = encode_record(self._crc, sequence, self.run, self._writer.durable, now, type_, data)
        if len(line) > self._room:
            self._begin_next_segment(now, len(line))
            line, crc = encode_record(self._crc, sequence, self.run, self._writer.durable, now, type_, data)
        self._room -= len(line)
        self._crc = crc
        self._sequence = sequence
        self._writer.put((sequence, line, self._segment))
        return sequence

    async def wait_durable(self, sequence: int) -> None:
        """Return once everything up to `sequence` is on disk. SyncFailedError if it never will be."""
        await self._writer.wait(sequence)

    def append_durable_blocking(self, type_: str, data: bytes) -> int:
        """Append and return once it is on disk. Only for a journal opened without an event loop."""
        if isinstance(self._writer, ThreadedWriter):
            raise InvariantError(f"The event {type_} would have blocked the event loop: use wait_durable.")
        sequence = self.append(type_, data)
        self._writer.flush()
        return sequence

    def drop_below(self, sequence: int) -> None:
        """Remove, in the background, every segment whose records are all at or below `sequence`.

        Pass the sequence of the *backup* snapshot, so that nothing is lost if one of the snapshots is.
        """
        floor = max(
            (number for number, after in self._starts if after <= sequence and number <= self._committer.segment),
            default=0,
        )
        if any(number < floor for number, _ in self._starts):
            self._starts = [start for start in self._starts if start[0] >= floor]
            self._keeper.remove_before(floor)

    def flush(self) -> None:
        """Block until all that was appended is on disk. SyncFailedError."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is queued, end the threads, close the files. Blocking; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._writer.close()
            self._keeper.close()

    def _begin_next_segment(self, now: str, needed_bytes: int) -> None:
        """Queue the first line of the next segment; the writer opens that segment when it reaches the line."""
        header = SegmentHeader(self._segment + 1, self._size_bytes, self._sequence, f"{self._crc:08x}")
        line, crc = encode_header(header, self.run, now)
        if len(line) + needed_bytes > self._size_bytes:
            raise StateError(
                f"An event of {needed_bytes} bytes does not fit into a journal segment.",
                "This is a defect, or the segments are set too small.",
            )
        self._segment += 1
        self._starts.append((self._segment, self._sequence))
        self._room = self._size_bytes - len(line)
        self._crc = crc
        self._writer.put((self._sequence, line, self._segment))

    def _background_error(self, error: TraderError) -> None:
        """Called in the background thread. A failed flush is final; anything else is tried again when needed."""
        if isinstance(error, SyncFailedError):
            self._writer.fail(error)
        else:
            _log.warning("journal: %s", error)


def _begin(folder: Folder, reading: Reading, run: str, now: str, size_bytes: int) -> Position:
    """Create a new segment whose first line continues the highest sequence ever used."""
    last = reading.report.last_sequence
    header = SegmentHeader(reading.next_segment, size_bytes, last, f"{reading.last_crc:08x}", reading.gap)
    line, crc = encode_header(header, run, now)
    create_segment(folder, header.segment, size_bytes, line)
    reading.starts.append((header.segment, last))
    return Position(header.segment, size_bytes, len(line), crc, last, b"")


def _ignore(_: SyncFailedError) -> None:
    """For callers that handle the errors of append and wait_durable only."""
