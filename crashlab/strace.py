"""Faults in system calls, injected by strace: the process is killed at a call, or the call fails.

`when` counts the calls of one name in one thread. KILL comes before the call is carried out. `why_not` says
whether strace is installed and may trace.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DISK_CALLS = (
    "openat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "linkat",
    "renameat",
    "unlinkat",
    "mkdirat",
    "ftruncate",
)
ACTIONS = ("signal=KILL", "error=EIO", "error=ENOSPC")
ATTACH_TIMEOUT_S = 10.0
_CALL = re.compile(r"^(\d+) +(\w+)\(", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fault:
    """The action at the `when`-th call named `call` of any thread."""

    call: str
    when: int
    action: str

    @property
    def label(self) -> str:
        effect = "killed" if self.action == "signal=KILL" else self.action.removeprefix("error=")
        return f"{effect} at {self.call} #{self.when}"

    @property
    def flags(self) -> list[str]:
        """Flags for strace: trace only this call, and inject the fault."""
        return ["-e", f"trace={self.call}", "-e", f"inject={self.call}:{self.action}:when={self.when}"]


@cache
def why_not() -> str:
    """Why strace cannot be used here, or an empty text."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "-e", "trace=none", sys.executable, "-c", "0"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return "" if done.returncode == 0 else f"strace may not trace here: {done.stderr.strip()[-100:]}"


def attach(pid: int, flags: list[str], output: Path) -> subprocess.Popen[bytes]:
    """Trace a process that has stopped itself. Returns once strace is attached; else raises TimeoutError."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-q", "-o", str(output), *flags, "-p", str(pid)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + ATTACH_TIMEOUT_S
    status = Path(f"/proc/{pid}/status")
    while "\nTracerPid:\t0\n" in status.read_text():
        if time.monotonic() > deadline or tracer.poll() is not None:
            tracer.kill()
            tracer.wait()
            raise TimeoutError(f"strace did not attach to {pid} (exit {tracer.returncode})")
        time.sleep(0.0005)
    return tracer


def counts(output: Path) -> dict[str, int]:
    """From a recording: for each call, the number of calls by the thread that made most of them."""
    by_thread = Counter(match.groups() for match in _CALL.finditer(output.read_text(errors="replace")))
    most: dict[str, int] = {}
    for (_, call), count in by_thread.items():
        most[call] = max(count, most.get(call, 0))
    return most


def sweep(counted: dict[str, int], actions: tuple[str, ...] = ACTIONS) -> list[Fault]:
    """Every action at every counted call."""
    return [
        Fault(call, when, action)
        for call, count in sorted(counted.items())
        for when in range(1, count + 1)
        for action in actions
    ]
