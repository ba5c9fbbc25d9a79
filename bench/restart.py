"""From kill -9 to every position verified and protected, against the minimum of any trader on ib_insync.

The floor is the interpreter, the import of ib_insync, and its connect and sync on the same gateway with the same
client id. The trader does all of that, and also: lock, load and replay, reconcile, protect, report.
"""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.cases import lengthen_journal
from bench.measure import Row, spread
from paper_gateway.testing import RunningGateway

ROOT = Path(__file__).resolve().parent.parent
SYMBOLS = ("TSLA", "NVDA", "AMD", "PLTR", "HOOD")
READY = "the protection gate has passed"
BOUND_S = 30.0
FLOOR = """
import asyncio, sys
from ib_insync import IB
async def main():
    ib = IB()
    await ib.connectAsync("127.0.0.1", int(sys.argv[1]), clientId=2001, timeout=10)
    assert len(ib.positions()) >= int(sys.argv[2])
    print("synced", flush=True)
    sys.stdin.readline()
asyncio.run(main())
"""
STEPS = ("interpreter", "imports", "load and replay", "connect", "sync", "reconcile", "protect")


@dataclass(slots=True)
class Timings:
    """The measurements of all rounds, in milliseconds."""

    floor: list[float] = field(default_factory=list)
    trader: list[float] = field(default_factory=list)
    steps: dict[str, list[float]] = field(default_factory=lambda: {step: [] for step in STEPS})


def rows(folder: Path, rounds: int, events: int = 10_000, executions: int = 500) -> list[Row]:
    """A restart with five positions; the same after a long day; and the duration of each step."""
    found = []
    for part in ("trader", "state", "paper_gateway"):  # as `make setup` leaves them
        compileall.compile_dir(ROOT / part, quiet=1)
    for label, is_long in (("5 positions", False), (f"{events:,} events, {executions} executions", True)):
        group = f"kill -9 to protected, {label}"
        with _prepared(folder / label.replace(" ", "-"), events, executions, is_long=is_long) as (gateway, logs):
            taken = measure(gateway, logs, rounds, len(SYMBOLS))
        found += restart_rows(group, taken, 1.25)
    return found


def restart_rows(group: str, taken: Timings, target: float) -> list[Row]:
    """The floor, the trader with its ratio to it, and the trader's steps."""
    floor = "interpreter + ib_insync + its connect and sync"
    ratio = spread([total / bare for total, bare in zip(taken.trader, taken.floor, strict=True)])
    steps = [Row(group, f"  {step}", median(values), "ms") for step, values in taken.steps.items()]
    return [
        Row(group, floor, median(taken.floor), "ms"),
        Row(group, "trader", median(taken.trader), "ms", floor, ratio, target),
        *steps,
    ]


def measure(
    gateway: RunningGateway, logs: Path, rounds: int, positions: int, prepare: Callable[[], object] = lambda: None
) -> Timings:
    """Interleaved rounds of floor and trader. prepare: called before each start of the trader."""
    taken = Timings()
    for number in range(rounds + 1):
        floor = floor_ms(gateway.port, positions)
        prepare()
        total, steps = trader_ms(gateway.port, logs)
        if number == 0:
            continue  # only warms the caches
        taken.floor.append(floor)
        taken.trader.append(total)
        for step, value in zip(STEPS, steps, strict=True):
            taken.steps[step].append(value)
    return taken


def floor_ms(port: int, positions: int) -> float:
    """A client on ib_insync, from its start until it has read what the account has."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", FLOOR, str(port), str(positions)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        taken = time.perf_counter() - began
        assert line == b"synced\n", "ib_insync did not connect"
        process.kill()
    return taken * 1e3


def trader_ms(port: int, logs: Path) -> tuple[float, list[float]]:
    """Start the trader, wait until its protection gate has passed, kill it. Returns the total and its steps."""
    before = set(logs.glob("recovery/*/*.json"))
    interpreter = _interpreter_ms()
    began = time.time()
    with _trader(port, logs) as process:
        passed = _wait_passed(logs / "trader.jsonl", began, process)
        report = _wait_report(logs, before)
        process.kill()
    marks = json.loads(report.read_text())["timings_ms"]
    total = (passed - began) * 1e3
    ends = [marks[name] for name in ("load", "connect", "sync", "reconcile", "gate")]
    steps = [end - start for start, end in zip([0.0, *ends], ends, strict=False)]
    return total, [interpreter, total - ends[-1] - interpreter, *steps]


def _interpreter_ms() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True, cwd=ROOT)
    return (time.perf_counter() - began) * 1e3


@contextmanager
def _trader(port: int, logs: Path) -> Iterator[subprocess.Popen[bytes]]:
    environ = os.environ | {"TRADER_GATEWAY_PORT": str(port)}
    with (logs.parent / "output").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "trader.py"), "run", "--logs-dir", str(logs)],
            env=environ,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _wait_passed(log: Path, since: float, process: subprocess.Popen[bytes]) -> float:
    """The time at which, according to the log, the gate has passed after `since`; seconds since 1970."""
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines()[::-1] if log.exists() else []:
            entry: dict[str, Any] = json.loads(line) if line.endswith("}") else {"time": since, "text": ""}
            if entry["time"] < since:
                break
            if READY in entry["text"]:
                return float(entry["time"])
        time.sleep(0.02)
    raise RuntimeError(
        f"the trader's protection gate did not pass within {BOUND_S:.0f} s: see {log.parent.parent}/output"
    )


def _wait_report(logs: Path, before: set[Path]) -> Path:
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        new = set(logs.glob("recovery/*/*.json")) - before
        if new:
            return new.pop()
        time.sleep(0.01)
    raise RuntimeError(f"the trader wrote no report in {logs}")


# Five positions, and the long day


@contextmanager
def _prepared(
    folder: Path, events: int, executions: int, *, is_long: bool
) -> Iterator[tuple[RunningGateway, Path]]:
    """A gateway, and the logs folder of a killed trader that had adopted five positions."""
    folder.mkdir(parents=True)
    logs = folder / "logs"
    positions = folder / "positions.json"
    positions.write_text(json.dumps([{"symbol": name, "quantity": 100, "avg_cost": 100.0} for name in SYMBOLS]))
    with RunningGateway("--speed", "1", "--start", "11:00", "--positions", str(positions)) as gateway:
        if is_long:
            for number in range(executions):
                gateway.ctl("trade", symbol="QQQ", side=("BUY", "SELL")[number % 2], shares=10)
        _adopt(gateway.port, logs)
        if is_long:
            lengthen_journal(logs, events)
        yield gateway, logs


def until_passed(port: int, logs: Path) -> None:
    """Start a trader, and kill it when its protection gate has passed."""
    began = time.time()
    with _trader(port, logs) as process:
        _wait_passed(logs / "trader.jsonl", began, process)


def _adopt(port: int, logs: Path) -> None:
    environ = os.environ | {"TRADER_GATEWAY_PORT": str(port)}
    began = time.time()
    with _trader(port, logs) as process:
        _wait_passed(logs / "trader.jsonl", began, process)
        for symbol in SYMBOLS:
            _adopt_one(symbol, logs, environ)


def _adopt_one(symbol: str, logs: Path, environ: dict[str, str]) -> None:
    deadline = time.monotonic() + BOUND_S
    while True:
        command = [sys.executable, str(ROOT / "trader.py"), "adopt", symbol, "--logs-dir", str(logs)]
        done = subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"{symbol} could not be adopted: {done.stdout} {done.stderr}")
        time.sleep(0.2)  # the control socket opens after the protection gate
