"""Every power loss: a run is recorded, each disk that a crash can leave is built, and the real loader reads it.

A state manager records events and saves, inline and in an event loop, with segment changes. From some of the disks
that a crash leaves, it starts again and is interrupted a second time. `crashlab.groups` does the same with the
journal alone.
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
from crashlab.recording import Acked, AcknowledgingDisk, Named, Operation, RecordingDisk, Tree
from crashlab.report import Tally
from state.domain.events import AlertRaised, EquityMarked
from state.errors import SnapshotFailedError, TraderError
from state.manager import StateManager
from state.storage.files import Folder
from state.storage.loader import Loaded, load

DATE, ACCOUNT, GATEWAY = "2025-10-06", "DU1234567", "127.0.0.1:17497"
OPEN = datetime(2025, 10, 6, 13, 45, tzinfo=UTC)
TMPFS = Path("/dev/shm")  # noqa: S108 - in RAM, because hundreds of thousands of disks are built
SNAPSHOTS = "power loss: snapshots"
SECOND = "power loss: after a restart"
KILLED = "power loss: after a kill and a restart"
IMAGES_MAX = 60_000  # ten times as many as the program leaves; a program that does not flush leaves far more
FAILURES_MAX = 200  # of one job; it stops then
SLOW_SYNC_S = 0.01  # duration of each flush, so that a thread that does not wait for it is found


class SmallManager(StateManager):
    """The real manager, with segments that are full after a few events."""

    segment_bytes = 2048


@dataclass
class History:
    """The encoded state at each sequence, as the last run that wrote the sequence had it in memory."""

    states: dict[int, bytes] = field(default_factory=dict)

    def note(self, manager: StateManager) -> None:
        self.states[manager.state.sequence] = encoded(manager)

    def forked(self, at: int) -> History:
        """The history of a run that continues from event `at`: later states are dropped."""
        return History({sequence: state for sequence, state in self.states.items() if sequence <= at})


@dataclass(frozen=True)
class Recorded:
    """The disk that a run started on, its operations, and its state after each event."""

    start: Tree
    operations: tuple[Operation, ...]
    states: dict[int, bytes]


def encoded(manager: StateManager) -> bytes:
    return msgspec.json.encode(manager.state)


def scratch() -> Path:
    """A temporary folder, on tmpfs if there is one."""
    return Path(tempfile.mkdtemp(prefix="crashlab-", dir=TMPFS if TMPFS.is_dir() else None))


# The programs that are interrupted


def inline_run(logs: Path, disk: AcknowledgingDisk, history: History, run: str, events: int = 12) -> None:
    """Record and save without an event loop. Each acknowledgement is recorded when the manager has given it."""
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
                    continue  # the trader continues, too: the journal holds every event
                saved = True
                disk.acknowledge(manager.state.sequence, saved=saved)


def looped_run(logs: Path, disk: AcknowledgingDisk, history: History, run: str, events: int = 6) -> None:
    """The same in an event loop, where saves and journal writes run in threads."""

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


def short_run(logs: Path, disk: AcknowledgingDisk, history: History, run: str) -> None:
    """What a second run does before it is interrupted."""
    inline_run(logs, disk, history, run, events=5)


Program = Callable[[Path, AcknowledgingDisk, History, str], None]


# Building and judging disks


class ImageFolder:
    """A real folder in which one image after the other is built."""

    def __init__(self) -> None:
        self.root = scratch()
        self._built: dict[str, bytes | None] = {}

    def build(self, paths: dict[str, bytes | None]) -> Path:
        """Give the folder exactly these contents. Only differences from the last image are written."""
        for path in sorted(self._built.keys() - paths.keys(), reverse=True):
            if self._built[path] is None:
                (self.root / path).rmdir()
            else:
                (self.root / path).unlink()
        for path in sorted(paths):
            content = paths[path]
            if path in self._built and self._built[path] == content:
                continue
            if content is None:
                (self.root / path).mkdir(mode=0o700)
            else:
                (self.root / path).write_bytes(content)
        self._built = dict(paths)
        return self.root

    def close(self) -> None:
        shutil.rmtree(self.root)


def judge(tally: Tally, found: Loaded, image: Image, history: History) -> None:
    """Compare what the loader read from an image with what had been acknowledged."""
    where = f"after operation {image.done}"
    sequence = found.state.sequence if found.state is not None else 0
    if sequence < image.acked.sequence:
        acked = image.acked.sequence
        tally.fail("lost", f"{where}: {acked} events were acknowledged, {sequence} were read: {found.notes}")
    elif found.state is not None and msgspec.json.encode(found.state) != history.states.get(sequence):
        tally.fail("resurrected", f"{where}: event {sequence} is not the one written last")
    if image.acked.saved and not found.main_valid:
        tally.fail("lost", f"{where}: no valid main file: {found.notes}")
    if found.doubtful or found.damaged:
        tally.fail("wrong", f"{where}: an ordinary crash was reported as damage: {found.notes}")


def load_and_judge(tally: Tally, image_folder: ImageFolder, image: Image, history: History) -> None:
    """Build one image, load the state from it, judge it."""
    tally.points += 1
    logs = image_folder.build(image.tree.paths())
    try:
        with Folder.open(logs) as folder:
            found = load(folder)
    except TraderError as error:
        tally.fail("wrong", f"after operation {image.done}: {error}")
        return
    judge(tally, found, image, history)


def record(program: Program, history: History, run: str, start: Tree, acked: Acked, slow_sync: bool) -> Recorded:
    """Run a program on a folder with the contents `start`, and record its disk operations."""
    image_folder = ImageFolder()
    logs = image_folder.build(start.paths())
    disk = RecordingDisk(logs, start, sync_takes_s=SLOW_SYNC_S if slow_sync else 0.0)
    disk.acknowledge(acked.sequence, saved=acked.saved)
    try:
        program(logs, disk, history, run)
    finally:
        image_folder.close()
    return Recorded(start, tuple(disk.operations), history.states)


# The campaigns


def snapshots(every: int = 400, kills: int = 12) -> list[Tally]:
    """All crashes of both programs; from each `every`-th disk, all crashes of a second run.

    kills: number of moments at which the program is killed instead (the kernel keeps running) and started again;
    the power loss comes then. What the restarted program has read may not have reached the disk.
    """
    rows = {name: Tally(name) for name in (SNAPSHOTS, SECOND, KILLED)}
    for program, slow in ((inline_run, False), (looped_run, True)):
        recorded = record(program, History(), "first", Tree(), Acked(0), slow)
        found = list(islice(images(recorded.start, recorded.operations), IMAGES_MAX))
        with rows[SNAPSHOTS].timed():
            _add_all(rows, spread(_judge_first_run, [(found[at::8], recorded.states) for at in range(8)]))
        with rows[SECOND].timed():
            _add_all(
                rows, spread(_judge_second_run, [(image, recorded.states) for image in found[every // 2 :: every]])
            )
        with rows[KILLED].timed():
            cuts = _kill_moments(recorded.operations)[:kills]
            _add_all(rows, spread(_judge_after_kill, [(recorded, cut) for cut in cuts]))
    return list(rows.values())


def _kill_moments(operations: tuple[Operation, ...]) -> list[int]:
    """When to kill: after each change of names, which may not be on the disk yet; and at some other operations."""
    named = [at for at, operation in enumerate(operations, 1) if isinstance(operation, Named)]
    others = [at for at in range(3, len(operations), 5) if at not in named]
    mixed = [at for pair in zip_longest(named, others) for at in pair if at is not None]
    return [*named[:5], *(at for at in mixed if at not in named[:5])]


def _add_all(rows: dict[str, Tally], parts: Iterator[Tally]) -> None:
    for part in parts:
        rows[part.fault].add(part)


def _judge_first_run(job: tuple[list[Image], dict[int, bytes]]) -> Tally:
    return _judge_all(SNAPSHOTS, iter(job[0]), History(job[1]))


def _judge_second_run(job: tuple[Image, dict[int, bytes]]) -> Tally:
    """Start on a disk that a crash left, continue, and crash again. What the first run lost must stay lost."""
    image, states = job
    start = Tree.of(image.tree.paths())
    history = History(states).forked(_sequence_of(start))
    second = record(short_run, history, "second", start, image.acked, slow_sync=False)
    return _judge_all(SECOND, images(start, second.operations, step_bytes=7), history)


def _judge_after_kill(job: tuple[Recorded, int]) -> Tally:
    """Kill after `cut` operations, start again in the same kernel; then lose power, at each moment."""
    first, cut = job
    before = first.operations[:cut]
    seen = carried_out(first.start, before)
    history = History(first.states).forked(_sequence_of(seen))
    acked = [operation for operation in before if isinstance(operation, Acked)][-1]
    second = record(short_run, history, "second", seen, acked, slow_sync=False)
    return _judge_all(KILLED, images(first.start, before + second.operations, step_bytes=7, since=cut + 1), history)


def _judge_all(fault: str, found: Iterator[Image], history: History) -> Tally:
    tally, image_folder = Tally(fault), ImageFolder()
    for image in islice(found, IMAGES_MAX):
        load_and_judge(tally, image_folder, image, history)
        if tally.bad > FAILURES_MAX:
            break
    image_folder.close()
    return tally


def _sequence_of(tree: Tree) -> int:
    """The sequence from which a start on these files continues."""
    image_folder = ImageFolder()
    try:
        with Folder.open(image_folder.build(tree.paths())) as folder:
            found = load(folder).state
    finally:
        image_folder.close()
    return found.sequence if found is not None else 0
