"""A day's report as one HTML page, without scripts or external files, for light and dark. Pure.

Text that came from a file or from IBKR is made plain and escaped; the page's content security policy forbids
loading anything.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from observers.report.charts import Candle, equity_chart, price_chart
from observers.report.day import DayReport, Recovery, RunSpan
from observers.report.formats import blocks_by_filter, clock_time, duration, trade_row
from observers.report.style import STYLE
from state.history.trades import Trade
from trader.plain_text import plain

POLICY = "default-src 'none'; style-src 'unsafe-inline'"

NUMERIC = frozenset({"Shares", "At", "Out at", "P&L", "%", "R", "Held", "Blocked"})


class Html(str):
    """Text that is markup already and must not be escaped."""

    __slots__ = ()


def render(report: DayReport, candles: Mapping[str, Sequence[Candle]]) -> str:
    """The whole page. candles: by symbol, for the symbols that have stored prices."""
    body = [_head(report), _tiles(report)]
    if report.broken:
        alarm = f"The journal is damaged, so events may be missing. {report.journal}"
        body.append(f'<div class="card alarm">{_t(alarm)}</div>')
    chart = equity_chart(report.equity, report.runs)
    if chart:
        legend = '<p class="soft">Shaded: no trader was running.</p>' if len(report.runs) > 1 else ""
        body.append(f'<h2>Equity</h2><div class="card">{chart}{legend}</div>')
    body += [_trades(report.trades), _charts(report, candles), _filters(report), _runs(report)]
    body.append(_alerts(report))
    notes = [*report.notes, *([report.journal] if report.journal else [])]
    body.append("<h2>Sources</h2>" + "".join(f'<p class="soft">{_t(note)}</p>' for note in notes))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_t(report.trading_date)} trading report</title><style>{STYLE}</style></head>\n"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _t(value: object) -> str:
    return value if isinstance(value, Html) else escape(plain(str(value), None), quote=True)


def _head(report: DayReport) -> str:
    owner = f"{report.account} at {report.gateway}" if report.account else "nothing is kept of this date"
    as_of = f", as of {clock_time(report.as_of)} US Eastern" if report.as_of is not None else ""
    return f'<h1>Trading day {_t(report.trading_date)}</h1><p class="soft">{_t(owner)}{as_of}</p>'


def _tiles(report: DayReport) -> str:
    day = report.summary
    if day is None:
        return ""
    percent = f" {day.pnl_pct:+.2f}%" if day.pnl_pct is not None else ""
    equity = f"{day.last_equity:,.2f}" if day.last_equity is not None else "unknown"
    held = duration(day.mean_duration_s) if day.mean_duration_s is not None else "-"
    won = f"{day.winners} of {day.trades}"
    tiles = [
        ("Realized P&L" + (", partly estimated" if day.pnl_estimated else ""), _amount(day.pnl), percent),
        ("Trades won", won, f"{day.open_positions} open" if day.open_positions else ""),
        ("Profits and losses", f"{day.gross_profit:,.0f} / {day.gross_loss:,.0f}", f"fees {day.commissions:,.2f}"),
        ("Equity, last", equity, f"largest fall {day.max_drawdown:,.2f}"),
        ("Held, mean", held, ""),
    ]
    cells = [
        f'<span class="soft">{_t(name)}</span><b>{_t(value)}</b><span class="soft">{_t(more)}</span>'
        for name, value, more in tiles
    ]
    return '<div class="tiles">' + "".join(f'<div class="tile">{cell}</div>' for cell in cells) + "</div>"


def _amount(value: float) -> Html:
    kind = "good" if value > 0 else "bad" if value < 0 else "soft"
    return Html(f'<span class="{kind}">{value:+,.2f}</span>')


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]], wide: str = "") -> str:
    """An HTML table. wide: the heading of the column that may wrap its text."""
    kinds = [' class="n"' if h in NUMERIC else ' class="wrap"' if h == wide else "" for h in headings]
    lines = ["".join(f"<th{kind}>{_t(heading)}</th>" for heading, kind in zip(headings, kinds, strict=True))]
    for row in rows:
        texts = ["" if v is None else f"{v:,.2f}" if isinstance(v, float) else v for v in row]
        lines.append("".join(f"<td{kind}>{_t(text)}</td>" for text, kind in zip(texts, kinds, strict=True)))
    return '<div class="scroll"><table>' + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"


def _trades(trades: Sequence[Trade]) -> str:
    if not trades:
        return "<h2>Trades</h2><p class='soft'>None.</p>"
    headings = [
        "Entry",
        "Exit",
        "Symbol",
        "Side",
        "Shares",
        "At",
        "Out at",
        "Exits",
        "P&L",
        "%",
        "R",
        "Held",
        "Path",
    ]
    rows = [trade_row(trade, _reasons(trade), _amount(trade.pnl)) for trade in trades]
    return "<h2>Trades</h2>" + _table(headings, rows, "Exits")


def _reasons(trade: Trade) -> str:
    """The exits in order, then what is still held."""
    text = [f"{done.reason} {done.shares}" if len(trade.exits) > 1 else done.reason for done in trade.exits]
    if trade.status == "open":
        text.append(f"{trade.held} held, stop {trade.stop_price:.2f}")
    return ", ".join(text)


def _charts(report: DayReport, candles: Mapping[str, Sequence[Candle]]) -> str:
    parts = []
    for symbol in dict.fromkeys(trade.symbol for trade in report.trades):
        trades = [trade for trade in report.trades if trade.symbol == symbol]
        chart = price_chart(symbol, candles.get(symbol, ()), trades, report.runs)
        if chart:
            total = _amount(round(sum(trade.pnl for trade in trades), 2))
            parts.append(f'<div class="card"><h3>{_t(symbol)} {total}</h3>{chart}</div>')
    legend = (
        "Triangle: entry. Dots: exits, green with a gain and red with a loss. Dashed: pivot, first stop, target 1. "
        "Shaded: no trader was running. Point at a mark for its words."
    )
    return f'<h2>Trades on their prices</h2>{"".join(parts)}<p class="soft">{legend}</p>' if parts else ""


def _filters(report: DayReport) -> str:
    if not report.blocks:
        return ""
    counted = blocks_by_filter(report.blocks)
    most = counted[0][1]
    rows = [
        [name, count, Html(f'<span class="bar" style="width:{round(160 * count / most)}px"></span>'), symbols]
        for name, count, symbols in counted
    ]
    return "<h2>Filters that blocked an entry</h2>" + _table(["Filter", "Blocked", "", "Symbols"], rows, "Symbols")


def _runs(report: DayReport) -> str:
    if not report.runs:
        return ""
    rows = [
        [
            run.session_id,
            clock_time(run.began),
            clock_time(run.last_event),
            _status(run),
            run.reason,
            run.resumed_from,
        ]
        for run in report.runs
    ]
    headings = ["Session", "Began", "Last event", "Status", "Reason", "Resumed"]
    parts = ["<h2>Runs, crashes and recoveries</h2>", _table(headings, rows, "Reason")]
    parts += [_recovery(recovery) for recovery in report.recoveries if recovery.rows or recovery.notes]
    return "".join(parts)


def _status(run: RunSpan) -> Html:
    kind = {"crashed": "bad", "active": "warn"}.get(run.status, "good")
    return Html(f'<span class="{kind}">{_t(run.status)}</span>')


def _recovery(recovery: Recovery) -> str:
    outcome = "ready" if recovery.ready else "NOT ready"
    gate_ms = recovery.timings_ms.get("gate")
    took = f", {gate_ms:,.0f} ms from the start to the gate" if gate_ms is not None else ""
    head = f"<h3>Recovery at {clock_time(recovery.time)}: {outcome}{took}</h3>"
    marks = {"conflict": "bad", "warning": "warn", "unknown": "warn"}
    rows = [
        [row.symbol, Html(f'<span class="{marks.get(row.severity, "good")}">{_t(row.decision)}</span>'), row.text]
        for row in recovery.rows
    ]
    notes = "".join(f'<p class="soft">{_t(note)}</p>' for note in recovery.notes)
    return f'<div style="height:14px"></div>{head}' + _table(["Symbol", "Decision", "What"], rows, "What") + notes


def _alerts(report: DayReport) -> str:
    if not report.alerts:
        return ""
    rows = [[clock_time(alert.time), alert.symbol, alert.text] for alert in report.alerts]
    return "<h2>Alerts</h2>" + _table(["Time", "Symbol", "What"], rows, "What")
