"""The root of the project's one tree of exceptions, and the branch that belongs to the disk.

    TraderError              exit 1
    ├── StateError           exit 5   what is on disk cannot be trusted
    │   ├── CorruptFileError          a file is damaged, or is not what its name says
    │   └── InvariantError            the program broke one of its own rules: a defect, not an accident
    ├── DiskError            exit 6   the operating system refused an operation
    │   ├── SnapshotFailedError       one snapshot was not written; everything is as it was before
    │   └── SyncFailedError           a flush failed: final, nothing may be written any more
    │       └── DiskSilentError       a flush did not return: final, and its thread cannot be waited for
    └── LockHeldError        exit 4   another trader owns the folder

`trader/errors.py` extends the same tree. Every error says what happened and what to do about it;
`str(error)` is the two sentences, ready for the operator.
"""

import errno
from pathlib import Path
from typing import ClassVar

_HINTS = {
    errno.ENOSPC: "Free some space on that disk, then start the trader again.",
    errno.EDQUOT: "Raise the disk quota or free some space, then start the trader again.",
    errno.EFBIG: "Raise the file size limit (ulimit -f), then start the trader again.",
    errno.EROFS: "The disk is read-only: look at the kernel log (dmesg), remount it writable, then start again.",
    errno.EACCES: "Give the trader's user access to it, then start again.",
    errno.EPERM: "Give the trader's user access to it, then start again.",
    errno.EMFILE: "Raise the limit of open files (ulimit -n), then start again.",
    errno.ENOENT: "Check that the folder was not moved or deleted, then start again.",
    errno.ELOOP: "It is a symbolic link, which is never followed: put the real file or folder there.",
}
_DISK_HINT = "Look at the kernel log (dmesg) and at the disk's health before starting again."


class TraderError(Exception):
    """Anything the project raises on purpose.

    what: one sentence, what happened and where. hint: one sentence, what the operator can do.
    `exit_code` is what the process ends with when nobody handles the error.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what} {self.hint}".strip()


class StateError(TraderError):
    """What is on disk, or about to go there, cannot be trusted."""

    exit_code: ClassVar[int] = 5


class CorruptFileError(StateError):
    """A file is damaged, too large, or not the plain file of ours that its name promises."""

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
    """One snapshot could not be written. Main and backup are as they were and the journal still holds all."""


class SyncFailedError(DiskError):
    """A flush to disk (or a journal write) failed. Final: a second try may report success for lost data."""


class DiskSilentError(SyncFailedError):
    """A flush has not returned in time. It may still hang in the kernel, for ever: do not wait for its thread."""

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
