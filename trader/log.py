"""Logs to the screen, to `trader.log` for people and to `trader.jsonl` for programs. A separate thread writes.

The event loop only queues records (invariant 10). Both files are 0600 and rotated by size. A record is one line,
whatever its text; the lines of a traceback are indented, so that none of them looks like a record.
"""

import contextlib
import copy
import json
import logging
import logging.handlers
import os
import queue
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from state.errors import DiskError, TraderError
from trader.plain_text import plain

QUIET_LIBRARIES = ("ib_insync", "eventkit", "asyncio")


class TolerantHandler(logging.Handler):
    """Reports the first write error on standard error, and drops what cannot be written. Trading goes on."""

    _reported = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Called by logging when writing a record raised an exception."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError | TraderError):
            super().handleError(record)
        elif not self._reported:
            self._reported = True
            with contextlib.suppress(OSError):  # standard error may be closed as well
                sys.stderr.write(
                    f"A log cannot be written ({error}). Free disk space; trading goes on without the log.\n"
                )


class PrivateRotatingFile(TolerantHandler, logging.handlers.RotatingFileHandler):
    """A rotated file with mode 0600. Raises DiskError if it cannot be opened."""

    def _open(self) -> Any:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.fdopen(os.open(self.baseFilename, flags, 0o600), "a", encoding="utf-8")
        except OSError as cause:
            raise DiskError("open", Path(self.baseFilename), cause) from cause


class Screen(TolerantHandler, logging.StreamHandler[TextIO]):
    """Standard output."""


class JsonLines(logging.Formatter):
    """Each record as one JSON object: real time, session time, level, logger, text."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        content = {
            "time": record.created,
            "session_time": getattr(record, "session_time", ""),
            "level": record.levelname,
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_text:
            content["trace"] = record.exc_text
        return json.dumps(content)


class _SessionTimeHandler(logging.handlers.QueueHandler):
    """Adds the session's time to each record when it is logged, makes its text plain, then queues it."""

    def __init__(self, records: "queue.SimpleQueue[Any]", now: Callable[[], datetime]) -> None:
        super().__init__(records)
        self._now = now

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        prepared = copy.copy(record)  # the record itself goes on to other handlers
        prepared.session_time = f"{self._now():%H:%M:%S}"
        prepared.msg, prepared.args = plain(record.getMessage(), None), None
        trace = record.exc_text or ""
        if record.exc_info:
            trace = logging.Formatter().formatException(record.exc_info)
        prepared.exc_text = "\n".join(f"    {plain(row, None)}" for row in trace.split("\n")) if trace else None
        prepared.exc_info = prepared.stack_info = None
        return prepared


def start_logging(
    logs_dir: Path, level: str, now: Callable[[], datetime], max_mb: float, files: int
) -> Callable[[], None]:
    """Log to the screen and to both files. `now`: the session's clock. Returns a function that ends the logging."""
    size = int(max_mb * 1024 * 1024)
    text = PrivateRotatingFile(logs_dir / "trader.log", maxBytes=size, backupCount=files, encoding="utf-8")
    text.setFormatter(logging.Formatter("%(asctime)s [%(session_time)s] %(levelname)-7s %(message)s"))
    lines = PrivateRotatingFile(logs_dir / "trader.jsonl", maxBytes=size, backupCount=files, encoding="utf-8")
    lines.setFormatter(JsonLines())
    screen = Screen(sys.stdout)
    screen.setFormatter(logging.Formatter("[%(session_time)s] %(message)s"))
    records: queue.SimpleQueue[Any] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(records, text, lines, screen)
    root = logging.getLogger()
    handler = _SessionTimeHandler(records, now)
    root.addHandler(handler)
    root.setLevel(level)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)
    listener.start()

    def stop() -> None:
        root.removeHandler(handler)
        listener.stop()
        text.close()
        lines.close()

    return stop
