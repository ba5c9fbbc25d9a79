"""What the operator asked for while no trader was running: kept until the next start takes it up.

`pause` on a dead trader has to hold whatever state, of whatever date, the next start applies; so it is a small
file of its own and not an edit of the state.
"""

from datetime import datetime

import msgspec

from state.domain.model import Timestamp
from state.errors import CorruptFileError
from state.storage.files import Folder

PAUSE_REQUEST = "operator.json"


class PauseRequest(msgspec.Struct, kw_only=True):
    """The last word on pausing. at: real time, aware."""

    paused: bool
    reason: str
    at: Timestamp


def write_pause_request(folder: Folder, *, paused: bool, reason: str, at: datetime) -> None:
    """Durable when it returns. DiskError, SyncFailedError."""
    request = PauseRequest(paused=paused, reason=reason, at=at)
    folder.write_new(PAUSE_REQUEST, msgspec.json.format(msgspec.json.encode(request), indent=2) + b"\n")


def read_pause_request(folder: Folder) -> PauseRequest | None:
    """What waits to be taken up, or None. CorruptFileError if the file is not one: then entries have to wait."""
    data = folder.read_file(PAUSE_REQUEST)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=PauseRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptFileError(folder.path / PAUSE_REQUEST, str(error)) from error


def pause_request_waits(folder: Folder) -> bool:
    """Whether something waits to be taken up; one look at the folder."""
    return folder.exists(PAUSE_REQUEST)


def forget_pause_request(folder: Folder) -> None:
    """They are in the state now."""
    folder.discard(PAUSE_REQUEST)
    folder.sync()
