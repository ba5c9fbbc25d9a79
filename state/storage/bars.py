"""Bars on disk: `bars/<date>/<SYM>.jsonl`, one 5-second bar a line, appended as they come.

With them a restart has its indicators at once. Nothing is flushed here, and a line that cannot be read is skipped:
what a crash tears off is fetched again from IBKR's history.
"""

import os

import msgspec

from state.domain.model import Timestamp
from state.errors import DiskError
from state.storage.disk import FILE_MODE
from state.storage.files import Folder, existing_subfolder
from state.storage.layout import BARS

TAIL_BYTES = 256 * 1024  # more than two hours of one symbol


class StoredBar(msgspec.Struct, frozen=True):
    """Trades of [time, time + 5 s). Prices in dollars, volume in shares."""

    time: Timestamp
    open: float
    high: float
    low: float
    close: float
    volume: float


_decode = msgspec.json.Decoder(StoredBar).decode
_encode = msgspec.json.Encoder().encode


class BarStore:
    """The bars of one trading date. Blocking; appended to by one worker thread."""

    def __init__(self, folder: Folder, trading_date: str) -> None:
        """folder: the logs folder, the caller's to close."""
        self._folder = folder
        self._date = trading_date

    def append(self, bars: dict[str, list[StoredBar]]) -> None:
        """Add bars by symbol, in order of time. DiskError."""
        with self._folder.subfolder(BARS) as root, root.subfolder(self._date) as day:
            for symbol, new in bars.items():
                _append(day, _file_name(symbol), b"".join(_encode(bar) + b"\n" for bar in new))

    def read(self, symbol: str, tail_bytes: int = TAIL_BYTES) -> list[StoredBar]:
        """The newest bars of a symbol, oldest first, without repeats; empty where there is no file. DiskError."""
        root = existing_subfolder(self._folder, BARS)
        if root is None:
            return []
        with root:
            day = existing_subfolder(root, self._date)
            if day is None:
                return []
            with day:
                data = _tail(day, _file_name(symbol), tail_bytes)
        found: dict[float, StoredBar] = {}
        for line in data.splitlines():
            try:
                bar = _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue  # torn by a crash, or cut by the start of the tail: history has it
            found.setdefault(bar.time.timestamp(), bar)
        return [found[time] for time in sorted(found)]


def _file_name(symbol: str) -> str:
    return f"{symbol.replace(' ', '_')}.jsonl"


def _append(day: Folder, name: str, data: bytes) -> None:
    """Append lines. A line torn by a crash is ended first, so that only that one is lost."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, FILE_MODE, dir_fd=day.fd)
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            os.write(fd, b"\n" + data if torn else data)
        finally:
            os.close(fd)
    except OSError as cause:
        raise DiskError("append to", day.path / name, cause) from cause


def _tail(day: Folder, name: str, tail_bytes: int) -> bytes:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=day.fd)
    except FileNotFoundError:
        return b""
    except OSError as cause:
        raise DiskError("open", day.path / name, cause) from cause
    try:
        size = os.fstat(fd).st_size
        return os.pread(fd, tail_bytes, max(0, size - tail_bytes))
    except OSError as cause:
        raise DiskError("read", day.path / name, cause) from cause
    finally:
        os.close(fd)
