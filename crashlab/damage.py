"""Ways to damage a file: bits, lengths, numbers, types, nesting, names. Pure, except `misplace`."""

from __future__ import annotations

import json
import os
import random
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_VALUE = re.compile(rb'(?<=[:=]) ?("[^"]*"|-?[\d.]+|true|false|null)')
NASTY = (
    b"NaN",
    b"Infinity",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"0",
    b"null",
    b'"x"',
    b"[]",
    b"{}",
    b"true",
    b"[" * 20_000,
    b'"\\ud800"',
    b"-0.0",
    b"18446744073709551616",
)


def change_bit(data: bytes, chance: random.Random) -> bytes:
    """Invert one bit."""
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def zero(data: bytes, chance: random.Random) -> bytes:
    """Overwrite a block with zeros, as disks return for lost sectors."""
    at = chance.randrange(len(data))
    return data[:at] + b"\0" * min(512, len(data) - at) + data[at + 512 :]


def garbage(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + chance.randbytes(chance.randrange(1, 200)) + data[at:]


def number(data: bytes, chance: random.Random) -> bytes:
    """Replace a number."""
    return _replaced(data, _NUMBER, chance)


def value(data: bytes, chance: random.Random) -> bytes:
    """Replace a value of any type."""
    return _replaced(data, _VALUE, chance)


def repeat_line(data: bytes, chance: random.Random) -> bytes:
    """Repeat a line, and so a key."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    return b"\n".join([*lines[: at + 1], *lines[at:]])


def other_content(data: bytes, chance: random.Random) -> bytes:
    """Replace the whole content by something of another kind."""
    return chance.choice((b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{" * 100_000, b"\0" * 4096, b"[[[]]]\n", b"7"))


TEXT: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    change_bit,
    truncate,
    zero,
    garbage,
    number,
    value,
    repeat_line,
    other_content,
)


def edit_with_checksum(data: bytes, chance: random.Random) -> bytes:
    """Change one value of a state file, and write a valid checksum."""
    content: dict[str, Any] = json.loads(data)
    content.pop("checksum")
    place: Any = content
    while isinstance(place, dict | list) and place:
        key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
        if not isinstance(place[key], dict | list) or not place[key] or chance.random() < 0.15:
            place[key] = chance.choice((None, -1, 0, 2**63, 1e300, "x", "", [], {}, True, "2025-99-99", 0.1))
            break
        place = place[key]
    content["checksum"] = f"crc32:{zlib.crc32(msgspec.json.encode(content)):08x}"
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def misplace(path: Path, chance: random.Random) -> str:
    """Replace a file by a link, folder or FIFO, or change its owner. Returns which."""
    kinds = ["link", "dangling link", "folder", "fifo"] + (["owner"] if os.geteuid() == 0 else [])
    kind: str = chance.choice(kinds)
    if kind == "owner":
        os.chown(path, 12345, 12345)
        return kind
    path.rename(path.with_name(f"{path.name}.victim"))
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(f"{path.name}.victim" if kind == "link" else "nowhere")
    return kind


def _replaced(data: bytes, pattern: re.Pattern[bytes], chance: random.Random) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return data
    match = chance.choice(found)
    return data[: match.start()] + chance.choice(NASTY) + data[match.end() :]
