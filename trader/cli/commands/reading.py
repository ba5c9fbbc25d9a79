"""What the commands that only read the logs folder share: which folder, which date, which moment."""

from datetime import date, datetime, time
from pathlib import Path

from state.storage.files import Folder, existing_folder
from state.storage.loader import journal_dates, load
from trader.config.sections import Config
from trader.errors import UsageError
from trader.time_zones import EASTERN


def logs_folder(config: Config) -> Folder:
    """The logs folder, to be closed by the caller. Raises UsageError if there is none."""
    path: Path = config.files.logs_dir
    folder = existing_folder(path)
    if folder is None:
        raise UsageError(
            f"There is no folder {path}: no trader has run here.", "Give the right one with --logs-dir."
        )
    return folder


def trading_date(folder: Folder, text: str | None) -> str:
    """The given date, or the last one with a journal or a state. Raises UsageError for text that is not a date."""
    if text is not None:
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError as error:
            raise UsageError(f"{text!r} is not a date: {error}.", "Write it as 2025-10-06.") from error
    dates = journal_dates(folder.path)
    if dates:
        return dates[-1]
    state = load(folder).state
    if state is None:
        raise UsageError(
            f"There is neither a journal nor a state in {folder.path}.", "Run the trader first, or give --logs-dir."
        )
    return state.trading_date


def moment_of(day: str, text: str) -> datetime:
    """`10:14`, `10:14:50` (US Eastern, on `day`), or an ISO time. Raises UsageError for anything else."""
    try:
        if "T" in text or " " in text.strip():
            moment = datetime.fromisoformat(text.strip())
            return moment if moment.tzinfo is not None else EASTERN.localize(moment)
        return EASTERN.localize(datetime.combine(date.fromisoformat(day), time.fromisoformat(text.strip())))
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not a time of day: {error}.", "Write it as 10:14:50 (US Eastern)."
        ) from error
