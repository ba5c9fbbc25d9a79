"""`orders`: each order of a trading date from its intent to its last status, from the journal."""

import argparse

from observers.report.formats import clock_time
from state.history.orders import OrderHistory, order_histories
from state.history.trading_day import TradingDay, read_trading_day
from trader.cli.commands.reading import logs_folder, trading_date
from trader.config.sections import Config
from trader.errors import UntrustedStateError
from trader.output import say, say_block, say_error, say_json, table
from trader.plain_text import plain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `orders`."""
    parser.add_argument("--date", metavar="YYYY-MM-DD", help="trading date (default: the last one)")
    parser.add_argument("--symbol", metavar="SYM", help="only this symbol's orders")
    parser.add_argument("--steps", action="store_true", help="each order with all its steps")
    parser.add_argument("--json", action="store_true", help="as JSON, steps included")


def run(args: argparse.Namespace, config: Config) -> int:
    """Print the orders; exit code 5 if the journal's chain is broken, since orders may be missing then."""
    with logs_folder(config) as folder:
        day = read_trading_day(folder, trading_date(folder, args.date))
    symbol = args.symbol.upper() if args.symbol else ""
    lives = [life for life in order_histories(day.entries) if symbol in ("", life.symbol)]
    if args.json:
        say_json({"trading_date": day.trading_date, "journal": journal_verdict(day), "orders": lives})
    elif lives:
        say_block("\n\n".join(_with_steps(life) for life in lives) if args.steps else _listing(lives))
    else:
        say(f"There is no order{f' in {symbol}' if symbol else ''} on {day.trading_date}.")
    if day.broken:
        error = broken_chain(day)
        say_error(error)
        return error.exit_code
    if day.detail and not args.json:
        say(f"Journal: {day.detail}")
    return 0


def journal_verdict(day: TradingDay) -> dict[str, object]:
    """The result of checking the journal's chain, for `--json`."""
    return {
        "verdict": day.verdict,
        "detail": day.detail,
        "problems": day.problems,
        "records": len(day.entries),
        "last_sequence": day.last_sequence,
    }


def broken_chain(day: TradingDay) -> UntrustedStateError:
    """The error that names the damage of a trading day's journal."""
    detail = " ".join(part for part in (day.detail, *day.problems) if part)
    return UntrustedStateError(
        f"The journal of {day.trading_date} is damaged, so events may be missing. {detail}",
        "Only records that the chain verifies are shown; IBKR's own records of the day have the rest.",
    )


def _listing(lives: list[OrderHistory]) -> str:
    headings = [
        "intended",
        "order",
        "permId",
        "what",
        "shares",
        "type",
        "stop",
        "status",
        "filled",
        "price",
        "commission",
        "ended",
        "reason",
    ]
    rows: list[list[object]] = [
        [
            clock_time(life.intended_at),
            life.order_ref,
            life.perm_id or None,
            f"{life.role} {life.action} {life.symbol}",
            life.quantity,
            life.order_type,
            life.stop_price,
            life.status,
            life.filled,
            life.mean_price,
            life.commission,
            clock_time(life.ended_at),
            life.reason,
        ]
        for life in lives
    ]
    return table(headings, rows)


def _with_steps(life: OrderHistory) -> str:
    price = f" at {life.mean_price:.2f}" if life.mean_price is not None else ""
    filled = f"{life.filled} of {life.quantity} filled{price}, commission {life.commission:.2f}"
    lines = [f"{life.order_ref}  {life.role}, {life.status}, {filled}, session {life.session_id}"]
    lines += [f"  {clock_time(step.time)}  {step.sequence:>6}  {step.what:<20} {step.text}" for step in life.steps]
    return "\n".join(plain(text, None) for text in lines)
