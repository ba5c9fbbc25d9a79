"""Setting state files aside that are of another date, account or gateway: moved, never deleted or overwritten."""

import errno
from datetime import UTC, datetime

from state.errors import DiskError
from state.storage.files import Folder
from state.storage.layout import ARCHIVE


def set_aside(folder: Folder, names: list[str], label: str) -> str:
    """Move files of the folder to archive/<label>-<time>/; returns that path, or "" if there was none to move.

    label: what they are of, such as `2025-10-03-DU1234567`.
    """
    present = [name for name in names if folder.exists(name)]
    if not present:
        return ""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    with folder.subfolder(ARCHIVE) as archive, archive.subfolder(f"{label}-{stamp}") as target:
        for name in present:
            _move(folder, target, name)
        target.sync()
    folder.sync()
    return f"{ARCHIVE}/{label}-{stamp}"


def _move(source: Folder, target: Folder, name: str) -> None:
    """Move one name, if it is there. The target folder is new, so nothing is overwritten."""
    try:
        source.disk.rename(name, name, source.fd, target.fd)
    except OSError as cause:
        if cause.errno == errno.ENOENT:
            return
        raise DiskError("move to the archive", source.path / name, cause) from cause
