"""Bad input to `python trader.py`, run as the operator runs it, and what must hold afterwards.

An error is an exit code and two sentences. "Nothing lost" compares the logs folder before and after: every file
that was there is still there, byte for byte, under its name or under archive/ or quarantine/.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from lab import DATE, ROOT

SCAN = f"scanner_results_{DATE.replace('-', '')}.json"
GROWING = ("trader.log", "trader.jsonl", "trader.lock", "paper_gateway.log", "paper_gateway.out")


def trader(port: int, logs: Path, *flags: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `python trader.py <flags> --logs-dir <logs>` to its end."""
    return run([], port, logs, *flags, **settings)


def run(before: list[str], port: int, logs: Path, *flags: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The same by way of another command, which ends in running the one behind it."""
    environ = os.environ | {"TRADER_GATEWAY_PORT": str(port)} | settings
    command = [*before, sys.executable, str(ROOT / "trader.py"), *flags, "--logs-dir", str(logs)]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *text: str) -> None:
    """The exit code, and on standard error one sentence of what happened and one of what to do."""
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert all(re.fullmatch(r"\S.*[.?]", line) for line in lines), done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for word in text:
        assert word in done.stderr


def contents(logs: Path) -> dict[str, bytes]:
    """Every file that the trader keeps, but those that only grow"""
    return {
        str(path.relative_to(logs)): path.read_bytes()
        for path in logs.rglob("*")
        if path.is_file() and not path.name.startswith(GROWING)
    }


def assert_nothing_lost(before: dict[str, bytes], logs: Path) -> None:
    """Every content is still somewhere below the folder; the journal may have grown behind what it held."""
    after = contents(logs)
    kept = set(after.values())
    for name, data in before.items():
        grown = name.startswith("journal/") and any(
            other.startswith(data.rstrip(b"\n")) for path, other in after.items() if path.endswith(Path(name).name)
        )
        assert data in kept or grown, f"{name} is gone"


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    spoiled = {
        "torn": data[: len(data) // 2],
        "foreign": b'{"name": "somebody else\'s file", "version": 3}\n',
        "not JSON": b"\x00" * 4096,
        "empty": b"",
        "edited": data.replace(b'"sequence": ', b'"sequence": 9', 1),
    }
    path.write_bytes(spoiled[how])
