"""What the commands that only look at the logs folder share: which folder, which date, which moment."""

from datetime import date, datetime, time
from pathlib import Path

from state.storage.files import Folder
from state.storage.loader import journal_dates, load
from state.storage.lookup import existing_folder
from trader.config.sections import Config
from trader.errors import UsageError
from trader.time_zones import EASTERN


def logs_folder(config: Config) -> Folder:
    """The logs folder, to be closed by the caller. UsageError where there is none."""
    path: Path = config.files.logs_dir
    folder = existing_folder(path)
    if folder is None:
        raise UsageError(
            f"There is no folder {path}: no trader has run here.", "Give the right one with --logs-dir."
        )
    return folder


def trading_date(folder: Folder, text: str | None) -> str:
    """The date that was asked for, or the last one of which something is kept. UsageError for what is no date."""
    if text is not None:
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError as error:
            raise UsageError(f"{text!r} is no date: {error}.", "Write it as 2025-10-06.") from error
    dates = journal_dates(folder.path)
    if dates:
        return dates[-1]
    state = load(folder).state
    if state is None:
        raise UsageError(f"Nothing is kept in {folder.path} yet.", "Run the trader first, or give --logs-dir.")
    return state.trading_date


def moment_of(day: str, text: str) -> datetime:
    """`10:14`, `10:14:50` (US Eastern, of that date) or an ISO time with its offset. UsageError for another."""
    try:
        if "T" in text or " " in text.strip():
            moment = datetime.fromisoformat(text.strip())
            return moment if moment.tzinfo is not None else EASTERN.localize(moment)
        return EASTERN.localize(datetime.combine(date.fromisoformat(day), time.fromisoformat(text.strip())))
    except ValueError as error:
        raise UsageError(f"{text!r} is no time of day: {error}.", "Write it as 10:14:50 (US Eastern).") from error
