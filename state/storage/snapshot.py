"""Two generations of one file: the newest snapshot of the state and the one before it.

A write never leaves a moment without a whole main file:
1. the new content goes to a temp file in the same folder and is flushed: whole before any name points at it;
2. main, if this run knows it to be valid, becomes the backup by a second hard link and a rename: main never
   disappears, and a bad main never replaces a good backup (where links are unknown, by a flushed copy);
3. the temp file is renamed over main, and the folder is flushed: main is the old or the new one, both whole.
An error before the last flush leaves main as it was and is SnapshotFailedError: the journal still holds
everything, so the trader may go on and try again. A failed flush is final: after it the store refuses.
"""

import errno
import threading
from collections.abc import Callable

from state.errors import DiskError, SnapshotFailedError, SyncFailedError, TraderError
from state.storage.files import Folder

MAIN = "trader_state.json"
BACKUP = "trader_state_backup.json"
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV, errno.EACCES}


class SnapshotStore:
    """Writes snapshots; blocking, in a worker thread beside an event loop.

    One write at a time: a worker whose task was cancelled goes on writing, and the last save of a run must not
    mix its generations with that one's.
    """

    def __init__(self, folder: Folder, main: str = MAIN, backup: str = BACKUP) -> None:
        self.folder = folder
        self.main = main
        self.backup = backup
        self._main_valid = False
        self._failure: SyncFailedError | None = None
        self._writing = threading.Lock()

    def mark_main_valid(self, valid: bool) -> None:
        """Told by the loader whether it has verified the main file that is on disk now."""
        self._main_valid = valid

    def write(self, data: bytes, validate: Callable[[bytes], None]) -> None:
        """Make `data` the main file and the former main the backup.

        validate: raises if the bytes would not load again; its error passes through and nothing is written.
        SnapshotFailedError: nothing has changed, try again later. SyncFailedError: final, stop.
        """
        with self._writing:
            self._write(data, validate)

    def _write(self, data: bytes, validate: Callable[[bytes], None]) -> None:
        if self._failure is not None:
            raise self._failure
        validate(data)
        try:
            self._replace(data)
        except SyncFailedError as failure:
            self._failure = failure
            raise
        except DiskError as failure:
            raise SnapshotFailedError(failure.operation, failure.path, failure.cause) from failure
        self._main_valid = True

    def _replace(self, data: bytes) -> None:
        temp = self.folder.write_temp(self.main, data)
        try:
            if self._main_valid:
                self._back_up()
            elif self.folder.exists(self.main):
                self.folder.quarantine(self.main, "It was not verified by the run that replaced it.")
            self.folder.rename(temp, self.main)
        except TraderError:
            self.folder.abandon(temp)
            raise
        self.folder.sync()

    def _back_up(self) -> None:
        """Give main's content the backup's name as well, without main's name ever going away."""
        second = self.folder.temp_name(self.backup)
        try:
            self.folder.disk.link(self.main, second, self.folder.fd)
        except FileNotFoundError:  # main was removed by hand since it was verified: the old backup stays
            return
        except OSError as cause:
            if cause.errno not in _NO_LINKS:
                raise DiskError("link", self.folder.path / self.main, cause) from cause
            content = self.folder.read_file(self.main)
            if content is None:
                return
            second = self.folder.write_temp(self.backup, content)
        try:
            self.folder.rename(second, self.backup)
        except DiskError:
            self.folder.abandon(second)
            raise
