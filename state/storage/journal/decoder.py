"""The journal's segments, decoded in their order into what they hold. Pure: no files here.

`decode_segments` yields for each segment

    Unused                              made beforehand, nothing written yet
    SegmentStart, Records, EndOfSegment  whole: after the last record nothing but filling
    SegmentStart, Records, Torn          bytes after the last record that no flush had acknowledged
    ..., Damaged                         bytes that were acknowledged are missing, or the segment does not follow

The last valid record is the last one whose crc, chain and sequence are right. What follows it is an unfinished
write, the normal trace of a crash, unless there is evidence that it had been durable: a later record that says so,
a later segment, a file shorter than it was made.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

from state.storage.journal.record import (
    Record,
    SegmentHeader,
    decode_header,
    decode_line,
    decode_lines,
    follow_chain,
)


class Position(msgspec.Struct):
    """Where the valid part of a segment ends, and so where the next record goes.

    offset: bytes of the valid part; 0 where the first line is not valid. crc, sequence: of the last valid record.
    unsure: the bytes before `offset` that no later record calls durable. tail: the bytes after it, without the
    filling.
    """

    segment: int
    size_bytes: int
    offset: int
    crc: int
    sequence: int
    unsure: bytes
    tail: bytes = b""


class Unused(msgspec.Struct, frozen=True):
    """A segment that was made beforehand and not written to."""

    segment: int


class SegmentStart(msgspec.Struct, frozen=True):
    """A valid first line. If it has a `gap`, an earlier run found damage before it, and went on here."""

    segment: int
    header: SegmentHeader


class Records(msgspec.Struct, frozen=True):
    """The valid records of one segment, in order, at least one."""

    segment: int
    records: list[Record]


class EndOfSegment(msgspec.Struct, frozen=True):
    """Nothing but filling follows."""

    segment: int
    position: Position


class Torn(msgspec.Struct, frozen=True):
    """An unfinished write follows, `position.tail`. highest: the highest sequence in its readable lines."""

    segment: int
    position: Position
    highest: int


class Damaged(msgspec.Struct, frozen=True):
    """Something that was on disk is missing or changed.

    problem: the rest of a sentence that begins with the segment's name. position: of the valid part that was
    used, None if nothing was. highest: the highest sequence in any readable line.
    """

    segment: int
    problem: str
    position: Position | None
    highest: int


Item = Unused | SegmentStart | Records | EndOfSegment | Torn | Damaged


def decode_segments(segments: Iterable[tuple[int, bytes]], snapshot_sequence: int | None) -> Iterator[Item]:
    """Decode the segments, given as (number, content) in ascending order.

    snapshot_sequence: of the snapshot that the records are to follow; None if the first segment may begin
    after any record.
    """
    end: Position | None = None  # of the last segment that was used
    damaged = begun = False
    number = 0
    for number, data in segments:
        part = _valid_part(data)
        if part is None:
            yield Unused(number)
            continue
        begun, header = True, part.header
        sequence, crc = (end.sequence, end.crc) if end is not None else (0, 0)
        if header is not None:
            yield SegmentStart(number, header)
            sequence = header.after_sequence + len(part.records)
        claim, highest = _look_beyond(part.tail, sequence)
        breaks = _breaks_before(number, header, end, snapshot_sequence, highest, damaged=damaged)
        if not breaks:
            if part.records:
                yield Records(number, part.records)
            end = _position(number, data, part, sequence, crc)
            breaks = [Damaged(number, text, end, highest) for text in _contradictions(data, part, sequence, claim)]
            if not breaks:
                yield Torn(number, end, highest) if end.tail else EndOfSegment(number, end)
        yield from breaks
        damaged = bool(breaks)
    if number and not begun:
        yield Damaged(number, "holds nothing, not even its first line", None, 0)


class _Part(msgspec.Struct):
    """The valid part of one segment: header None where the first line is not one. end: its length in bytes."""

    header: SegmentHeader | None
    records: list[Record]
    crc: int
    end: int
    tail: bytes


def _valid_part(data: bytes) -> _Part | None:
    """Decode one segment as far as it is valid; None if nothing but filling is in it."""
    content = data[: data.rfind(b"}") + 1]
    if not content and _is_filling(data, 0):
        return None
    records = decode_lines(content)
    header = decode_header(records[0], content) if records else None
    count, crc, end = follow_chain(content, records) if header is not None else (0, 0, 0)
    tail = b"" if _is_filling(data, end) else data[end:].rstrip(b"\n")
    return _Part(header, records[1:count], crc, end, tail)


def _is_filling(data: bytes, start: int) -> bool:
    rest = len(data) - start
    return data.endswith(b"\n" * rest)  # compares memory: 20 times faster than stripping it


def _breaks_before(
    number: int,
    header: SegmentHeader | None,
    end: Position | None,
    snapshot_sequence: int | None,
    highest: int,
    *,
    damaged: bool,
) -> list[Damaged]:
    """What keeps a segment from being used. damaged: the one before it was not used to its end.

    A segment whose first line names the damage before it is used in any case.
    """
    breaks: list[Damaged] = []
    if header is not None and header.gap:
        return breaks
    if not damaged and end is not None and end.tail:
        text = f"is damaged after sequence {end.sequence}: a later segment follows"
        breaks.append(Damaged(end.segment, text, None, 0))
        damaged = True
    if damaged:
        breaks.append(Damaged(number, "comes after the damage and was not used", None, highest))
    elif text := _why_not_next(number, header, end, snapshot_sequence):
        breaks.append(Damaged(number, text, None, highest))
    return breaks


def _why_not_next(
    number: int, header: SegmentHeader | None, end: Position | None, snapshot_sequence: int | None
) -> str:
    """Why a segment does not continue what was read before it, "" if it does.

    The first one stands alone if its number is 1; else a snapshot must hold what was dropped.
    """
    if end is None:
        if header is None:
            return "has no valid first line"
        if number > 1 and snapshot_sequence is not None and header.after_sequence > snapshot_sequence:
            return (
                f"begins after sequence {header.after_sequence}, but the snapshot ends at "
                f"{snapshot_sequence}: what lies between is missing"
            )
    elif header is not None and (header.after_sequence, header.after_crc) != (end.sequence, f"{end.crc:08x}"):
        return f"goes on after sequence {header.after_sequence}, but before it all ends at {end.sequence}"
    return ""  # without a header: the first write into it was cut short, or its tail shows damage


def _position(number: int, data: bytes, part: _Part, sequence: int, crc_before: int) -> Position:
    if part.header is None:  # the first write into a prepared segment was cut short
        return Position(number, len(data), 0, crc_before, sequence, b"", part.tail)
    unsure = _unsure(data, part, sequence)
    return Position(number, part.header.size_bytes, part.end, part.crc, sequence, unsure, part.tail)


def _contradictions(data: bytes, part: _Part, sequence: int, claim: Record | None) -> list[str]:
    """Evidence that more had been on disk than the valid part."""
    problems = []
    if part.header is not None and len(data) < part.header.size_bytes:
        problems.append(f"has {len(data)} bytes, but was made with {part.header.size_bytes}")
    if claim is not None:
        problems.append(
            f"is damaged after sequence {sequence}: its record {claim.sequence} "
            f"says that all up to {claim.durable} had been on disk"
        )
    return problems


def _unsure(data: bytes, part: _Part, sequence: int) -> bytes:
    """The last lines of the valid part, as far as no record says that they reached the disk."""
    count = sequence - part.records[-1].durable if part.records else 1
    if count > len(part.records):
        return data[: part.end]
    start = part.end
    for _ in range(count):
        start = data.rfind(b"\n", 0, start - 1) + 1
    return data[start : part.end]


_LINE_STARTS = re.compile(rb'\n|(?=\{"crc":")')


def _look_beyond(tail: bytes, sequence: int) -> tuple[Record | None, int]:
    """The first whole record in a tail that says more than `sequence` was durable, and the highest sequence.

    Its crc cannot be checked, as the damaged record seeds it. No crash leaves such a line: it is written only after
    the damaged one was durable. Lines are also found by how they begin, as the newline between two may be damaged.
    """
    claim: Record | None = None
    highest = sequence
    for line in _LINE_STARTS.split(tail) if tail else ():
        record = decode_line(line)
        if record is None:
            continue
        highest = max(highest, record.sequence)
        if claim is None and record.durable > sequence:
            claim = record
    return claim, highest
