"""What the operator asked for while no trader was running: kept until the next start takes it up.

`pause` on a dead trader has to hold whatever state, of whatever date, the next start applies; so it is a small
file of its own and not an edit of the state.
"""

from datetime import datetime

import msgspec

from state.domain.model import Timestamp
from state.errors import CorruptFileError
from state.storage.files import Folder

WISHES = "operator.json"


class Wishes(msgspec.Struct, kw_only=True):
    """The last word on pausing. at: real time, aware."""

    paused: bool
    reason: str
    at: Timestamp


def write_wishes(folder: Folder, *, paused: bool, reason: str, at: datetime) -> None:
    """Durable when it returns. DiskError, SyncFailedError."""
    wishes = Wishes(paused=paused, reason=reason, at=at)
    folder.write_new(WISHES, msgspec.json.format(msgspec.json.encode(wishes), indent=2) + b"\n")


def read_wishes(folder: Folder) -> Wishes | None:
    """What waits to be taken up, or None. CorruptFileError if the file is not one: then entries have to wait."""
    data = folder.read_file(WISHES)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=Wishes)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptFileError(folder.path / WISHES, str(error)) from error


def wishes_wait(folder: Folder) -> bool:
    """Whether something waits to be taken up; one look at the folder."""
    return folder.exists(WISHES)


def forget_wishes(folder: Folder) -> None:
    """They are in the state now."""
    folder.discard(WISHES)
    folder.sync()
