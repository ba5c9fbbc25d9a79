"""One record of the journal as one line of text, and back. Pure: no files here.

The format is described in the package's docstring. The crc is zlib's crc32 of everything on the line that
follows the crc member, seeded with the crc of the record before: a record is valid only after the very
record it was written after.
"""

import re
from zlib import crc32

import msgspec

from state.errors import StateError

# What msgspec raises for damaged text: also for a byte that is not UTF-8, and for brackets nested without end.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
HEADER_TYPE = "journal.segment"
_PREFIX = b'{"crc":"%08x",'
_BODY_AT = len(_PREFIX % 0)


class Record(msgspec.Struct, frozen=True, gc=False):
    """One event as it is on disk.

    sequence: 1, 2, 3 … without a gap; run: nonce of the run that wrote it; durable: the highest sequence
    known to be on disk when it was written; time: ISO 8601, the writer's clock; data: the event, still JSON.
    """

    crc: str
    sequence: int
    run: str
    durable: int
    time: str
    type: str
    data: msgspec.Raw


class SegmentHeader(msgspec.Struct, frozen=True):
    """Data of a segment's first line.

    segment: its number; size_bytes: how long the file was made; after_sequence, after_crc: the record it
    continues; gap: empty, or why it does not continue the record before (damage, told when it was found).
    """

    segment: int
    size_bytes: int
    after_sequence: int
    after_crc: str
    gap: str = ""


class _Body(msgspec.Struct, frozen=True, gc=False):
    sequence: int
    run: str
    durable: int
    time: str
    type: str
    data: msgspec.Raw


class Scan(msgspec.Struct):
    """What one segment's bytes say.

    header is None where the first line is not a valid header. crc, sequence: of the last valid record (or the
    header). end: where that record ends, in bytes. tail: what follows it, without the filling; b"" is a
    clean end. claim: the first whole record in the tail that says more than `sequence` was durable, if any.
    highest: the highest sequence any readable line mentions.
    """

    header: SegmentHeader | None
    records: list[Record]
    crc: int
    sequence: int
    end: int
    tail: bytes
    claim: Record | None
    highest: int


_LINE_STARTS = re.compile(rb'\n|(?=\{"crc":")')
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Record)
_decode = _decoder.decode
_decode_header = msgspec.json.Decoder(SegmentHeader).decode


def encode_record(
    seed: int, sequence: int, run: str, durable: int, time: str, type_: str, data: bytes
) -> tuple[bytes, int]:
    """The line (with its newline) and its crc, which seeds the next. StateError if data is not one-line JSON."""
    body = _encode(_Body(sequence, run, durable, time, type_, msgspec.Raw(data)))[1:]
    crc = crc32(body, seed)
    line = b"".join((_PREFIX % crc, body, b"\n"))
    try:  # what cannot be read back must not be acknowledged
        _decode(line)
    except UNREADABLE as cause:
        what = f"The event {type_} is not JSON and was not journaled: {cause}."
        raise StateError(what, "This is a defect: report it with the log.") from cause
    if b"\n" in data:
        raise StateError(f"The event {type_} spans several lines and was not journaled.", "Encode it compactly.")
    return line, crc


def encode_header(header: SegmentHeader, run: str, time: str) -> tuple[bytes, int]:
    """The first line of a segment and its crc, with which the segment's own chain starts (seed 0)."""
    after = header.after_sequence
    return encode_record(0, after, run, after, time, HEADER_TYPE, _encode(header))


def scan_segment(data: bytes, after: int) -> Scan | None:
    """Read one segment's bytes; None if nothing but filling is in it. after: the last sequence before it."""
    content = data[: data.rfind(b"}") + 1]
    if not content and _is_filling(data, 0):
        return None
    records = _decode_lines(content)
    header = _valid_header(records[0], content) if records else None
    crc, sequence, end = 0, after, 0
    if header is None:
        records = []
    else:
        count, crc, end = _follow_chain(content, records)
        sequence = header.after_sequence + count - 1
        records = records[1:count]
    tail = b"" if _is_filling(data, end) else data[end:].rstrip(b"\n")
    claim, highest = _look_beyond(tail, sequence)
    return Scan(header, records, crc, sequence, end, tail, claim, highest)


def _is_filling(data: bytes, start: int) -> bool:
    rest = len(data) - start
    return data.endswith(b"\n" * rest)  # a comparison of memory: 20 times faster than stripping it


def _decode_lines(content: bytes) -> list[Record]:
    """Every line as a record, up to the first that is none. All at once if they are whole: far faster."""
    try:
        return _decoder.decode_lines(content)
    except UNREADABLE:
        pass  # a torn or damaged line, which the second look finds
    records: list[Record] = []
    for line in content.split(b"\n"):
        try:
            records.append(_decode(line))
        except UNREADABLE:
            break
    return records


def _valid_header(record: Record, content: bytes) -> SegmentHeader | None:
    line = content.partition(b"\n")[0]
    if record.type != HEADER_TYPE or record.crc != f"{crc32(line[_BODY_AT:]):08x}":
        return None
    try:
        header = _decode_header(record.data)
    except UNREADABLE:
        return None
    return header if header.after_sequence == record.sequence else None


def _follow_chain(content: bytes, records: list[Record]) -> tuple[int, int, int]:
    """How many of the records are valid in crc, chain and sequence, the last one's crc, and where it ends."""
    view = memoryview(content)
    find = content.find
    count = crc = start = 0
    sequence = records[0].sequence
    for record in records:
        stop = find(b"\n", start)
        if stop < 0:
            stop = len(content)
        found = crc32(view[start + _BODY_AT : stop], crc)
        if record.crc != found.to_bytes(4, "big").hex() or record.sequence != sequence:
            break
        crc = found
        count += 1
        sequence += 1
        start = stop + 1
    return count, crc, start


def _look_beyond(tail: bytes, sequence: int) -> tuple[Record | None, int]:
    """Evidence among the bytes after the last valid record: see Scan.claim and Scan.highest.

    A line counts if it reads as a whole record; its crc cannot be asked for, as the record that seeds it is
    the damaged one. No crash makes such a line: it could only be written once the damaged one was durable.
    Lines are found by how they begin, too, as it may be the newline between two that is damaged.
    """
    claim: Record | None = None
    highest = sequence
    for line in _LINE_STARTS.split(tail):
        try:
            record = _decode(line)
        except UNREADABLE:
            continue
        highest = max(highest, record.sequence)
        if claim is None and record.durable > sequence:
            claim = record
    return claim, highest
