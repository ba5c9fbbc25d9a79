"""A recorded day: one file `SYM.csv` of 1-minute bars for each symbol, checked line by line.

Columns: `time,open,high,low,close,volume`; others are ignored. `time` is the start of the bar in ISO format
with its UTC offset. The simulated trades of each minute give the recorded bar, exact to the ten-thousandth
of a dollar. Minutes outside regular hours are left out.
"""

from __future__ import annotations

import csv
import math
from datetime import date, datetime, time
from pathlib import Path
from typing import Final

from paper_gateway.market.candles import Candle
from paper_gateway.market.contracts import check_symbol
from paper_gateway.market.errors import MarketDataError, UnknownSymbolError
from paper_gateway.market.model import CENT, EASTERN, PRICE_SCALE
from paper_gateway.market.simulated_market import SimulatedMarket, SymbolDay, start_of
from paper_gateway.market.trading_days import MINUTE, OPEN_TIME, is_trading_day, session_minutes, session_open

COLUMNS: Final = ("time", "open", "high", "low", "close", "volume")
_SEED: Final = 0


def replay_day(folder: Path, start: time | None = None) -> SimulatedMarket:
    """The day recorded in `folder`, beginning at `start` (US/Eastern; default 09:30).

    The previous close is not recorded, so the first open is used. Raises `MarketDataError` naming file and
    line for invalid bars.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise MarketDataError(f"{folder} has no SYM.csv of 1-minute bars; give the folder of a recorded day")
    day: date | None = None
    days: dict[str, SymbolDay] = {}
    for file in files:
        candles, file_date = _read_file(file, day)
        day = file_date
        volume = sum(candle.volume for candle in candles) // len(candles)
        days[file.stem] = SymbolDay(tuple(candles), candles[0].open, max(volume, 1))
    assert day is not None  # there was at least one file, and each has a date
    return SimulatedMarket(start_of(day, start or OPEN_TIME), days, _SEED)


def _read_file(file: Path, day: date | None) -> tuple[list[Candle], date]:
    try:
        check_symbol(file.stem)
    except UnknownSymbolError as error:
        raise MarketDataError(f"{file}: the file's name must be a stock symbol: {error}") from error
    candles: list[Candle] = []
    previous: datetime | None = None
    try:
        with file.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            _check_header(file, reader.fieldnames)
            for row in reader:
                where = f"{file} line {reader.line_num}"
                at = _time(where, row, day, previous)
                previous, day = at, at.date()
                minute = (at - session_open(day)) // MINUTE
                if 0 <= minute < session_minutes(day):
                    candles.append(_candle(where, row, minute))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MarketDataError(f"{file} cannot be read as CSV: {error}") from error
    if not candles or day is None:
        raise MarketDataError(f"{file} has no bar within regular hours; record 09:30-16:00 US/Eastern")
    return candles, day


def _check_header(file: Path, names: object) -> None:
    present = list(names) if isinstance(names, list | tuple) else []
    missing = [column for column in COLUMNS if column not in present]
    if missing:
        raise MarketDataError(
            f"{file} line 1: column {', '.join(missing)} missing; the header must be {','.join(COLUMNS)}"
        )


def _time(where: str, row: dict[str, str | None], day: date | None, previous: datetime | None) -> datetime:
    text = row["time"] or ""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise MarketDataError(f"{where}: time {text!r} is not ISO, such as 2025-10-21T09:30:00-04:00") from error
    if at.tzinfo is None:
        raise MarketDataError(f"{where}: time {text!r} has no offset; write 2025-10-21T09:30:00-04:00")
    at = at.astimezone(EASTERN)
    if at.second or at.microsecond:
        raise MarketDataError(f"{where}: {text} is not the start of a minute; only 1-minute bars can be replayed")
    if not is_trading_day(at.date()):
        raise MarketDataError(f"{where}: {at.date()} is not a trading day of the exchange; check the bars' dates")
    if day is not None and at.date() != day:
        raise MarketDataError(f"{where}: date {at.date()} among bars of {day}; one folder holds one day")
    if previous is not None and at <= previous:
        raise MarketDataError(f"{where}: {text} does not come after the bar before it; sort, one bar a minute")
    return at


def _candle(where: str, row: dict[str, str | None], minute: int) -> Candle:
    open_, high, low, close = (_price(where, name, row[name]) for name in ("open", "high", "low", "close"))
    if not low <= min(open_, close) <= max(open_, close) <= high:
        raise MarketDataError(f"{where}: open and close must lie within low and high; correct or remove the bar")
    volume = _number(where, "volume", row["volume"])
    if volume < 0 or volume != int(volume):
        raise MarketDataError(f"{where}: volume {row['volume']!r} is not a whole number of shares")
    return Candle(minute, open_, high, low, close, int(volume))


def _price(where: str, name: str, text: str | None) -> int:
    price = round(_number(where, name, text) * PRICE_SCALE)
    if price < CENT:
        raise MarketDataError(f"{where}: {name} {text!r} is below one cent")
    return price


def _number(where: str, name: str, text: str | None) -> float:
    try:
        number = float(text or "")
    except ValueError as error:
        raise MarketDataError(f"{where}: {name} {text!r} is not a number") from error
    if not math.isfinite(number):
        raise MarketDataError(f"{where}: {name} {text!r} is not a finite number; correct or remove the bar")
    return number
