"""A pause or unpause given while no trader runs, kept until the next start applies it.

It must hold for whatever state and date the next start uses. So it is a small file of its own, and no edit of the
state.
"""

from datetime import datetime

import msgspec

from state.domain.model import Timestamp
from state.errors import CorruptFileError
from state.storage.files import Folder

PAUSE_REQUEST = "operator.json"


class PauseRequest(msgspec.Struct, kw_only=True):
    """The last request given. at: real time, aware."""

    paused: bool
    reason: str
    at: Timestamp


def write_pause_request(folder: Folder, *, paused: bool, reason: str, at: datetime) -> None:
    """Durable when it returns. DiskError, SyncFailedError."""
    request = PauseRequest(paused=paused, reason=reason, at=at)
    folder.write_new(PAUSE_REQUEST, msgspec.json.format(msgspec.json.encode(request), indent=2) + b"\n")


def read_pause_request(folder: Folder) -> PauseRequest | None:
    """The waiting request, or None. CorruptFileError if the file is damaged: then the start pauses entries."""
    data = folder.read_file(PAUSE_REQUEST)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=PauseRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptFileError(folder.path / PAUSE_REQUEST, str(error)) from error


def pause_request_waits(folder: Folder) -> bool:
    """Whether there is a request; one system call."""
    return folder.exists(PAUSE_REQUEST)


def forget_pause_request(folder: Folder) -> None:
    """Remove the request: the state holds it now."""
    folder.discard(PAUSE_REQUEST)
    folder.sync()
