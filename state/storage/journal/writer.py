"""Writing: one commit at a time, each one pwrite and one fdatasync; then those who wait are resolved.

With an event loop a thread of its own commits, and takes all that was queued while it was busy (group commit).
Without one the caller's thread commits. Any error but a short write is final: the writer stops, every waiter gets
the error, and nothing is tried again.
"""

import asyncio
import errno
import logging
import threading
from collections.abc import Callable
from itertools import groupby
from queue import SimpleQueue

from state.errors import DiskError, InvariantError, SyncFailedError
from state.storage.disk import write_all
from state.storage.files import Folder, sync_fd
from state.storage.journal.segment import SegmentKeeper, segment_name

CLOSE_TIMEOUT_S = 5.0
"""How long `close` waits for a disk that may not answer any more."""

_log = logging.getLogger(__name__)

Entry = tuple[int, bytes, int]  # sequence, line, number of the segment it belongs to


class Committer:
    """Writes groups of lines to disk, in order. Blocking; for one thread.

    Every error is SyncFailedError, except the DiskError of a segment that cannot be opened at the start.
    """

    def __init__(self, folder: Folder, keeper: SegmentKeeper, segment: int, offset: int, size_bytes: int) -> None:
        self.segment = segment
        self.path = folder.path / segment_name(segment)
        self._folder = folder
        self._keeper = keeper
        self._size_bytes = size_bytes
        self._offset = offset
        try:
            self._fd = folder.disk.open_existing(segment_name(segment), folder.fd)
        except OSError as cause:
            raise DiskError("open", self.path, cause) from cause

    def commit(self, batch: list[Entry]) -> None:
        """Write the batch; when it returns, all of it is durable."""
        if batch[0][2] == batch[-1][2]:
            self._commit_group(batch[0][2], b"".join([line for _, line, _ in batch]))
            return
        for segment, group in groupby(batch, key=lambda entry: entry[2]):
            self._commit_group(segment, b"".join([line for _, line, _ in group]))

    def close(self) -> None:
        self._folder.disk.close(self._fd)

    def _commit_group(self, segment: int, data: bytes) -> None:
        try:
            if segment != self.segment:
                self._switch(segment)
            write_all(self._folder.disk, self._fd, data, self._offset)
            sync_fd(self._folder.disk.fdatasync, self._fd, self.path)
        except SyncFailedError:
            raise
        except DiskError as failure:
            raise SyncFailedError(failure.operation, failure.path, failure.cause) from failure
        except OSError as cause:
            raise SyncFailedError("write to", self.path, cause) from cause
        self._offset += len(data)
        if self._offset > self._size_bytes // 2:
            self._keeper.prepare(segment + 1)

    def _switch(self, segment: int) -> None:
        self._keeper.take(segment)
        fd = self._folder.disk.open_existing(segment_name(segment), self._folder.fd)
        self._folder.disk.close(self._fd)
        self._fd, self._offset, self.segment = fd, 0, segment
        self.path = self._folder.path / segment_name(segment)


class InlineWriter:
    """For programs without an event loop: `flush` commits what was put, in the caller's thread."""

    def __init__(self, committer: Committer, durable: int) -> None:
        self.durable = durable
        self.failure: SyncFailedError | None = None
        self._committer = committer
        self._pending: list[Entry] = []

    def put(self, entry: Entry) -> None:
        self._pending.append(entry)

    def fail(self, failure: SyncFailedError) -> None:
        self.failure = self.failure or failure

    async def wait(self, sequence: int) -> None:
        raise InvariantError(f"Sequence {sequence} is awaited in a journal opened without an event loop.")

    def flush(self) -> None:
        """Commit what was put. Raises the failure, also that of an earlier call."""
        if self.failure is not None:
            raise self.failure
        if not self._pending:
            return
        batch, self._pending = self._pending, []
        try:
            self._committer.commit(batch)
        except SyncFailedError as failure:
            self.failure = failure
            raise
        self.durable = batch[-1][0]

    def close(self) -> None:
        try:
            if self.failure is None:
                self.flush()
        finally:
            self._committer.close()


