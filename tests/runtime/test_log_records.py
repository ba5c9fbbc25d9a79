"""A record of the log is one line, whatever its text, also with a traceback."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trader.log import start_logging

FORGED = "2025-10-06 09:47:00,000 [09:47:00] INFO    FORGED"
HOSTILE = f"\x1b[2J\n{FORGED}\r\u202e"


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Callable[[logging.Logger], None]], tuple[str, list[dict[str, str]]]]:
    """Logs something, and returns trader.log and the rows of trader.jsonl."""

    def write(log: Callable[[logging.Logger], None]) -> tuple[str, list[dict[str, str]]]:
        end = start_logging(tmp_path, "INFO", lambda: datetime.now(UTC), 1.0, 1)
        log(logging.getLogger("trader.test"))
        end()
        rows = (tmp_path / "trader.jsonl").read_text(encoding="utf-8").splitlines()
        return (tmp_path / "trader.log").read_text(encoding="utf-8"), [json.loads(row) for row in rows]

    return write


Written = Callable[[Callable[[logging.Logger], None]], tuple[str, list[dict[str, str]]]]


def test_g08_a_record_forges_no_other(written: Written) -> None:
    text, rows = written(lambda log: log.warning("IBKR: %s", HOSTILE))
    assert text.endswith("IBKR: \\x1b[2J / " + FORGED + " / \\u202e\n")
    assert text.count("\n") == 1
    assert [row["text"].isprintable() for row in rows] == [True]


def test_g08_a_traceback_forges_no_record(written: Written) -> None:
    def fail(log: logging.Logger) -> None:
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            log.exception("It failed.")

    text, rows = written(fail)
    assert "\x1b" not in text
    assert "\r" not in text
    assert FORGED in text
    assert [line for line in text.splitlines() if line.startswith("2025-10-06 09:47")] == []
    assert rows[0]["text"] == "It failed."
    assert FORGED in rows[0]["trace"]
