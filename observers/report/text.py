"""A day's report as text for the terminal. Pure."""

from observers.report.day import DayReport, Recovery
from observers.report.formats import blocks_by_filter, clock_time, duration, trade_row
from trader.output import table
from trader.plain_text import plain


def render(report: DayReport) -> str:
    """Summary, trades, filters, runs and recoveries, in tables."""
    owner = f"  {report.account} at {report.gateway}, as of {clock_time(report.as_of)} US Eastern"
    parts = [plain(report.trading_date + (owner if report.account else "")), *_summary(report)]
    if report.trades:
        parts += ["", trade_table(report)]
    if report.blocks:
        parts += ["", filter_table(report)]
    if report.runs:
        parts += ["", run_table(report)]
    for recovery in report.recoveries:
        parts += _recovery(recovery)
    parts += [f"Note: {plain(note, None)}" for note in report.notes]
    if report.journal:
        parts += ["", f"Journal: {plain(report.journal, None)}"]
    return "\n".join(parts)


def _summary(report: DayReport) -> list[str]:
    day = report.summary
    if day is None:
        return []
    percent = f" ({day.pnl_pct:+.2f}%)" if day.pnl_pct is not None else ""
    rate = f", {day.win_rate:.0%} won" if day.win_rate is not None else ""
    parts = f"profits {day.gross_profit:+,.2f}, losses {day.gross_loss:+,.2f}, commissions {day.commissions:,.2f}"
    lines = [
        f"P&L {day.pnl:+,.2f}{percent}{', partly estimated' if day.pnl_estimated else ''}; {parts}",
        f"{day.trades} trades closed{rate}, {day.open_positions} open",
    ]
    if day.mean_duration_s is not None:
        lines[-1] += f"; held {duration(day.mean_duration_s)} on the mean, best {day.best:+,.2f}, "
        lines[-1] += f"worst {day.worst:+,.2f}"
    if day.last_equity is not None:
        start = f"{day.start_equity:,.2f}" if day.start_equity is not None else "unknown"
        lines.append(
            f"Equity {start} at the start, {day.last_equity:,.2f} last; "
            f"largest fall from a high {day.max_drawdown:,.2f}"
        )
    return lines


def trade_table(report: DayReport) -> str:
    """A row for each trade."""
    headings = [
        "entry",
        "exit",
        "symbol",
        "side",
        "shares",
        "at",
        "out at",
        "reason",
        "P&L",
        "%",
        "R",
        "held",
        "path",
        "partials",
    ]
    rows: list[list[object]] = [
        [
            *trade_row(trade, trade.reason or f"open, {trade.held} held", trade.pnl),
            ", ".join(e.reason for e in (trade.exits[:-1] if trade.status == "closed" else trade.exits)) or None,
        ]
        for trade in report.trades
    ]
    return table(headings, rows)


def filter_table(report: DayReport) -> str:
    """How often each filter blocked a confirmed breakout, and in which symbols."""
    return table(["filter", "blocked", "symbols"], blocks_by_filter(report.blocks))


def run_table(report: DayReport) -> str:
    """The day's runs and how each ended."""
    rows: list[list[object]] = [
        [
            run.session_id,
            clock_time(run.began),
            clock_time(run.last_event),
            run.status,
            run.reason or None,
            run.resumed_from or None,
        ]
        for run in report.runs
    ]
    return table(["session", "began", "last event", "status", "reason", "resumed"], rows)


def _recovery(recovery: Recovery) -> list[str]:
    """The decisions of a start; empty if there were none."""
    if not recovery.rows and not recovery.notes:
        return []
    rows: list[list[object]] = [[row.symbol, row.decision, row.text] for row in recovery.rows]
    head = f"Recovery at {clock_time(recovery.time)}, {'ready' if recovery.ready else 'NOT ready'}"
    lines = ["", f"{head}, session {plain(recovery.session_id)}"]
    if rows:
        lines.append(table(["symbol", "decision", "what"], rows))
    return lines + [f"  {plain(note, None)}" for note in recovery.notes]
