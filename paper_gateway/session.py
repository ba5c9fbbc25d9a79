"""One API client: its client id, its subscriptions and its bounded send buffer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from paper_gateway import replies
from paper_gateway.faults import Faults

log = logging.getLogger(__name__)

MAX_UNSENT_BYTES = 8 << 20
"""A client with more unread bytes is disconnected. It is ten minutes of busy ticks for eight symbols."""


@dataclass
class Subscriptions:
    """The subscriptions of a client; data requests by request id."""

    positions: bool = False
    accounts: set[str] = field(default_factory=set)
    account_multi: dict[int, str] = field(default_factory=dict)
    summaries: dict[int, tuple[str, ...]] = field(default_factory=dict)
    ticks: dict[int, str] = field(default_factory=dict)
    real_time_bars: dict[int, str] = field(default_factory=dict)


class Session:
    """Sends to one client. Messages of one kind keep their order. Faults may delay or drop a kind."""

    def __init__(self, writer: asyncio.StreamWriter, faults: Faults, version: int) -> None:
        self.version = version
        self.client_id: int | None = None  # None until START_API
        self.subscriptions = Subscriptions()
        self.closed = False
        self._writer = writer
        self._faults = faults
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._unsent: list[bytes] = []
        self._flushing = False
        self._last_due_s: dict[str, float] = {}

    def send(self, kind: str, *frames: bytes) -> None:
        """Queue frames of one kind (see faults.KINDS)."""
        if self.closed or self._faults.is_silent(kind):
            return
        now_s = self._loop.time()
        due_s = now_s + self._faults.delay_s(kind)
        if kind in self._last_due_s:  # not before earlier frames of this kind
            due_s = max(due_s, self._last_due_s[kind] + 1e-6)
        if due_s > now_s:
            self._last_due_s[kind] = due_s
            self._loop.call_at(due_s, self._queue, frames)
        else:
            self._last_due_s.pop(kind, None)
            self._queue(frames)

    @property
    def age_s(self) -> float:
        """Seconds since the connection was made."""
        return self._loop.time() - self._started_s

    def after(self, delay_s: float, task: Callable[[], None]) -> None:
        """Do the task after so many seconds, in the order of the calls; at once for 0. Not if closed by then."""
        if delay_s > 0:
            self._loop.call_later(delay_s, lambda: None if self.closed else task())
        else:
            task()

    def error(self, request_id: int, code: int, text: str) -> None:
        self.send("errors", replies.error(request_id, code, text, self.version))

    def close(self) -> None:
        """Send the queued frames and close."""
        if not self.closed:
            self._flush()
            self.closed = True
            self._writer.close()

    def abort(self) -> None:
        """Close the connection at once, without sending the queued frames."""
        self.closed = True
        self._unsent.clear()
        self._writer.transport.abort()

    def _queue(self, frames: tuple[bytes, ...]) -> None:
        if self.closed:
            return
        self._unsent += frames
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.closed or not self._unsent:
            return
        self._writer.write(b"".join(self._unsent))
        self._unsent.clear()
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            log.warning(
                "client %s does not read: disconnected with %d bytes unsent",
                self.client_id,
                self._writer.transport.get_write_buffer_size(),
            )
            self.abort()
