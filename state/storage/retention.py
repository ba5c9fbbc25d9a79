"""Removing old dates of journals, bars and recovery reports before the disk is full. The newest ones stay.

Archive and quarantine belong to the operator: nothing in them is ever removed.
"""

import os
import shutil
import stat
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from state.errors import DiskError
from state.storage.layout import BARS, JOURNAL, RECOVERY

DATED = (JOURNAL, BARS, RECOVERY)
FREE_BYTES_MIN = 200 * 1024 * 1024
KEEP_DAYS_TIGHT = 2  # when space is short


@dataclass(slots=True)
class Pruned:
    """What was removed, as `journal/2025-10-03`, and how much space is free now."""

    removed: list[str] = field(default_factory=list)
    free_bytes: int = 0

    @property
    def tight(self) -> bool:
        """Whether there is still too little space."""
        return self.free_bytes < FREE_BYTES_MIN


def prune_dates(logs_dir: Path, today: str, keep_days: int) -> Pruned:
    """Remove dated folders older than `keep_days` before `today`; fewer days are kept when space is short.

    today: the trading date. Only folders named by a date, and only of the three kinds above. DiskError.
    """
    pruned = Pruned(free_bytes=_free(logs_dir))
    days = min(keep_days, KEEP_DAYS_TIGHT) if pruned.tight else keep_days
    oldest = date.fromisoformat(today) - timedelta(days=days)
    for kind in DATED:
        root = logs_dir / kind
        if not root.is_dir() or root.is_symlink():
            continue
        for folder in _entries(root):
            if _is_older(folder, oldest):
                _remove(folder)
                pruned.removed.append(f"{kind}/{folder.name}")
    pruned.free_bytes = _free(logs_dir)
    return pruned


def _entries(root: Path) -> list[Path]:
    try:
        return sorted(root.iterdir())
    except FileNotFoundError:
        return []  # somebody has removed it since
    except OSError as cause:
        raise DiskError("list the folder", root, cause) from cause


def _is_older(folder: Path, oldest: date) -> bool:
    try:
        day = date.fromisoformat(folder.name)
        return day < oldest and stat.S_ISDIR(folder.lstat().st_mode)
    except (ValueError, FileNotFoundError):
        return False  # not a dated folder, or removed since
    except OSError as cause:
        raise DiskError("look at", folder, cause) from cause


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as cause:
        raise DiskError("remove", folder, cause) from cause


def _free(path: Path) -> int:
    try:
        usage = os.statvfs(path)
    except OSError as cause:
        raise DiskError("ask for the free space of", path, cause) from cause
    return usage.f_bavail * usage.f_frsize
