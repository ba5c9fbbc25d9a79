"""Writing with an event loop: group commit, when waiters return, and that a failure is final."""

import asyncio
import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from disk_faults import CountingDisk, FailingDisk, ShortWriteDisk, UnsyncedDisk
from journal_cases import clock, numbers, open_journal, payload, segment

from state.errors import InvariantError, StateError, SyncFailedError
from state.storage.disk import Disk
from state.storage.files import Folder
from state.storage.journal import Journal, Verdict, read_journal

REPO = Path(__file__).resolve().parents[2]
SIZE_BYTES = 4096


def open_in_loop(
    path: Path,
    disk: Disk | None = None,
    failures: list[SyncFailedError] | None = None,
    size_bytes: int = SIZE_BYTES,
) -> Journal:
    reported = failures if failures is not None else []
    return Journal.open(
        Folder.open(path, disk=disk).subfolder("journal"),
        snapshot_sequence=0,
        clock=clock,
        loop=asyncio.get_running_loop(),
        on_failure=reported.append,
        segment_bytes=size_bytes,
    )


class WaitingDisk(CountingDisk):
    """Once `released` is cleared, every fdatasync waits until it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.released.set()
        self.waiting = threading.Event()

    def fdatasync(self, fd: int) -> None:
        self.waiting.set()
        assert self.released.wait(10)
        super().fdatasync(fd)


async def test_i1_no_waiter_returns_before_the_flush_has_returned(tmp_path: Path) -> None:
    disk = WaitingDisk()
    journal = open_in_loop(tmp_path, disk)
    disk.released.clear()
    sequence = journal.append("test", payload(1))
    waiter = asyncio.create_task(journal.wait_durable(sequence))
    await asyncio.to_thread(disk.waiting.wait, 10)
    await asyncio.sleep(0)
    assert not waiter.done()
    assert journal.durable_sequence == 0
    disk.released.set()
    await asyncio.wait_for(waiter, 10)
    assert journal.durable_sequence == 1
    await asyncio.to_thread(journal.close)


async def test_what_is_queued_during_a_flush_shares_the_next_one(tmp_path: Path) -> None:
    disk = WaitingDisk()
    journal = open_in_loop(tmp_path, disk, size_bytes=65536)
    disk.waiting.clear()
    disk.released.clear()
    journal.append("test", payload(1))
    await asyncio.to_thread(disk.waiting.wait, 10)
    before = disk.calls.count("fdatasync")
    waiters = [journal.wait_durable(journal.append("test", payload(number))) for number in range(2, 66)]
    disk.released.set()
    await asyncio.wait_for(asyncio.gather(*waiters), 10)
    assert disk.calls.count("fdatasync") - before == 2
    await asyncio.to_thread(journal.close)
    assert numbers(read_journal(tmp_path / "journal")) == list(range(1, 66))


async def test_cancelled_waiter_leaves_the_others_and_the_record(tmp_path: Path) -> None:
    disk = WaitingDisk()
    journal = open_in_loop(tmp_path, disk)
    disk.released.clear()
    sequence = journal.append("test", payload(1))
    first, second = (asyncio.create_task(journal.wait_durable(sequence)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    disk.released.set()
    await asyncio.wait_for(second, 10)
    assert first.cancelled()
    await asyncio.to_thread(journal.close)
    assert numbers(read_journal(tmp_path / "journal")) == [1]


async def test_i11_failed_flush_fails_every_waiter_and_is_never_retried(tmp_path: Path) -> None:
    failures: list[SyncFailedError] = []
    disk = UnsyncedDisk()
    journal = open_in_loop(tmp_path, disk, failures)
    results = await asyncio.wait_for(
        asyncio.gather(
            *(journal.wait_durable(journal.append("test", payload(number))) for number in range(3)),
            return_exceptions=True,
        ),
        10,
    )
    assert [type(result) for result in results] == [SyncFailedError] * 3
    with pytest.raises(SyncFailedError):
        journal.append("test", payload(4))
    with pytest.raises(SyncFailedError):
        await journal.wait_durable(3)
    with pytest.raises(SyncFailedError):
        await asyncio.to_thread(journal.flush)
    assert journal.durable_sequence == 0
    await asyncio.to_thread(journal.close)
    await asyncio.sleep(0)
    assert len(failures) == 1
    assert disk.syncs == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
async def test_refused_write_is_final_too(tmp_path: Path, code: int) -> None:
    disk = FailingDisk()
    journal = open_in_loop(tmp_path, disk)
    await journal.wait_durable(journal.append("test", payload(1)))
    disk.failing["pwrite"] = code
    with pytest.raises(SyncFailedError):
        await asyncio.wait_for(journal.wait_durable(journal.append("test", payload(2))), 10)
    disk.failing.clear()
    with pytest.raises(SyncFailedError):
        journal.append("test", payload(3))
    await asyncio.to_thread(journal.close)
    assert numbers(read_journal(tmp_path / "journal")) == [1]


async def test_defect_in_the_thread_does_not_leave_anybody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_in_loop(tmp_path)

    monkeypatch.setattr("state.storage.journal.writer.write_all", None)  # a defect in the program
    with pytest.raises(SyncFailedError, match="defect"):
        await asyncio.wait_for(journal.wait_durable(journal.append("test", payload(1))), 10)
    await asyncio.to_thread(journal.close)


def test_short_writes_go_on(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, disk=ShortWriteDisk())
    for number in range(1, 6):
        journal.append_durable_blocking("test", payload(number))
    journal.close()
    assert numbers(read_journal(tmp_path / "journal")) == [1, 2, 3, 4, 5]


async def test_many_segments_in_one_group(tmp_path: Path) -> None:
    journal = open_in_loop(tmp_path, size_bytes=1024)
    for number in range(1, 101):
        sequence = journal.append("test", payload(number))
    await asyncio.wait_for(journal.wait_durable(sequence), 10)
    await asyncio.to_thread(journal.close)
    report = read_journal(tmp_path / "journal")
    assert (report.verdict, numbers(report)) == (Verdict.CLEAN, list(range(1, 101)))
    assert segment(tmp_path, 10).exists()


def test_drop_below_removes_only_segments_wholly_below(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, size_bytes=1024)
    for number in range(1, 31):
        journal.append_durable_blocking("test", payload(number))
    second = next(after for segment_number, after in journal._starts if segment_number == 2)
    journal.drop_below(second - 1)
    journal.close()
    assert segment(tmp_path, 1).exists()
    again = open_journal(tmp_path, size_bytes=1024)
    again.drop_below(second)
    again.drop_below(10_000)  # never the segment that is being written
    again.append_durable_blocking("test", payload(31))
    again.close()
    assert not segment(tmp_path, 1).exists()
    report = open_journal(tmp_path, snapshot=30).report
    assert report.verdict is Verdict.CLEAN
    assert report.last_sequence == 31


def test_event_larger_than_a_segment_is_refused_and_the_journal_goes_on(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, size_bytes=1024)
    with pytest.raises(StateError, match="does not fit"):
        journal.append_durable_blocking("test", b'"' + b"x" * 2000 + b'"')
    journal.append_durable_blocking("test", payload(1))
    journal.close()
    assert numbers(read_journal(tmp_path / "journal")) == [1]


async def test_misuse_is_a_clear_error(tmp_path: Path) -> None:
    journal = open_in_loop(tmp_path)
    with pytest.raises(InvariantError, match="blocked the event loop"):
        journal.append_durable_blocking("test", payload(1))
    await asyncio.to_thread(journal.close)
    with pytest.raises(InvariantError, match="closed"):
        journal.append("test", payload(1))


WRITER = """
import asyncio, sys
from pathlib import Path
from state.storage.files import Folder
from state.storage.journal import Journal
async def run():
    journal = Journal.open(Folder.open(Path(sys.argv[1])), snapshot_sequence=0, clock=lambda: "now",
                           loop=asyncio.get_running_loop(), segment_bytes=16384)
    while True:
        sequence = journal.append("test", b'{"n":"00000"}')
        await journal.wait_durable(sequence)
        sys.stdout.write(f"{sequence}\\n"); sys.stdout.flush()
asyncio.run(run())
"""


def test_kill_9_loses_nothing_acknowledged_and_a_reader_beside_sees_whole_records(tmp_path: Path) -> None:
    last = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "journal")], cwd=REPO, text=True, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        goal = last + 150
        while last < goal:
            last = int(process.stdout.readline())
            if last % 50 == 0:
                live = read_journal(tmp_path / "journal")
                assert live.verdict in (Verdict.CLEAN, Verdict.TORN)
                assert live.last_sequence >= last
        process.kill()
        rest, _ = process.communicate(timeout=10)
        last = max([last, *(int(line) for line in rest.split("\n")[:-1])])
        report = read_journal(tmp_path / "journal")
        assert report.verdict in (Verdict.CLEAN, Verdict.TORN)
        assert report.last_sequence >= last
        last = report.last_sequence
