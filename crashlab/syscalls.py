"""Every system call of the state manager: killed at it, or failed with EIO or ENOSPC; then started again.

A small process does what the trader's state manager does (records, groups, saves, a segment change, a start on a
torn journal), traced by strace. It is forked from a process that has loaded all modules, and is traced from its
first call on, so that only calls of this work are counted. It reports what it acknowledged
through shared memory.
"""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import struct
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

from crashlab.images import Image
from crashlab.parallel import spread
from crashlab.powerloss import History, Program, inline_run, judge, looped_run, scratch, short_run
from crashlab.recording import Acked, AcknowledgingDisk, Tree
from crashlab.report import Tally
from crashlab.strace import DISK_CALLS, Fault, attach, counts, sweep, why_not
from state.errors import TraderError
from state.storage.files import Folder
from state.storage.loader import load

PROGRAMS: dict[str, Program] = {"inline": inline_run, "event loop": looped_run, "recovery": short_run}
TORN = b'{"crc":"00000000","sequence":99,"run":"torn'


@dataclass(frozen=True, slots=True)
class Case:
    """program: a name in PROGRAMS. fault: None for a run that only counts the calls."""

    program: str
    fault: Fault | None


class SharedMemoryDisk(AcknowledgingDisk):
    """A real disk. Acknowledgements are written where the parent can read them after this process was killed."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def acknowledge(self, sequence: int, *, saved: bool) -> None:
        self._memory[:9] = struct.pack("<Q?", sequence, saved)


def state_calls(every: int = 1) -> list[Tally]:
    """Each program with each fault, one row for each program. every: only each `every`-th fault."""
    rows = []
    for name in PROGRAMS:
        tally = Tally(f"system calls: {name}", skipped=why_not())
        rows.append(tally)
        if tally.skipped:
            continue
        with tally.timed():
            calls = _run(Case(name, None))[1]
            faults = sweep(calls)[::every]
            tally.note = f"{sum(calls.values())} calls of {len(calls)} kinds"
            for part in spread(_one, [Case(name, fault) for fault in faults]):
                tally.add(part)
    return rows


def _one(case: Case) -> Tally:
    return _run(case)[0]


def _run(case: Case) -> tuple[Tally, dict[str, int]]:
    """One process with one fault. Then the disk is judged, and a second run continues on it."""
    root = scratch()
    try:
        history, acked = _prepare(case.program, root)
        outcome, after, calls = _traced(case, root, acked)
        tally = Tally("one", points=1)
        if outcome:
            tally.fail("wrong", f"{_label(case)}: {outcome}")
        _judge(tally, root / "logs", case, history, after)
        if case.fault is not None and not tally.bad:
            _start_again(tally, root / "logs", case, history, after)
        return tally, calls
    finally:
        shutil.rmtree(root)


def _label(case: Case) -> str:
    return f"{case.program}, {case.fault.label if case.fault else 'no fault'}"


class _PlainDisk(AcknowledgingDisk):
    """A real disk that ignores acknowledgements."""

    def acknowledge(self, sequence: int, *, saved: bool) -> None:
        return


def _prepare(program: str, root: Path) -> tuple[History, Acked]:
    """Prepare the folder of the run. Returns the states after each event, from a run without faults elsewhere."""
    history, acked = History(), Acked(0)
    for name in ("logs", "rehearsal"):
        if program == "recovery":
            inline_run(root / name, _PlainDisk(), history, "first", events=8)
            sequence = max(history.states)
            acked = Acked(sequence, saved=True)
            _tear(root / name)
    history = history.forked(acked.sequence)
    PROGRAMS[program](root / "rehearsal", _PlainDisk(), history, "second")
    return history, acked


def _tear(logs: Path) -> None:
    """Write an unfinished record at the end of the journal, as a crash can."""
    segment = max(path for path in (logs / "journal").glob("*/*.jsonl") if b"{" in path.read_bytes())
    used = len(segment.read_bytes().rstrip(b"\n")) + 1
    with segment.open("r+b") as file:
        file.seek(used)
        file.write(TORN)


def _traced(case: Case, root: Path, acked: Acked) -> tuple[str, Acked, dict[str, int]]:
    """Run the program under strace. Returns its traceback or an empty text, its acknowledgement, and its calls."""
    memory = mmap.mmap(-1, 8192)
    memory[:9] = struct.pack("<Q?", acked.sequence, acked.saved)
    with warnings.catch_warnings():  # 3.12 and later warn of threads; the child uses none of the parent's
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        _child(PROGRAMS[case.program], root / "logs", memory)
    os.waitpid(pid, os.WUNTRACED)
    flags = case.fault.flags if case.fault else ["-e", f"trace={','.join(DISK_CALLS)}"]
    tracer = attach(pid, flags, root / "calls")
    os.kill(pid, signal.SIGCONT)
    _, status = os.waitpid(pid, 0)
    tracer.wait()
    sequence, saved = struct.unpack("<Q?", memory[:9])
    report = bytes(memory[16:8192]).rstrip(b"\0").decode(errors="replace")
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        report = f"it ended by signal {os.WTERMSIG(status)}. {report}"
    return report, Acked(sequence, saved), counts(root / "calls")


def _child(program: Program, logs: Path, memory: mmap.mmap) -> None:
    """In the forked process: stop until traced, run the program, exit. Never returns."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    code = 0
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        program(logs, SharedMemoryDisk(memory), History(), "second")
    except TraderError as error:
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - reported to the parent, which counts it as a failure
        text = traceback.format_exc().encode()[-8000:]
        memory[16 : 16 + len(text)] = text
        code = 1
    os._exit(code)


def _judge(tally: Tally, logs: Path, case: Case, history: History, acked: Acked) -> None:
    image = Image(Tree(), acked, case.fault.when if case.fault else 0)
    if not logs.is_dir():
        if acked.sequence:
            tally.fail("lost", f"{_label(case)}: the folder is gone")
        return
    before = len(tally.failures)
    with Folder.open(logs) as folder:
        judge(tally, load(folder), image, history)
    tally.failures[before:] = [f"{_label(case)}, {message}" for message in tally.failures[before:]]


def _start_again(tally: Tally, logs: Path, case: Case, history: History, acked: Acked) -> None:
    """Start again on the same folder, without a fault, and judge the result."""
    with Folder.open(logs) as folder:
        found = load(folder).state
    again = history.forked(found.sequence if found is not None else 0)
    try:
        short_run(logs, _PlainDisk(), again, "third")
    except TraderError as error:
        tally.fail("wrong", f"{_label(case)}: the next start was refused: {error}")
        return
    _judge(tally, logs, case, again, Acked(max(again.states), saved=True))
