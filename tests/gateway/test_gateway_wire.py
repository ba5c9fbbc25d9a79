"""Frames and fields of the protocol."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_gateway import wire
from paper_gateway.errors import FrameError, ProtocolError

FIELD = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)


def fed(data: bytes, *, eof: bool = True) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    if eof:
        reader.feed_eof()
    return reader


@given(st.lists(FIELD, min_size=1, max_size=30))
def test_what_is_encoded_is_read_back(fields: list[str]) -> None:
    async def read() -> list[str]:
        return wire.split(await wire.read_frame(fed(wire.encode(*fields))))

    assert asyncio.run(read()) == fields


def test_fields_are_written_as_tws_writes_them() -> None:
    written = wire.split(wire.encode(None, True, False, 7, 430.01, 0.1 + 0.2, wire.UNSET_DOUBLE, "é")[4:])
    assert written == ["", "1", "0", "7", "430.01", "0.3", "1.7976931348623157E308", "é"]


async def test_an_oversize_frame_is_refused_before_it_is_read() -> None:
    with pytest.raises(FrameError, match="4294967295 bytes"):
        await wire.read_frame(fed(b"\xff\xff\xff\xff", eof=False))


async def test_a_frame_that_is_not_complete_in_time_is_an_error() -> None:
    with pytest.raises(FrameError, match="not complete"):
        await wire.read_frame(fed(b"\0\0\0\5ab", eof=False), body_timeout_s=0.01)


@pytest.mark.parametrize("body", [b"abc", b"", b"\xff\xfe\0"])
def test_a_body_that_is_no_message_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        wire.split(body)


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "x", "1,5", "٣"])
def test_numbers_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="lmtPrice"):
        wire.to_float(text, "lmtPrice", 3)


@pytest.mark.parametrize("text", ["", "1.7976931348623157e+308", "1.7976931348623157E308"])
def test_unset_numbers_are_none_in_both_encodings(text: str) -> None:
    assert wire.to_float(text, "lmtPrice") is None


@pytest.mark.parametrize("text", ["0.0", "1e3", "9" * 30, "--1", "٣"])
def test_whole_numbers_are_strict(text: str) -> None:
    with pytest.raises(ProtocolError, match="orderId"):
        wire.to_int(text, "orderId", 3)


def test_a_short_message_names_the_missing_field_and_its_request() -> None:
    reader = wire.FieldReader(["9", "8"])
    reader.skip("id", "version")
    reader.request_id = 42
    with pytest.raises(ProtocolError, match="'symbol'") as caught:
        reader.text("symbol")
    assert caught.value.request_id == 42
