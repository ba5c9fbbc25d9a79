"""The whole trader with a fault in one system call, and the search for the relevant calls."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crashlab import trader_calls
from crashlab.processes import ROOT
from crashlab.strace import Fault, why_not
from state.errors import DiskError
from trader.log import PrivateRotatingFile

RECORDING = """\
7 openat(AT_FDCWD</x>, "module.py", O_RDONLY) = 3
7 openat(5</x/logs>, "trader.lock", O_RDWR) = 6</x/logs/trader.lock>
8 openat(5</x/logs>, "trader_state.json", O_RDWR <unfinished ...>
7 sendto(9<UNIX:[1]>, "", 0) = 0
7 sendto(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, "", 0) = 0
8 <... openat resumed>) = 7
"""


def test_only_calls_on_its_own_files_and_sockets_are_relevant_counted_by_thread() -> None:
    assert trader_calls.relevant_calls(RECORDING, "/x/logs") == [("openat", 1), ("openat", 2), ("sendto", 2)]


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "strace works")
@pytest.mark.parametrize(
    "fault",
    [Fault("fdatasync", 6, "signal=KILL"), Fault("fdatasync", 7, "error=EIO"), Fault("sendto", 14, "signal=KILL")],
    ids=lambda fault: fault.label,
)
def test_i4_i5_a_fault_in_the_whole_trader_is_reconciled_by_the_next_start(
    fault: Fault, nothing_lost: Callable[..., None]
) -> None:
    tally = trader_calls._one(fault)
    nothing_lost(tally)
    assert tally.counts == {"ended by it": 1}


def test_a_full_disk_behind_stdout_does_not_end_the_command(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, str(ROOT / "trader.py"), "status", "--logs-dir", str(tmp_path / "logs")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_log_that_cannot_be_written_is_reported_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = PrivateRotatingFile(tmp_path / "trader.log", maxBytes=0, backupCount=1, encoding="utf-8")
    assert log.stream is not None
    log.stream.close()
    log.stream = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w", buffering=1)
    for number in range(3):
        log.handle(logging.makeLogRecord({"msg": f"line {number}"}))
    with pytest.raises(OSError, match="No space"):
        log.stream.close()
    log.stream = None
    stderr = capfd.readouterr().err
    assert stderr.count("A log cannot be written") == 1
    assert "Traceback" not in stderr


def test_a_log_that_cannot_be_opened_raises_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "trader.log").symlink_to(tmp_path / "victim")
    with pytest.raises(DiskError, match="symbolic link"):
        PrivateRotatingFile(tmp_path / "trader.log", maxBytes=0, backupCount=1, encoding="utf-8")
