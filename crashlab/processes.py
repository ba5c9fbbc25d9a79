"""Real processes for the campaigns and the tests: a trader on a running gateway, and bounded waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from crashlab.compare import differences
from paper_gateway.testing import RunningGateway
from trader.cli.commands.status import read_status

ROOT = Path(__file__).resolve().parent.parent
DATE = "2025-10-06"
CALM = ("--speed", "1", "--start", "11:00", "--date", DATE)
"""A gateway whose session runs as fast as real time, far from the open, the close and the time rule."""
WAIT_S = 15.0
SYMBOLS = ("TSLA", "NVDA", "AMD")


def wait_for(condition: Callable[[], Any], bound_s: float = WAIT_S, what: str = "the condition") -> Any:
    """Poll until the condition is true, and return its result. AssertionError after bound_s seconds."""
    deadline = time.monotonic() + bound_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come true within {bound_s} s"
        time.sleep(0.02)


def scanner(folder: Path, *symbols: str) -> Path:
    """Write a scanner folder with pivots far from the market; returns the folder."""
    scans = folder / "scans"
    scans.mkdir(exist_ok=True)
    records = [
        {"symbol": symbol, "resistance": 5000.0, "support": 1.0, "score": 50} for symbol in symbols or SYMBOLS
    ]
    (scans / f"scanner_results_{DATE.replace('-', '')}.json").write_text(json.dumps(records))
    return scans


def rows(logs: Path) -> dict[str, list[str]]:
    """The decisions of the last start, by symbol, from its report in the logs folder."""
    reports = sorted((logs / "recovery").glob("*/*.json"), key=lambda path: path.stat().st_mtime_ns)
    found: dict[str, list[str]] = {}
    for row in json.loads(reports[-1].read_text())["rows"] if reports else []:
        found.setdefault(row["symbol"], []).append(row["decision"])
    return found


def row_texts(logs: Path) -> str:
    """The messages of the last start's report."""
    reports = sorted((logs / "recovery").glob("*/*.json"), key=lambda path: path.stat().st_mtime_ns)
    return "\n".join(row["words"] for row in json.loads(reports[-1].read_text())["rows"])


# A trader in a process of its own


class Trader:
    """`python trader.py --logs-dir <folder>/logs <flags>` on a running gateway; killed at the end of the context.

    settings: by their environment name, such as `risk_max_trades_per_day="3"`. scanner_dir: a folder written by
    `scanner`; None for the sample scan. under: a command that the trader runs under, such as strace.
    """

    def __init__(
        self,
        gateway: RunningGateway,
        folder: Path,
        *flags: str,
        scanner_dir: Path | None = None,
        under: tuple[str, ...] = (),
        **settings: str,
    ) -> None:
        self.gateway = gateway
        self.logs = folder / "logs"
        self._out = (folder / f"trader-{time.monotonic_ns()}.out").open("w+b")
        command = [*under, sys.executable, str(ROOT / "trader.py"), "--logs-dir", str(self.logs), *flags]
        environ = {"TRADER_GATEWAY_PORT": str(gateway.port)} | {
            f"TRADER_{name.upper()}": value for name, value in settings.items()
        }
        if scanner_dir is not None:
            command += ["--scanner-dir", str(scanner_dir)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=self._out, stderr=subprocess.STDOUT, env=os.environ | environ
        )

    def status(self) -> dict[str, Any]:
        """The answer of `status --json`, which reads the files only."""
        return status(self.logs)

    def output(self) -> str:
        """Its output so far."""
        return Path(self._out.name).read_text(encoding="utf-8", errors="replace")

    def wait_ready(self, bound_s: float = WAIT_S) -> dict[str, Any]:
        """Its status once the protection gate has passed. AssertionError, with the output, if it ends before."""
        return self.wait_status(lambda found: bool(found["ready"]), bound_s)

    def wait_status(self, condition: Callable[[dict[str, Any]], bool], bound_s: float = WAIT_S) -> dict[str, Any]:
        """Its status once the condition is true of it, while this process runs."""
        deadline = time.monotonic() + bound_s
        while True:
            assert self.process.poll() is None, f"the trader ended: {self.process.returncode}\n{self.output()}"
            found = self.status() if self.logs.is_dir() else {"pid": None}
            if found["pid"] == self.process.pid and condition(found):
                return found
            assert time.monotonic() < deadline, f"not within {bound_s} s: {found}\n{self.output()}"
            time.sleep(0.03)

    def wait_agreed(self, bound_s: float = WAIT_S) -> dict[str, Any]:
        """Its status once it is ready and agrees with the gateway."""
        return self.wait_status(lambda s: bool(s["ready"]) and not differences(s, self.gateway.truth()), bound_s)

    def wait_exit(self, bound_s: float = WAIT_S) -> int:
        """The exit code."""
        return self.process.wait(bound_s)

    def kill(self) -> None:
        """Send SIGKILL: no handler runs, nothing is flushed."""
        self.process.kill()
        self.process.wait()

    def stop(self, bound_s: float = WAIT_S) -> int:
        """Send SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(bound_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        self._out.close()


def status(logs: Path) -> dict[str, Any]:
    """The answer of `status --json` for a logs folder."""
    found: dict[str, Any] = json.loads(msgspec.json.encode(read_status(logs, datetime.now(UTC))))
    return found
