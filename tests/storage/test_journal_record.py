"""Encoding and decoding a line of the journal, and decoding segments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import StateError
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
from state.storage.journal.record import Record, SegmentHeader, encode_header, encode_record

SIZE_BYTES = 4096
HEADER, HEADER_CRC = encode_header(SegmentHeader(1, SIZE_BYTES, 0, "00000000"), "run", "now")


def decoded(*contents: bytes) -> list[Item]:
    """What segments 1, 2 ... with these contents hold."""
    segments = [(number, content.ljust(SIZE_BYTES, b"\n")) for number, content in enumerate(contents, 1)]
    return list(decode_segments(segments, 0))


def records_in(items: list[Item]) -> list[Record]:
    return [record for item in items if isinstance(item, Records) for record in item.records]


def end_of(items: list[Item]) -> Position:
    """The end of the valid part, where nothing is damaged."""
    assert isinstance(items[-1], EndOfSegment | Torn)
    return items[-1].position


def lines(count: int, *, durable: int | None = None) -> list[bytes]:
    """The lines of so many records. durable: what each says was on disk (default: all before it)."""
    found, crc = [], HEADER_CRC
    for number in range(1, count + 1):
        known = number - 1 if durable is None else durable
        line, crc = encode_record(crc, number, "run", known, "now", "fill", b"%d" % number)
        found.append(line)
    return found


def test_line_is_one_json_object_with_the_documented_members() -> None:
    line, crc = encode_record(HEADER_CRC, 1, "9b1f22c0", 0, "2026-01-05T09:45:00-05:00", "fill", b'{"shares":100}')
    assert line == (
        b'{"crc":"%08x","sequence":1,"run":"9b1f22c0","durable":0,"time":"2026-01-05T09:45:00-05:00",'
        b'"type":"fill","data":{"shares":100}}\n' % crc
    )


@given(st.text(), st.text(), st.binary(max_size=30).map(lambda b: b'"' + b.hex().encode() + b'"'))
def test_any_text_comes_back(time: str, kind: str, data: bytes) -> None:
    line, _ = encode_record(HEADER_CRC, 1, "run", 0, time, kind, data)
    assert line.count(b"\n") == 1
    items = decoded(HEADER + line)
    (record,) = records_in(items)
    assert (record.time, record.type, bytes(record.data)) == (time, kind, data)
    end = end_of(items)
    assert (end.offset, end.tail) == (len(HEADER + line), b"")


@pytest.mark.parametrize("data", [b"", b"{", b"no", b'{"a":NaN}', b"1 2", b'{"a":\n1}', b'{"a":1}\n', b"[" * 9999])
def test_what_could_not_be_read_back_is_not_journaled(data: bytes) -> None:
    with pytest.raises(StateError, match="not journaled"):
        encode_record(0, 1, "run", 0, "now", "fill", data)


def test_record_is_valid_only_after_the_record_it_was_written_after() -> None:
    first, crc = encode_record(HEADER_CRC, 1, "run", 0, "now", "fill", b"1")
    second, _ = encode_record(crc, 2, "run", 1, "now", "fill", b"2")
    stranger, _ = encode_record(crc ^ 1, 2, "run", 1, "now", "fill", b"2")
    skipping, _ = encode_record(crc, 3, "run", 1, "now", "fill", b"3")
    for third, expected in ((second, 2), (stranger, 1), (skipping, 1)):
        assert len(records_in(decoded(HEADER + first + third))) == expected


def test_segment_without_content_is_unused_and_garbage_is_not() -> None:
    assert isinstance(next(decode_segments([(1, b"")], 0)), Unused)
    assert isinstance(decoded(b"")[0], Unused)
    items = decoded(HEADER + b"".join(lines(7)), b"garbage")
    end = end_of(items)
    assert [item.segment for item in items if isinstance(item, SegmentStart | Records)] == [1, 1]
    assert (end.segment, end.offset, end.sequence, end.tail) == (2, 0, 7, b"garbage")


@given(st.binary(max_size=200))
def test_hostile_bytes_never_raise(noise: bytes) -> None:
    items = list(decode_segments([(1, HEADER + noise)], 0))
    assert items
    assert records_in(items) == []


def kinds(items: list[Item]) -> list[str]:
    return [f"{type(item).__name__} {item.segment}" for item in items]


def test_whole_segments_are_decoded_one_after_the_other() -> None:
    first = HEADER + b"".join(lines(2))
    crc = end_of(decoded(first)).crc
    second, _ = encode_header(SegmentHeader(2, SIZE_BYTES, 2, f"{crc:08x}"), "run", "now")
    assert kinds(decoded(first, second, b"")) == [
        "SegmentStart 1",
        "Records 1",
        "EndOfSegment 1",
        "SegmentStart 2",
        "EndOfSegment 2",
        "Unused 3",
    ]


def test_an_unfinished_write_is_torn_and_what_was_durable_is_damaged() -> None:
    whole = HEADER + b"".join(lines(3, durable=0))
    torn = decoded(whole[:-20])
    assert kinds(torn) == ["SegmentStart 1", "Records 1", "Torn 1"]
    acknowledged = bytearray(HEADER + b"".join(lines(3)))
    acknowledged[len(HEADER) + 2] ^= 1  # record 2 says that this one was durable
    damaged = decoded(bytes(acknowledged))[-1]
    assert isinstance(damaged, Damaged)
    assert (damaged.segment, damaged.highest) == (1, 3)
    assert "its record 2 says that all up to 1 had been on disk" in damaged.problem


def test_a_later_segment_makes_an_unfinished_write_damage_and_is_not_used() -> None:
    whole = HEADER + b"".join(lines(3))
    later, _ = encode_header(SegmentHeader(2, SIZE_BYTES, 3, "00000000"), "run", "now")
    items = decoded(whole[:-20], later)
    assert kinds(items) == ["SegmentStart 1", "Records 1", "Torn 1", "SegmentStart 2", "Damaged 1", "Damaged 2"]
    assert [item.problem for item in items if isinstance(item, Damaged)] == [
        "is damaged after sequence 2: a later segment follows",
        "comes after the damage and was not used",
    ]


def test_a_segment_that_names_the_damage_before_it_is_used() -> None:
    later, _ = encode_header(SegmentHeader(2, SIZE_BYTES, 9, "00000000", "It was damaged."), "run", "now")
    items = decoded(b"garbage", later)
    assert kinds(items) == ["Damaged 1", "SegmentStart 2", "EndOfSegment 2"]
    assert end_of(items).sequence == 9


def test_segments_that_are_all_unused_are_damage() -> None:
    assert kinds(decoded(b"", b"")) == ["Unused 1", "Unused 2", "Damaged 2"]
    assert decoded() == []


def test_a_first_segment_must_follow_the_snapshot() -> None:
    header, _ = encode_header(SegmentHeader(5, 100, 40, "00000000"), "run", "now")
    segment = (5, header.ljust(len(header) + 100, b"\n"))
    for snapshot, expected in ((None, "EndOfSegment"), (40, "EndOfSegment"), (39, "Damaged")):
        assert type(list(decode_segments([segment], snapshot))[-1]).__name__ == expected
