"""Every power loss: the writer is recorded, each disk that a crash may leave is built, the real loader reads it.

A state manager records events and saves, inline and in an event loop, with segment changes; then, from some of the
disks it left, it starts again and is cut off a second time. `crashlab.groups` does the same to the journal alone.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, zip_longest
from pathlib import Path

import msgspec

from crashlab.images import Image, carried_out, images
from crashlab.parallel import spread
from crashlab.recording import Acked, Named, Operation, PromisingDisk, RecordingDisk, Tree
from crashlab.report import Tally
from state.domain.events import AlertRaised, EquityMarked
from state.errors import SnapshotFailedError, TraderError
from state.manager import StateManager
from state.storage.files import Folder
from state.storage.loader import Loaded, load

DATE, ACCOUNT, GATEWAY = "2025-10-06", "DU1234567", "127.0.0.1:17497"
OPEN = datetime(2025, 10, 6, 13, 45, tzinfo=UTC)
MEMORY = Path("/dev/shm")  # noqa: S108 - tmpfs: the disks are built by the hundred thousand
SNAPSHOTS = "power loss: snapshots"
SECOND = "power loss: after a restart"
KILLED = "power loss: after a kill and a restart"
IMAGES_MAX = 60_000  # ten times what this program leaves; one that does not flush leaves no end of them
ENOUGH = 200  # failures of one job: more would say the same
SLOW_SYNC_S = 0.01  # of each flush, so that a thread that does not wait for it overtakes it


class SmallManager(StateManager):
    """The real one, with segments small enough to be full after a few events."""

    segment_bytes = 2048


@dataclass
class History:
    """What each sequence means, by the run that wrote it last: the state in memory, encoded."""

    states: dict[int, bytes] = field(default_factory=dict)

    def note(self, manager: StateManager) -> None:
        self.states[manager.state.sequence] = encoded(manager)

    def forked(self, at: int) -> History:
        """The history of a run that goes on from event `at`: what came after is void."""
        return History({sequence: state for sequence, state in self.states.items() if sequence <= at})


@dataclass(frozen=True)
class Recorded:
    """What one run did to the disk that it found, and what its memory held after each event."""

    start: Tree
    operations: tuple[Operation, ...]
    states: dict[int, bytes]


def encoded(manager: StateManager) -> bytes:
    return msgspec.json.encode(manager.state)


def scratch() -> Path:
    """A folder in memory where there is one."""
    return Path(tempfile.mkdtemp(prefix="crashlab-", dir=MEMORY if MEMORY.is_dir() else None))


# The programs that are cut off


def inline_run(logs: Path, disk: PromisingDisk, history: History, run: str, events: int = 12) -> None:
    """Record and save without an event loop; each promise is noted when the manager has made it."""
    with SmallManager.open(logs, run, disk=disk) as manager:
        manager.begin(DATE, ACCOUNT, GATEWAY, OPEN)
        history.note(manager)
        saved = False
        for number in range(events):
            now = OPEN + timedelta(seconds=number)
            if number % 3 == 0:
                manager.record(AlertRaised(time=now, text=f"{run} {number}", key=f"k{number}"))
            else:
                manager.record(EquityMarked(time=now, equity=100_000.0 + number, daily_pnl=float(number)))
            history.note(manager)
            if number % 3 != 1:  # groups of two and of one
                manager.flush()
                disk.acknowledge(manager.state.sequence, saved=saved)
            if number % 4 == 3:
                try:
                    manager.save_blocking()
                except SnapshotFailedError:
                    continue  # the trader goes on, too: the journal holds everything
                saved = True
                disk.acknowledge(manager.state.sequence, saved=saved)


def looped_run(logs: Path, disk: PromisingDisk, history: History, run: str, events: int = 6) -> None:
    """The same in an event loop, where saves and the journal have threads of their own."""

    async def go() -> None:
        loop = asyncio.get_running_loop()
        with SmallManager.open(logs, run, disk=disk) as manager:
            manager.begin(DATE, ACCOUNT, GATEWAY, OPEN, loop=loop)
            history.note(manager)
            saved = False
            for number in range(events):
                alert = AlertRaised(time=OPEN + timedelta(seconds=number), text=f"{run} {number}", key=f"k{number}")
                sequence = manager.record(alert)
                history.note(manager)
                if number % 2:
                    saved = await manager.save() or saved
                else:
                    await manager.durable(sequence)
                disk.acknowledge(sequence, saved=saved)

    asyncio.run(go())


def short_run(logs: Path, disk: PromisingDisk, history: History, run: str) -> None:
    """What a second run does before it is cut off."""
    inline_run(logs, disk, history, run, events=5)


Program = Callable[[Path, PromisingDisk, History, str], None]


# Building a disk, and looking at it


class Bench:
    """A real folder in memory that is made to hold one image after the other."""

    def __init__(self) -> None:
        self.root = scratch()
        self._there: dict[str, bytes | None] = {}

    def hold(self, paths: dict[str, bytes | None]) -> Path:
        """Make the folder hold exactly these; only what differs from the last time is written."""
        for path in sorted(self._there.keys() - paths.keys(), reverse=True):
            if self._there[path] is None:
                (self.root / path).rmdir()
            else:
                (self.root / path).unlink()
        for path in sorted(paths):
            content = paths[path]
            if path in self._there and self._there[path] == content:
                continue
            if content is None:
                (self.root / path).mkdir(mode=0o700)
            else:
                (self.root / path).write_bytes(content)
        self._there = dict(paths)
        return self.root

    def close(self) -> None:
        shutil.rmtree(self.root)


def judge(tally: Tally, found: Loaded, image: Image, history: History) -> None:
    """Hold what the loader made of an image against what had been promised."""
    where = f"after operation {image.done}"
    sequence = found.state.sequence if found.state is not None else 0
    if sequence < image.promised.sequence:
        promised = image.promised.sequence
        tally.fail("lost", f"{where}: {promised} events were promised, {sequence} are there: {found.notes}")
    elif found.state is not None and msgspec.json.encode(found.state) != history.states.get(sequence):
        tally.fail("resurrected", f"{where}: event {sequence} is not the one that was written last")
    if image.promised.saved and not found.main_valid:
        tally.fail("lost", f"{where}: no whole main file: {found.notes}")
    if found.doubtful or found.damaged:
        tally.fail("wrong", f"{where}: an ordinary crash was taken for damage: {found.notes}")


def look(tally: Tally, bench: Bench, image: Image, history: History) -> None:
    """Build one image, load it, judge it."""
    tally.points += 1
    logs = bench.hold(image.tree.paths())
    try:
        with Folder.open(logs) as folder:
            found = load(folder)
    except TraderError as error:
        tally.fail("wrong", f"after operation {image.done}: {error}")
        return
    judge(tally, found, image, history)


def record(program: Program, history: History, run: str, start: Tree, promised: Acked, slow_sync: bool) -> Recorded:
    """Run a program on a folder that holds `start`, and note what it does to the disk."""
    bench = Bench()
    logs = bench.hold(start.paths())
    disk = RecordingDisk(logs, start, sync_takes_s=SLOW_SYNC_S if slow_sync else 0.0)
    disk.acknowledge(promised.sequence, saved=promised.saved)
    try:
        program(logs, disk, history, run)
    finally:
        bench.close()
    return Recorded(start, tuple(disk.operations), history.states)


# The campaigns


def snapshots(every: int = 400, kills: int = 12) -> list[Tally]:
    """All crashes of both programs; from each `every`-th disk, all crashes of a second run.

    kills: at so many moments the program is killed instead (the kernel lives), started again, and then the power
    goes: what the restarted program read may never have reached the disk.
    """
    rows = {name: Tally(name) for name in (SNAPSHOTS, SECOND, KILLED)}
    for program, slow in ((inline_run, False), (looped_run, True)):
        recorded = record(program, History(), "first", Tree(), Acked(0), slow)
        found = list(islice(images(recorded.start, recorded.operations), IMAGES_MAX))
        with rows[SNAPSHOTS].timed():
            _take(rows, spread(_look_all, [(found[at::8], recorded.states) for at in range(8)]))
        with rows[SECOND].timed():
            _take(rows, spread(_cut_again, [(image, recorded.states) for image in found[every // 2 :: every]]))
        with rows[KILLED].timed():
            cuts = _moments(recorded.operations)[:kills]
            _take(rows, spread(_cut_after_kill, [(recorded, cut) for cut in cuts]))
    return list(rows.values())


def _moments(operations: tuple[Operation, ...]) -> list[int]:
    """When to kill: after each change of names, which only the kernel may know then; and at some other times."""
    named = [at for at, operation in enumerate(operations, 1) if isinstance(operation, Named)]
    others = [at for at in range(3, len(operations), 5) if at not in named]
    mixed = [at for pair in zip_longest(named, others) for at in pair if at is not None]
    return [*named[:5], *(at for at in mixed if at not in named[:5])]


def _take(rows: dict[str, Tally], parts: Iterator[Tally]) -> None:
    for part in parts:
        rows[part.fault].add(part)


def _look_all(job: tuple[list[Image], dict[int, bytes]]) -> Tally:
    return _look_at(SNAPSHOTS, iter(job[0]), History(job[1]))


def _cut_again(job: tuple[Image, dict[int, bytes]]) -> Tally:
    """Start on what a crash left, go on, and be cut off again; what the first run lost must stay lost."""
    image, states = job
    start = Tree.of(image.tree.paths())
    history = History(states).forked(_sequence_of(start))
    second = record(short_run, history, "second", start, image.promised, slow_sync=False)
    return _look_at(SECOND, images(start, second.operations, step_bytes=7), history)


def _cut_after_kill(job: tuple[Recorded, int]) -> Tally:
    """Killed after `cut` operations, started again in the same kernel; then the power goes, at each moment."""
    first, cut = job
    before = first.operations[:cut]
    seen = carried_out(first.start, before)
    history = History(first.states).forked(_sequence_of(seen))
    promised = [operation for operation in before if isinstance(operation, Acked)][-1]
    second = record(short_run, history, "second", seen, promised, slow_sync=False)
    return _look_at(KILLED, images(first.start, before + second.operations, step_bytes=7, since=cut + 1), history)


def _look_at(fault: str, found: Iterator[Image], history: History) -> Tally:
    tally, bench = Tally(fault), Bench()
    for image in islice(found, IMAGES_MAX):
        look(tally, bench, image, history)
        if tally.bad > ENOUGH:
            break
    bench.close()
    return tally


def _sequence_of(tree: Tree) -> int:
    """The event that a start on these files goes on from."""
    bench = Bench()
    try:
        with Folder.open(bench.hold(tree.paths())) as folder:
            found = load(folder).state
    finally:
        bench.close()
    return found.sequence if found is not None else 0
