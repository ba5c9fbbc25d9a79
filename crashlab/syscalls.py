"""Every system call of the state's own work: killed at it, or told EIO or ENOSPC by it, then started again.

A small real process does what the trader's memory does (records, groups, saves, a segment change, a start over a
torn journal), traced by strace. It is forked from one that has everything loaded, and is traced from its first call
on, so that the calls counted are those of the work. What it promised, it says through shared memory.
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
from crashlab.recording import Acked, PromisingDisk, Tree
from crashlab.report import Tally
from crashlab.strace import DISK_CALLS, Fault, attach, counts, sweep, why_not
from state.errors import TraderError
from state.storage.files import Folder
from state.storage.loader import load

PROGRAMS: dict[str, Program] = {"inline": inline_run, "event loop": looped_run, "recovery": short_run}
TORN = b'{"crc":"00000000","sequence":99,"run":"torn'


@dataclass(frozen=True, slots=True)
class Case:
    """program: a name in PROGRAMS; fault: None only counts the calls."""

    program: str
    fault: Fault | None


class SharedMemoryDisk(PromisingDisk):
    """The kernel; promises are put where the parent can read them whatever becomes of this process."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def acknowledge(self, sequence: int, *, saved: bool) -> None:
        self._memory[:9] = struct.pack("<Q?", sequence, saved)


def state_calls(every: int = 1) -> list[Tally]:
    """Sweep each program over each fault, one row a program. every: only each so-many-th fault, to be quick."""
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
    """One process with one fault; then what is on disk is judged, and a second run goes on from there."""
    root = scratch()
    try:
        history, promised = _prepare(case.program, root)
        outcome, after, calls = _traced(case, root, promised)
        tally = Tally("one", points=1)
        if outcome:
            tally.fail("wrong", f"{_words(case)}: {outcome}")
        _judge(tally, root / "logs", case, history, after)
        if case.fault is not None and not tally.bad:
            _go_on(tally, root / "logs", case, history, after)
        return tally, calls
    finally:
        shutil.rmtree(root)


def _words(case: Case) -> str:
    return f"{case.program}, {case.fault.words if case.fault else 'no fault'}"


class _Ignoring(PromisingDisk):
    """The kernel; for runs whose promises nobody asks for."""

    def acknowledge(self, sequence: int, *, saved: bool) -> None:
        return


def _prepare(program: str, root: Path) -> tuple[History, Acked]:
    """What the run will find, and, from an undisturbed run beside it, what its memory holds after each event."""
    history, promised = History(), Acked(0)
    for name in ("logs", "rehearsal"):
        if program == "recovery":
            inline_run(root / name, _Ignoring(), history, "first", events=8)
            sequence = max(history.states)
            promised = Acked(sequence, saved=True)
            _tear(root / name)
    history = history.forked(promised.sequence)
    PROGRAMS[program](root / "rehearsal", _Ignoring(), history, "second")
    return history, promised


def _tear(logs: Path) -> None:
    """An unfinished write at the end of the journal, as a crash leaves it."""
    segment = max(path for path in (logs / "journal").glob("*/*.jsonl") if b"{" in path.read_bytes())
    used = len(segment.read_bytes().rstrip(b"\n")) + 1
    with segment.open("r+b") as file:
        file.seek(used)
        file.write(TORN)


def _traced(case: Case, root: Path, promised: Acked) -> tuple[str, Acked, dict[str, int]]:
    """Run the program under strace. What went wrong in it (a traceback), what it promised, the calls it made."""
    memory = mmap.mmap(-1, 8192)
    memory[:9] = struct.pack("<Q?", promised.sequence, promised.saved)
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
    said = bytes(memory[16:8192]).rstrip(b"\0").decode(errors="replace")
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGKILL:
        said = f"it ended by signal {os.WTERMSIG(status)}. {said}"
    return said, Acked(sequence, saved), counts(root / "calls")


def _child(program: Program, logs: Path, memory: mmap.mmap) -> None:
    """In the fork: wait to be traced, work, leave. Never returns."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    code = 0
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        program(logs, SharedMemoryDisk(memory), History(), "second")
    except TraderError as error:
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - told to the parent, which counts it as a failure
        text = traceback.format_exc().encode()[-8000:]
        memory[16 : 16 + len(text)] = text
        code = 1
    os._exit(code)


def _judge(tally: Tally, logs: Path, case: Case, history: History, promised: Acked) -> None:
    image = Image(Tree(), promised, case.fault.when if case.fault else 0)
    if not logs.is_dir():
        if promised.sequence:
            tally.fail("lost", f"{_words(case)}: there is no folder any more")
        return
    before = len(tally.failures)
    with Folder.open(logs) as folder:
        judge(tally, load(folder), image, history)
    tally.failures[before:] = [f"{_words(case)}, {words}" for words in tally.failures[before:]]


def _go_on(tally: Tally, logs: Path, case: Case, history: History, promised: Acked) -> None:
    """Start again on what is there, undisturbed, and look once more."""
    with Folder.open(logs) as folder:
        found = load(folder).state
    again = history.forked(found.sequence if found is not None else 0)
    try:
        short_run(logs, _Ignoring(), again, "third")
    except TraderError as error:
        tally.fail("wrong", f"{_words(case)}: the next start was refused: {error}")
        return
    _judge(tally, logs, case, again, Acked(max(again.states), saved=True))