class ThreadedWriter:
    """For an event loop: `put` and `wait` in the loop's thread, the disk in a thread of its own.

    durable and failure are set by that thread and may be read by any. Entries go there through a SimpleQueue. Back
    goes one call_soon_threadsafe a group, whose cost for the loop does not depend on the size of the group.
    """

    def __init__(
        self,
        committer: Committer,
        durable: int,
        loop: asyncio.AbstractEventLoop,
        on_failure: Callable[[SyncFailedError], None],
    ) -> None:
        self.durable = durable
        self.failure: SyncFailedError | None = None
        self._committer = committer
        self._loop = loop
        self._on_failure = on_failure
        self._queue: SimpleQueue[Entry | None] = SimpleQueue()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._progress = threading.Condition()
        self._put_last = durable
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="journal-writer", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        self._put_last = entry[0]
        self._queue.put(entry)

    async def wait(self, sequence: int) -> None:
        """Return once `sequence` is durable. SyncFailedError if it never will be."""
        if sequence <= self.durable:
            return
        if self.failure is not None:
            raise self.failure
        if self._closed:
            raise InvariantError(f"Sequence {sequence} is awaited, but the journal was closed before it.")
        future = self._loop.create_future()
        self._waiters.append((sequence, future))
        await future

    def flush(self) -> None:
        """Block until all that was put is durable. Not for the loop's thread while the loop runs."""
        last = self._put_last
        with self._progress:
            self._progress.wait_for(lambda: self.durable >= last or self.failure is not None)
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Write what was put, end the thread. A failure was passed to on_failure and is not raised again.

        A flush that does not return is given up: no event waiting for it was called durable, and the thread is a
        daemon.
        """
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            _log.critical("%s: the last flush has not returned within %g s.", self._committer.path, CLOSE_TIMEOUT_S)
            return
        self._committer.close()

    def fail(self, failure: SyncFailedError) -> None:
        """Stop for good. May be called from any thread; only the first call has an effect."""
        with self._progress:
            if self.failure is not None:
                return
            self.failure = failure
            self._progress.notify_all()
        self._call_loop(lambda: self._on_failure(failure))  # first: a woken waiter may check for a failure at once
        self._call_loop(self._wake)

    def _work(self) -> None:
        """The thread: take all that is queued, commit it, wake the loop; until a None or a failure."""
        queue = self._queue
        stopping = False
        while not stopping:
            batch = [queue.get()]
            batch += [queue.get_nowait() for _ in range(queue.qsize())]
            stopping = None in batch
            entries = [entry for entry in batch if entry is not None]
            if self.failure is None and entries:
                self._commit(entries)

    def _commit(self, entries: list[Entry]) -> None:
        try:
            self._committer.commit(entries)
        except SyncFailedError as failure:
            self.fail(failure)
        except Exception as defect:  # noqa: BLE001 - after any error, waiters must not wait for ever
            cause = OSError(errno.EIO, f"a defect stopped the journal's thread: {defect!r}")
            self.fail(SyncFailedError("write", self._committer.path, cause))
        else:
            with self._progress:
                self.durable = entries[-1][0]
                self._progress.notify_all()
            self._call_loop(self._wake)

    def _call_loop(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop is closed: there are no waiters any more
            return

    def _wake(self) -> None:
        """In the loop: resolve the waiters for what is durable now; after a failure the others get the error."""
        waiting, self._waiters = self._waiters, []
        for sequence, future in waiting:
            if future.done():  # cancelled meanwhile
                continue
            if sequence <= self.durable:
                future.set_result(None)
            elif self.failure is not None:
                future.set_exception(self.failure)
            else:
                self._waiters.append((sequence, future))
