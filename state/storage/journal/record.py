"""Records of the journal as lines of text, and back. Pure: no files here.

The package's docstring describes the format. The crc is zlib's crc32 of everything on the line that follows the crc
member, seeded with the crc of the record before. So a record is valid only after the record it was written after.
"""

from zlib import crc32

import msgspec

from state.errors import StateError

# What msgspec raises for damaged text, also for bytes that are not UTF-8 and for brackets nested too deep.
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

    segment: its number; size_bytes: of the file; after_sequence, after_crc: the record it continues; gap: "", or
    the damage because of which it does not continue the record before.
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
    try:  # a line that cannot be read back must not be called durable
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


def decode_line(line: bytes) -> Record | None:
    """A line as a record, its crc unchecked; None for anything else."""
    try:
        return _decode(line)
    except UNREADABLE:
        return None


def decode_lines(content: bytes) -> list[Record]:
    """Every line as a record, up to the first that is none. All at once if they are whole: far faster."""
    try:
        return _decoder.decode_lines(content)
    except UNREADABLE:
        pass  # a torn or damaged line, found below
    records: list[Record] = []
    for line in content.split(b"\n"):
        record = decode_line(line)
        if record is None:
            break
        records.append(record)
    return records


def decode_header(record: Record, content: bytes) -> SegmentHeader | None:
    """The header in `record`, the first line of `content`; None if it is none or its crc is wrong."""
    line = content.partition(b"\n")[0]
    if record.type != HEADER_TYPE or record.crc != f"{crc32(line[_BODY_AT:]):08x}":
        return None
    try:
        header = _decode_header(record.data)
    except UNREADABLE:
        return None
    return header if header.after_sequence == record.sequence else None


def follow_chain(content: bytes, records: list[Record]) -> tuple[int, int, int]:
    """How many of the records are valid in crc, chain and sequence, the last one's crc, and where it ends.

    records: the lines of `content`, at least one.
    """
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
