"""Segments: the journal's files, made with their full size, so that an append changes no metadata.

They are filled with newlines. So a segment is a readable text file, an append is an overwrite, which is the fastest
write, and no append can run out of space. A background thread makes the next segment while this one fills.
"""

import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from state.errors import SyncFailedError, TraderError
from state.storage.files import Folder

SEGMENT_BYTES = 4 * 1024 * 1024
SEGMENT_LIMIT_BYTES = 256 * 1024 * 1024
_NAME = re.compile(r"segment-(\d{8})\.jsonl")


def segment_name(number: int) -> str:
    return f"segment-{number:08d}.jsonl"


def segment_numbers(folder: Folder) -> list[int]:
    """The numbers of the segments in the folder, ascending."""
    return sorted(int(match[1]) for name in folder.names() if (match := _NAME.fullmatch(name)))


def create_segment(folder: Folder, number: int, size_bytes: int, head: bytes = b"") -> None:
    """A whole segment on disk under its name: `head`, then newlines. DiskError, or SyncFailedError (final)."""
    folder.write_new(segment_name(number), head + b"\n" * (size_bytes - len(head)))


class SegmentKeeper:
    """The background thread that makes the next segment and removes those not needed any more.

    on_error is called in that thread with a TraderError of a task.
    """

    def __init__(self, folder: Folder, size_bytes: int, on_error: Callable[[TraderError], None]) -> None:
        self._folder = folder
        self._size_bytes = size_bytes
        self._on_error = on_error
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal-segments")
        self._prepared: dict[int, Future[None]] = {}

    def prepare(self, number: int) -> None:
        """Start making segment `number`, unless it was started before."""
        if number in self._prepared:
            return
        self._prepared[number] = self._submit(create_segment, self._folder, number, self._size_bytes)

    def take(self, number: int) -> None:
        """Wait until segment `number` is made. After an error it is tried once more, in this thread."""
        future = self._prepared.pop(number, None)
        error = future.exception() if future is not None else None
        if isinstance(error, SyncFailedError):
            raise error
        if future is None or error is not None:
            create_segment(self._folder, number, self._size_bytes)

    def remove_before(self, number: int) -> None:
        """Start removing every segment below `number`."""
        self._submit(self._remove_before, number)

    def close(self) -> None:
        """Finish what was started and end the thread."""
        self._thread.shutdown(wait=True)

    def _remove_before(self, number: int) -> None:
        gone = [found for found in segment_numbers(self._folder) if found < number]
        for found in gone:
            self._folder.discard(segment_name(found))
        if gone:
            self._folder.sync()

    def _submit(self, task: Callable[..., None], *args: object) -> "Future[None]":
        future = self._thread.submit(task, *args)
        future.add_done_callback(self._report)
        return future

    def _report(self, future: "Future[None]") -> None:
        error = future.exception()
        if isinstance(error, TraderError):
            self._on_error(error)
        elif error is not None:
            raise error
