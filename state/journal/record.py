"""One record of the journal as one line of text, and back. Pure: no files here.

The format is described in the package's docstring. The crc is zlib's crc32 of everything on the line that
follows the crc member, seeded with the crc of the record before: a record is valid only after the very
record it was written after.
"""

from zlib import crc32

import msgspec

from state.errors import StateError

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


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode
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
    except msgspec.DecodeError as cause:
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
    content = data.rstrip(b"\n")
    if not content:
        return None
    lines = content.split(b"\n")
    header, crc = _read_header(lines[0])
    records: list[Record] = []
    sequence = header.after_sequence if header else after
    used = 1 if header else 0
    if header:
        crc = _follow_chain(lines, records, crc, sequence)
        used += len(records)
        sequence += len(records)
    end = sum(map(len, lines[:used])) + used
    tail = content[end:]
    claim, highest = _look_beyond(tail, sequence)
    return Scan(header, records, crc, sequence, end, tail, claim, highest)


def _read_header(line: bytes) -> tuple[SegmentHeader | None, int]:
    try:
        record = _decode(line)
        if record.type != HEADER_TYPE or record.crc != f"{crc32(line[_BODY_AT:]):08x}":
            return None, 0
        header = _decode_header(record.data)
    except msgspec.DecodeError:
        return None, 0
    return (header, int(record.crc, 16)) if header.after_sequence == record.sequence else (None, 0)


def _follow_chain(lines: list[bytes], records: list[Record], crc: int, sequence: int) -> int:
    """Append the records valid in crc, chain and sequence to `records`; returns the last one's crc."""
    append = records.append
    for line in lines[1:]:
        try:
            record = _decode(line)
        except msgspec.DecodeError:
            break
        found = crc32(line[_BODY_AT:], crc)
        sequence += 1
        if record.crc != "%08x" % found or record.sequence != sequence:  # noqa: UP031 - twice as fast here
            break
        append(record)
        crc = found
    return crc


def _look_beyond(tail: bytes, sequence: int) -> tuple[Record | None, int]:
    """Evidence among the bytes after the last valid record: see Scan.claim and Scan.highest.

    A line counts if it reads as a whole record; its crc cannot be asked for, as the record that seeds it is
    the damaged one. No crash makes such a line: it could only be written once the damaged one was durable.
    """
    claim: Record | None = None
    highest = sequence
    for line in tail.split(b"\n"):
        try:
            record = _decode(line)
        except msgspec.DecodeError:
            continue
        highest = max(highest, record.sequence)
        if claim is None and record.durable > sequence:
            claim = record
    return claim, highest
