"""Reads the scanner's file of a trading date."""

from datetime import date
from pathlib import Path

from trader.config.sections import UniverseRules
from trader.core.strategy.ps60.setups import FILE_LIMIT_BYTES, SetupList, parse_setups
from trader.errors import ScannerError


def load_setups(folder: Path, trading_date: date, rules: UniverseRules) -> SetupList:
    """Read `scanner_results_YYYYMMDD.json` of `trading_date` from `folder`. Raises ScannerError."""
    path = folder / f"scanner_results_{trading_date:%Y%m%d}.json"
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT_BYTES + 1)
    except FileNotFoundError as error:
        raise ScannerError(f"There is no {path.name} in {folder}{_others(folder)}.", _MISSING_HINT) from error
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}."
        raise ScannerError(message, "Make it a plain file that the trader's user can read.") from error
    return parse_setups(data, path, rules)


_MISSING_HINT = "Run the scanner for that trading date, or give its folder with --scanner-dir."


def _others(folder: Path) -> str:
    """The folder's contents, for the error text."""
    try:
        names = sorted(entry.name for entry in folder.glob("scanner_results_*.json"))
    except OSError:
        names = []
    if not folder.is_dir():
        return " (the folder does not exist)"
    return f" (there: {', '.join(names[-5:])})" if names else " (it holds no scanner results)"
