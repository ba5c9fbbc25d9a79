"""The root of the project's exceptions, and the errors of state and disk.

    TraderError              exit 1
    ├── StateError           exit 5   what is on disk cannot be trusted
    │   ├── CorruptFileError          a file is damaged, or is not what its name says
    │   └── InvariantError            the program broke one of its own rules: a defect
    ├── DiskError            exit 6   the operating system refused an operation
    │   ├── SnapshotFailedError       one snapshot was not written; everything is as it was before
    │   └── SyncFailedError           a flush failed: final, nothing may be written any more
    │       └── DiskSilentError       a flush did not return: final; nothing waits for its thread
    └── LockHeldError        exit 4   another trader owns the folder

`trader/errors.py` adds the trader's errors. Every error says what happened and what the operator can do about it;
`str(error)` is both sentences.
"""

import errno
from pathlib import Path
from typing import ClassVar

_HINTS = {
    errno.ENOSPC: "Free some space on that disk, then start the trader again.",
    errno.EDQUOT: "Raise the disk quota or free some space, then start the trader again.",
    errno.EFBIG: "Raise the file size limit (ulimit -f), then start the trader again.",
    errno.EROFS: "The disk is read-only. Look at the kernel log (dmesg), remount it writable, then start again.",
    errno.EACCES: "Give the trader's user access to it, then start again.",
    errno.EPERM: "Give the trader's user access to it, then start again.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n), then start again.",
    errno.ENOENT: "Check that the folder was not moved or deleted, then start again.",
    errno.ELOOP: "It is a symbolic link, which is never followed. Put the real file or folder there.",
}
_DISK_HINT = "Look at the kernel log (dmesg) and at the disk's health before starting again."


class TraderError(Exception):
    """The base of every error that the project raises itself.

    what: one sentence, what happened and where. hint: one sentence, what the operator can do.
    exit_code: of the process, if nothing handles the error.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what} {self.hint}".strip()


class StateError(TraderError):
    """What is on disk, or about to be written, cannot be trusted."""

    exit_code: ClassVar[int] = 5


class CorruptFileError(StateError):
    """A file is damaged, too large, or not a plain file of the trader's user."""

    def __init__(self, path: Path, reason: str, hint: str = "") -> None:
        super().__init__(
            f"{path} cannot be trusted: {reason}.",
            hint or "Keep the file for inspection and move it out of the folder, then start again.",
        )
        self.path = path
        self.reason = reason


class InvariantError(StateError):
    """The program broke one of its own rules. Raised where `assert` would vanish under `python -O`."""

    def __init__(self, what: str, hint: str = "This is a defect in the program: report it with the log.") -> None:
        super().__init__(what, hint)


class DiskError(TraderError):
    """The operating system refused an operation on a file or folder.

    operation: a verb phrase ("write", "flush to disk"); path: where; cause: the OSError.
    """

    exit_code: ClassVar[int] = 6

    def __init__(self, operation: str, path: Path, cause: OSError, hint: str = "") -> None:
        super().__init__(
            f"Could not {operation} {path}: {cause.strerror or cause}.",
            hint or _HINTS.get(cause.errno or 0, _DISK_HINT),
        )
        self.operation = operation
        self.path = path
        self.cause = cause


class SnapshotFailedError(DiskError):
    """One snapshot could not be written. Main and backup are unchanged and the journal holds every event."""


class SyncFailedError(DiskError):
    """A flush to disk, or a journal write, failed. Final: a second flush may report success for lost data."""


class DiskSilentError(SyncFailedError):
    """A flush has not returned in time. It may hang in the kernel for ever: do not wait for its thread."""

    def __init__(self, path: Path, waited_s: float) -> None:
        cause = OSError(errno.ETIMEDOUT, f"the disk did not answer within {waited_s:g} s")
        super().__init__("bring the last events to the disk of", path, cause)


class LockHeldError(TraderError):
    """Another live process holds the lock of the logs folder."""

    exit_code: ClassVar[int] = 4

    def __init__(self, path: Path, pid: int | None) -> None:
        who = f"the process with pid {pid}" if pid is not None else "another process"
        stop = f"Stop it first (kill -TERM {pid})" if pid is not None else "Stop it first"
        super().__init__(
            f"Another trader is running on this folder: {path} is held by {who}.",
            f"{stop}, or give this one its own --logs-dir.",
        )
        self.path = path
        self.pid = pid
