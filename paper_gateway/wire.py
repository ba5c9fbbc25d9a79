"""Frames and fields of the TWS socket protocol, independent of the messages.

A frame is an unsigned 32-bit big-endian length, then that many bytes: text fields, each ended by NUL.
docs/GATEWAY.md describes the handshake and the supported versions.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Sequence

from paper_gateway.errors import FrameError, ProtocolError

MAX_FRAME_BYTES = 1 << 20
"""The largest frame that is read. An order has about 1 kB."""

UNSET_DOUBLE = 1.7976931348623157e308
UNSET_DOUBLE_TEXT = "1.7976931348623157E308"
UNSET_INTEGER = 2**31 - 1

Field = str | int | float | bool | None


async def read_frame(reader: asyncio.StreamReader, body_timeout_s: float | None = None) -> bytes:
    """The body of the next frame. Waits without limit for a frame to begin.

    Raises FrameError for a length beyond MAX_FRAME_BYTES or a body that takes longer than body_timeout_s, and
    asyncio.IncompleteReadError if the peer closes (with `partial` empty between two frames).
    """
    first = await reader.readexactly(1)
    try:
        async with asyncio.timeout(body_timeout_s):
            header = first + await reader.readexactly(3)
            (length,) = struct.unpack(">I", header)
            if length > MAX_FRAME_BYTES:
                raise FrameError(f"a frame has a length of {length} bytes; the limit is {MAX_FRAME_BYTES}")
            return await reader.readexactly(length)
    except TimeoutError:
        raise FrameError(f"a frame was not complete within {body_timeout_s} s") from None


def frame(body: bytes) -> bytes:
    """A frame: the length, then `body`."""
    return struct.pack(">I", len(body)) + body


def encode(*fields: Field) -> bytes:
    """One message as a frame, with its fields in the format of TWS."""
    return frame("".join(f"{text(field)}\0" for field in fields).encode())


def text(field: Field) -> str:
    """A field in the format of TWS: None is empty, flags are 0 or 1, floats have at most 10 decimals."""
    if field is None:
        return ""
    if isinstance(field, bool):
        return "1" if field else "0"
    if isinstance(field, float):
        if field >= UNSET_DOUBLE:
            return UNSET_DOUBLE_TEXT
        return repr(round(field, 10))
    return str(field)


def split(body: bytes) -> list[str]:
    """The fields of a frame's body. Raises ProtocolError if it is not NUL-ended UTF-8 text."""
    try:
        decoded = body.decode()
    except UnicodeDecodeError:
        raise ProtocolError("a message is not UTF-8 text") from None
    if not decoded.endswith("\0"):
        raise ProtocolError("a message does not end with NUL")
    return decoded[:-1].split("\0")


class FieldReader:
    """Reads one message's fields in order. Each method raises ProtocolError naming the field."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = fields
        self._next = 0
        self.request_id = -1  # set by the handler that has read it, for use in errors

    def text(self, name: str) -> str:
        if self._next >= len(self._fields):
            raise ProtocolError(f"the message ends before its field '{name}'", self.request_id)
        value = self._fields[self._next]
        self._next += 1
        return value

    def whole(self, name: str) -> int:
        return to_int(self.text(name), name, self.request_id)

    def flag(self, name: str) -> bool:
        return to_bool(self.text(name), name, self.request_id)

    def skip(self, *names: str) -> None:
        for name in names:
            self.text(name)

    @property
    def left(self) -> int:
        """How many fields are unread."""
        return len(self._fields) - self._next


def to_int(value: str, name: str, request_id: int = -1) -> int:
    """A whole number of at most 64 bits. In the protocol, empty means 0."""
    if value == "":
        return 0
    try:
        number = int(value) if len(value) <= 20 and value.isascii() else None
    except ValueError:
        number = None
    if number is None or abs(number) >= 2**63:
        raise ProtocolError(f"field '{name}' is not a whole number: {value[:40]!r}", request_id)
    return number


def to_bool(value: str, name: str, request_id: int = -1) -> bool:
    if value in ("", "0", "false"):
        return False
    if value in ("1", "true"):
        return True
    raise ProtocolError(f"field '{name}' is neither 0 nor 1: {value[:40]!r}", request_id)


def to_float(value: str, name: str, request_id: int = -1) -> float | None:
    """A finite number, or None if the client left it unset.

    Unset is an empty field or the largest double; clients send either.
    Raises ProtocolError for text, NaN and infinities.
    """
    if value == "":
        return None
    try:
        number = float(value) if value.isascii() else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ProtocolError(f"field '{name}' is not a finite number: {value[:40]!r}", request_id)
    return None if abs(number) >= UNSET_DOUBLE else number
