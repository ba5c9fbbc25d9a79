"""The status as text for the terminal. Pure."""

from state.domain.model import Funds
from trader.cli.status.model import Status
from trader.output import table
from trader.plain_text import plain


def describe(status: Status) -> str:
    """The whole status; every figure is shown with its age."""
    who = f"running, pid {status.pid}" if status.running else "NOT running"
    lines = [f"Trader       {who}" + (f", session {status.session_id}" if status.session_id else "")]
    if status.source != "nothing":
        lines += _plain(_facts(status)) + _tables(status)
    lines += _plain([f"Note         {note}" for note in status.notes])
    return "\n".join(lines)


def describe_past(status: Status) -> str:
    """The status of a past state, as `checkpoints show` prints it: without ages, entries and notes."""
    facts = [
        _account_line(status),
        f"State        event {status.sequence}, session clock {_clock(status)}, session {status.session_id}",
        f"P&L          {status.daily_pnl:+,.2f}, {status.trades} trades closed, {status.live_orders} orders live",
    ]
    return "\n".join([*_plain(facts), *_tables(status)]).rstrip()


def _plain(texts: list[str]) -> list[str]:
    """Each text on one line: files of earlier versions hold texts as they came."""
    return [plain(text, None) for text in texts]


def _account_line(status: Status) -> str:
    return f"Account      {status.account} at {status.gateway}, trading date {status.trading_date}"


def _funds(funds: Funds | None) -> list[str]:
    """The account's values in its base currency, IBKR's rate for a dollar, and when IBKR gave them."""
    if funds is None:
        return []
    currency, rate = funds.currency, funds.exchange_rate
    dollars = ""
    if rate is None:
        dollars = "; no exchange rate to US dollars"
    elif currency != "USD":
        dollars = f"; 1 USD = {rate:,.4f} {currency}, net liquidation {funds.net_liquidation / rate:,.2f} USD"
    amounts = (
        f"net liquidation {funds.net_liquidation:,.2f} {currency}, "
        f"buying power {funds.buying_power:,.2f} {currency}, cash {funds.cash:,.2f} {currency}"
    )
    return [f"Values       {amounts}{dollars}; taken at {funds.taken_at:%H:%M:%S}"]


def _clock(status: Status) -> str:
    return f"{status.time:%H:%M:%S}" if status.time is not None else "-"


def _facts(status: Status) -> list[str]:
    age = f"{status.state_age_s:.1f} s old" if status.state_age_s is not None else "of unknown age"
    risk = status.risk
    entries = "open" if status.entries_open else "closed"
    start = f", equity at the start {risk.start_equity:,.2f}" if risk.start_equity is not None else ""
    pnl = f"{status.daily_pnl:+,.2f}{' (partly estimated)' if status.daily_pnl_estimated else ''}"
    limits = [
        f"paused ({risk.paused_reason})" if risk.paused else "",
        f"circuit breaker ({risk.breaker_reason})" if risk.breaker_tripped else "",
        "daily loss limit" if risk.loss_limit_hit else "",
    ]
    return [
        _account_line(status),
        *_funds(status.funds),
        f"State        {age}: {status.source}, event {status.sequence}, session clock {_clock(status)}",
        f"Connection   {'connected' if status.connected else 'not connected'}, "
        f"positions {'managed' if status.managing else 'not managed'}; "
        f"{'ready' if status.ready else 'not ready'}; entries {entries}"
        + (f" ({status.entries_reason})" if status.entries_reason else "")
        + (f" since {status.since:%H:%M:%S}" if status.since is not None else ""),
        f"P&L today    {pnl}, {status.trades} trades closed{start} ({age})",
        f"Limits       {', '.join(text for text in limits if text) or 'none reached'} ({age})",
    ]


def _tables(status: Status) -> list[str]:
    """Positions, attempts, halted symbols and alerts. The last column is their age, where that is known."""
    parts = ["", _position_table(status) if status.positions else "No positions."]
    if status.attempts:
        rows: list[list[object]] = [[row.symbol, row.side, row.pivot, row.count] for row in status.attempts]
        parts += ["", _aged(status, ["attempts", "side", "pivot", "filled"], rows)]
    if status.halted:
        parts += ["", _aged(status, ["halted", "why"], [[symbol, why] for symbol, why in status.halted.items()])]
    if status.market_data:
        rows = [
            [
                row.symbol,
                row.state,
                f"{row.since.astimezone():%H:%M:%S}",
                row.code or None,
                row.text,
                f"{row.age_s:.1f} s",
            ]
            for row in status.market_data
        ]
        parts += ["", table(["no live data", "state", "since", "code", "IBKR says", "age"], rows)]
    if status.alerts:
        rows = [[f"{alert.time:%H:%M:%S}", alert.symbol or None, alert.text] for alert in status.alerts[-10:]]
        parts += ["", table(["alert at", "symbol", "text"], rows)]
    return [*parts, ""]


def _aged(status: Status, headings: list[str], rows: list[list[object]]) -> str:
    if status.state_age_s is None:
        return table(headings, rows)
    age = f"{status.state_age_s:.1f} s"
    return table([*headings, "age"], [[*row, age] for row in rows])


def _position_table(status: Status) -> str:
    rows: list[list[object]] = []
    for row in status.positions:
        known = row.recovery + (", estimated" if row.estimated else "") + (", HALTED" if row.halted else "")
        stop = row.stop_perm_id if row.stop_perm_id is not None else ("NO STOP" if row.managed else None)
        left = f"{row.remaining:.0%}"
        what: list[object] = [row.symbol, row.quantity, row.entry_price, row.stop_price]
        rows.append([*what, stop, left, row.realized_pnl, known])
    headings = ["symbol", "shares", "entry", "stop", "stop permId", "left", "realized", "known"]
    return _aged(status, headings, rows)
