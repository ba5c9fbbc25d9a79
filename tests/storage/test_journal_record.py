"""One line, there and back; and what a line must not be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import StateError
from state.storage.journal.record import SegmentHeader, encode_header, encode_record, scan_segment

HEADER, HEADER_CRC = encode_header(SegmentHeader(1, 4096, 0, "00000000"), "run", "now")


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
    scan = scan_segment(HEADER + line + b"\n" * 50, 0)
    assert scan is not None
    (record,) = scan.records
    assert (record.time, record.type, bytes(record.data)) == (time, kind, data)
    assert (scan.end, scan.tail) == (len(HEADER + line), b"")


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
        scan = scan_segment(HEADER + first + third, 0)
        assert scan is not None
        assert len(scan.records) == expected


def test_segment_without_content_is_none_and_garbage_is_not() -> None:
    assert scan_segment(b"", 0) is None
    assert scan_segment(b"\n" * 100, 0) is None
    scan = scan_segment(b"garbage" + b"\n" * 100, 7)
    assert scan is not None
    assert (scan.header, scan.records, scan.sequence, scan.tail) == (None, [], 7, b"garbage")


@given(st.binary(max_size=200))
def test_hostile_bytes_never_raise(noise: bytes) -> None:
    scan = scan_segment(HEADER + noise, 0)
    assert scan is not None
    assert scan.records == []
