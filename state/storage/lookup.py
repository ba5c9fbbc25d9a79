"""Looking into folders that may not be there, for those who only read: nothing is created, an absence is None."""

from pathlib import Path

from state.errors import DiskError
from state.storage.files import Folder


def existing_folder(path: Path) -> Folder | None:
    """The folder at `path`, or None where there is none. StateError, DiskError as `Folder.open`."""
    try:
        return Folder.open(path, create=False)
    except DiskError as error:
        if isinstance(error.cause, FileNotFoundError):
            return None
        raise


def existing_subfolder(folder: Folder, name: str) -> Folder | None:
    """The folder `name` inside `folder`, or None where there is none."""
    try:
        return folder.subfolder(name, create=False)
    except DiskError as error:
        if isinstance(error.cause, FileNotFoundError):
            return None
        raise
