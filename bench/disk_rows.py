"""The other disk measurements: group commit, the regular snapshot, the event loop beside disk load, replay."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.cases import EVENT, lengthen_journal, state_of
from bench.measure import Call, Method, Row, interleave, spread
from state.domain.recording import encode_event
from state.storage.codec import encode_state
from state.storage.files import Folder
from state.storage.journal import Journal
from state.storage.loader import load
from state.storage.snapshot import SnapshotStore

WAITERS = 64
TICK_S = 0.001


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@contextmanager
def _journal(folder: Path, loop: asyncio.AbstractEventLoop) -> Iterator[Journal]:
    with Folder.open(folder) as opened:
        journal = Journal.open(opened, snapshot_sequence=0, clock=_now, loop=loop)
        yield journal
        journal.close()


# Group commit


def group_commit(folder: Path, rounds: int, events: int) -> list[Row]:
    """Durable events a second, with 64 tasks that each wait for their own event."""
    rates = []
    for number in range(rounds):
        place = folder / f"group-{number}"
        place.mkdir(parents=True)
        rates.append(asyncio.run(_rate(place, events)))
    figures = spread(rates)
    note = f"quartiles {figures.low:,.0f} to {figures.high:,.0f}"
    return [
        Row(
            "durable events a second, 64 waiters",
            "journal",
            median(rates),
            "a second",
            target=50_000.0,
            better="high",
            note=note,
        )
    ]


async def _rate(folder: Path, events: int) -> float:
    with _journal(folder, asyncio.get_running_loop()) as journal:
        kind, each = EVENT.kind(), max(1, events // WAITERS)

        async def wait_for_each() -> None:
            for _ in range(each):
                await journal.wait_durable(journal.append(kind, encode_event(EVENT)))

        began = time.perf_counter()
        await asyncio.gather(*(wait_for_each() for _ in range(WAITERS)))
        return each * WAITERS / (time.perf_counter() - began)


# The regular snapshot


def snapshot(folder: Path, rounds: int, calls: int) -> list[Row]:
    """A snapshot with its backup, against the minimum of calls that replace one file durably."""
    group, bare, safe = "a snapshot of 2 KB", "temp + fsync + rename + fsync of the folder", "snapshot with backup"
    found = interleave([Method(bare, _bare), Method(safe, _store)], folder, rounds, calls)
    values = {name: (found.middle(name) or 0.0) * 1e6 for name in (bare, safe)}
    return [
        Row(group, bare, values[bare], "µs"),
        Row(group, safe, values[safe], "µs", bare, found.ratio(safe, bare), 1.15),
    ]


def _content() -> bytes:
    return encode_state(state_of(1), datetime.now(UTC))


@contextmanager
def _bare(folder: Path) -> Iterator[Call]:
    content, where = _content(), os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def once() -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        file = os.open("state.tmp", flags, 0o600, dir_fd=where)
        os.write(file, content)
        os.fsync(file)
        os.close(file)
        os.rename("state.tmp", "state.json", src_dir_fd=where, dst_dir_fd=where)
        os.fsync(where)

    yield once
    os.close(where)


@contextmanager
def _store(folder: Path) -> Iterator[Call]:
    content = _content()
    with Folder.open(folder) as opened:
        store = SnapshotStore(opened)
        store.mark_main_valid(valid=True)
        yield lambda: store.write(content, lambda _: None)


# The event loop beside disk load of another process

LOAD = """
import os, sys
file, noise = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), os.urandom(1 << 25)
print("ready", flush=True)
while True:
    os.pwrite(file, noise, 0)
    os.pwrite(file, noise, 1 << 25)
    os.fsync(file)
"""


def loop_lag(folder: Path, rounds: int, seconds: float) -> list[Row]:
    """The longest delay of the event loop while events are made durable and another process loads the disk."""
    idle, journal, inline = [], [], []
    for number in range(rounds):
        place = folder / f"lag-{number}"
        place.mkdir(parents=True)
        with _disk_load(place):
            idle.append(asyncio.run(_longest_delay(seconds)) * 1e3)
            journal.append(asyncio.run(_lag_of_journal(place, seconds)) * 1e3)
            inline.append(asyncio.run(_lag_of_inline(place, seconds)) * 1e3)
    group, peer = "event loop beside a noisy disk, longest delay", "write + fdatasync in the loop"
    ratio = spread([b / a for a, b in zip(journal, inline, strict=True)])
    return [
        Row(group, "nothing is written", max(idle), "ms", note="the machine's own share"),
        Row(group, "journal", max(journal), "ms", target=25.0, note="the longest of all rounds"),
        Row(group, peer, max(inline), "ms", "journal", ratio, 20.0, "high", "the longest of all rounds"),
    ]


@contextmanager
def _disk_load(folder: Path) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", LOAD, str(folder / "noise")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


async def _longest_delay(seconds: float) -> float:
    clock = asyncio.get_running_loop().time
    end, longest = clock() + seconds, 0.0
    while (began := clock()) < end:
        await asyncio.sleep(TICK_S)
        longest = max(longest, clock() - began - TICK_S)
    return longest


async def _lag_of_journal(folder: Path, seconds: float) -> float:
    (folder / "journal").mkdir()
    with _journal(folder / "journal", asyncio.get_running_loop()) as journal:

        async def write() -> None:
            while True:
                await journal.wait_durable(journal.append(EVENT.kind(), encode_event(EVENT)))
                await asyncio.sleep(0)

        return await _beside(write(), seconds)


async def _lag_of_inline(folder: Path, seconds: float) -> float:
    file = os.open(folder / "inline", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def write() -> None:
        while True:
            os.write(file, encode_event(EVENT) + b"\n")
            os.fdatasync(file)
            await asyncio.sleep(0)

    try:
        return await _beside(write(), seconds)
    finally:
        os.close(file)


async def _beside(work: object, seconds: float) -> float:
    assert asyncio.iscoroutine(work)
    task = asyncio.create_task(work)
    try:
        return await _longest_delay(seconds)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# Replay


def replay(folder: Path, rounds: int, events: int) -> list[Row]:
    """Load the state of a killed run: snapshot and journal, with every event checked and applied."""
    place = folder / "replay"
    place.mkdir(parents=True)
    lengthen_journal(place, events)
    taken = []
    with Folder.open(place) as opened:
        for _ in range(rounds):
            began = time.perf_counter()
            loaded = load(opened)
            taken.append((time.perf_counter() - began) * 1e3)
            assert loaded.state is not None
            assert loaded.state.sequence == events + 1, "not every event was replayed"
    figures = spread(taken)
    note = f"quartiles {figures.low:.1f} to {figures.high:.1f}"
    return [Row(f"replay of {events:,} events", "load", median(taken), "ms", target=20.0, note=note)]
