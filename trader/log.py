"""Two logs and the screen: `trader.log` in sentences, `trader.jsonl` for machines. A thread of their own writes.

The event loop only queues a record (invariant 10). Both files are 0600 and rotated by size.
"""

import contextlib
import json
import logging
import logging.handlers
import os
import queue
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from state.errors import DiskError, TraderError

QUIET_LIBRARIES = ("ib_insync", "eventkit", "asyncio")


class Forgiving(logging.Handler):
    """A log that cannot be written is told of once, in a sentence; trading goes on without it."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Called by logging where writing a record raised."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError | TraderError):
            super().handleError(record)
        elif not self._told:
            self._told = True
            with contextlib.suppress(OSError):  # the screen may be what is gone
                sys.stderr.write(f"A log cannot be written ({error}): free its disk; trading goes on without it.\n")


class PrivateRotatingFile(Forgiving, logging.handlers.RotatingFileHandler):
    """A rotated file that only its owner may read. DiskError where it cannot be opened."""

    def _open(self) -> Any:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.fdopen(os.open(self.baseFilename, flags, 0o600), "a", encoding="utf-8")
        except OSError as cause:
            raise DiskError("open", Path(self.baseFilename), cause) from cause


class Screen(Forgiving, logging.StreamHandler):  # type: ignore[type-arg]  # at run time it takes none in 3.11
    """Standard output."""


class JsonLines(logging.Formatter):
    """One JSON object a record: real time, session time, level, logger, text."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        content = {
            "time": record.created,
            "session_time": getattr(record, "session_time", ""),
            "level": record.levelname,
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_text or record.exc_info:
            content["trace"] = record.exc_text or self.formatException(record.exc_info)  # type: ignore[arg-type]
        return json.dumps(content)


class _Stamped(logging.handlers.QueueHandler):
    """Adds the session's time to each record at the moment it is logged."""

    def __init__(self, records: "queue.SimpleQueue[Any]", now: Callable[[], datetime]) -> None:
        super().__init__(records)
        self._now = now

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        record.session_time = f"{self._now():%H:%M:%S}"
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        prepared: logging.LogRecord = super().prepare(record)
        return prepared


def start_logging(
    logs_dir: Path, level: str, now: Callable[[], datetime], max_mb: float, files: int
) -> Callable[[], None]:
    """Log to the screen and to the two files; returns what ends it. `now`: the session's clock."""
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
    handler = _Stamped(records, now)
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
