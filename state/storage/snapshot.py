"""Two generations of one file: the newest snapshot of the state and the one before it.

Main is a whole file at every moment of a write:
1. The new content goes to a temp file in the same folder, which is flushed before a name points at it.
2. Main becomes the backup by a second hard link and a rename, if this run has verified it. So main never
   disappears, and a damaged main never replaces a good backup. Without hard links a flushed copy is made.
3. The temp file is renamed over main and the folder is flushed. Main is the old file or the new one, both whole.
An error before the last flush leaves main as it was and is SnapshotFailedError. The journal holds every event, so
the trader goes on and tries again later. A failed flush is final: the store refuses every later write.
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
    """Writes snapshots. Blocking; beside an event loop it runs in a worker thread.

    One write at a time: a worker whose task was cancelled goes on writing, and the last save of a run must wait
    for it.
    """

    def __init__(self, folder: Folder, main: str = MAIN, backup: str = BACKUP) -> None:
        self.folder = folder
        self.main = main
        self.backup = backup
        self._main_valid = False
        self._failure: SyncFailedError | None = None
        self._writing = threading.Lock()

    def mark_main_valid(self, valid: bool) -> None:
        """Say whether the loader has verified the main file that is on disk now."""
        self._main_valid = valid

    def write(self, data: bytes, validate: Callable[[bytes], None]) -> None:
        """Make `data` the main file and the former main the backup.

        validate: raises if the bytes would not load again; then nothing is written.
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
        """Give main's content the backup's name too; main keeps its name all the time."""
        second = self.folder.temp_name(self.backup)
        try:
            self.folder.disk.link(self.main, second, self.folder.fd)
        except FileNotFoundError:  # somebody has removed main since it was verified: the old backup stays
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
