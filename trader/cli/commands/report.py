"""`report`: a trading date's trades, equity curve, filters, crashes and recoveries, as text, JSON or HTML page."""

import argparse
from pathlib import Path

from observers.report import page, text
from observers.report.charts import Candle, candles_of
from observers.report.day import DayReport, gather
from state.errors import DiskError
from state.storage.bars import BarStore
from state.storage.files import Folder
from trader.cli.commands.reading import logs_folder, trading_date
from trader.config.sections import Config
from trader.output import say, say_block, say_json

BARS_BYTES = 16 * 1024 * 1024  # a full day of 5-second bars is well below 1 MB


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `report`."""
    parser.add_argument("--date", metavar="YYYY-MM-DD", help="trading date (default: the last one)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write it as one self-contained page")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(args: argparse.Namespace, config: Config) -> int:
    """Print the report; with --html also write the page."""
    with logs_folder(config) as folder:
        report = gather(folder, trading_date(folder, args.date))
        candles = _candles(folder, report) if args.html else {}
    if args.html:
        _write(args.html, page.render(report, candles))
    if args.json:
        say_json(report)
    else:
        say_block(text.render(report))
        if args.html:
            say(f"The page is {args.html.absolute()}")
    return 0


def _candles(folder: Folder, report: DayReport) -> dict[str, list[Candle]]:
    store = BarStore(folder, report.trading_date)
    symbols = {trade.symbol for trade in report.trades}
    return {symbol: candles_of(store.read(symbol, BARS_BYTES)) for symbol in symbols}


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as cause:
        raise DiskError("write", path, cause, "Give another file with --html.") from cause
