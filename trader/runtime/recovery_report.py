"""The report of a recovery: printed at a start, and kept as JSON in the logs folder."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from state.domain.model import TraderState
from state.manager import Begun
from state.storage.files import Folder
from state.storage.layout import RECOVERY
from state.storage.loader import Loaded
from trader.broker.port import BrokerSnapshot
from trader.core.reconciliation.plan import Row
from trader.output import table

RULE = "=" * 80
MARKS = {"ok": "✓", "info": "✓", "warning": "⚠️ ", "conflict": "✗", "unknown": "?"}


def banner(*, live: bool) -> list[str]:
    """The first lines of every run."""
    return [f"PS60 LIVE TRADER - {'LIVE' if live else 'PAPER'} TRADING SESSION", RULE]


def opening(loaded: Loaded, begun: Begun) -> list[str]:
    """What was found on disk."""
    lines = ["", RULE, "🔄 RECOVERING STATE FROM PREVIOUS SESSION...", RULE]
    lines += [f"⚠️  {note}" for note in loaded.notes]
    lines += [f"⚠️  {note}" for note in begun.notes]
    if begun.previous is not None:
        lines += _quoted(begun.previous)
    state = loaded.state
    if not begun.resumed or state is None:
        text = (
            "No previous state found (clean start)"
            if not loaded.found_anything
            else "No state could be applied: only IBKR's own records are used"
        )
        return [*lines, text]
    lines.append(f"📂 Loaded state file from {_when(loaded.saved_at, state)} ({loaded.source})")
    if loaded.replayed:
        lines.append(f"   Journal: {loaded.replayed} later events replayed, up to event {state.sequence}")
    lines.append(f"   Positions: {len(state.positions)}")
    lines.append(f"   Daily P&L: ${state.daily_pnl:.2f}")
    return lines


def validation(rows: Iterable[Row], snapshot: BrokerSnapshot) -> list[str]:
    """IBKR's positions, then a line for each decision."""
    lines = ["", "🔄 VALIDATING POSITIONS WITH IBKR PORTFOLIO..."]
    held = [p for p in snapshot.positions or () if p.quantity]
    lines += [f"🔄 IBKR POSITION: {p.symbol} {p.quantity} shares @ avg ${p.avg_cost:.2f}" for p in held]
    if snapshot.positions is None:
        lines.append("🔄 IBKR POSITION: unknown, IBKR has not answered")
    elif not held:
        lines.append("🔄 IBKR POSITION: none")
    for row in rows:
        lines.append(row_line(row))
        lines += [f"      {evidence}" for evidence in row.evidence]
    return lines


def row_line(row: Row) -> str:
    """One decision as a line of text."""
    if row.decision in ("matched", "adopted", "partial_taken"):
        return f"{MARKS[row.severity]} RECOVERED: {row.symbol} {row.text}"
    return f"{MARKS[row.severity]} {row.symbol}: {row.text}"


def closing(state: TraderState, *, resumed: bool) -> list[str]:
    """Attempts, analytics, and the table of positions with their stops."""
    lines: list[str] = []
    if resumed or state.trades:  # there may be trades that were rebuilt from IBKR's records alone
        lines += ["", "🔄 RESTORING ATTEMPT COUNTS..."]
        lines += [
            f"  {row.symbol}: {row.count} {row.side.lower()} attempts at ${row.pivot:.2f}" for row in state.attempts
        ] or ["  none"]
        trades = list(state.closed.values())
        winners = sum(trade.realized_pnl > 0 for trade in trades)
        estimate = " (part of it estimated)" if state.daily_pnl_estimated else ""
        lines += [
            "",
            "🔄 RESTORING ANALYTICS...",
            f"  Daily P&L: ${state.daily_pnl:.2f}{estimate}",
            f"  Trades Today: {len(trades)}",
            f"  Win Rate: {winners}/{len(trades)}",
        ]
        lines += [f"  {text}" for text in _limits(state)]
    lines += ["", RULE, "✓ STATE RECOVERY COMPLETE", f"  Recovered Positions: {len(state.positions)}"]
    if state.positions:
        lines += ["    " + line for line in position_table(state).splitlines()]
    lines.append(RULE)
    return lines


def position_table(state: TraderState) -> str:
    """A row for each position: shares, entry, stop and its permId, P&L."""
    rows = []
    for position in state.positions.values():
        stop = state.protective_stop(position)
        rows.append(
            (
                position.symbol,
                position.side,
                position.held,
                position.entry_price,
                position.remaining,
                position.stop_price,
                stop.perm_id if stop is not None else None,
                position.realized_pnl,
                position.recovery,
            )
        )
    headings = ("symbol", "side", "shares", "entry", "remaining", "stop", "stop permId", "realized", "known by")
    return table(headings, rows)


def write_report(
    folder: Folder,
    name: str,
    state: TraderState,
    rows: list[Row],
    notes: list[str],
    now: datetime,
    timings_ms: dict[str, float],
) -> None:
    """Write the report as JSON: logs/recovery/<date>/<name>. Blocking."""
    content: dict[str, Any] = {
        "session_id": state.session_id,
        "time": now.isoformat(),
        "trading_date": state.trading_date,
        "account": state.account,
        "gateway": state.gateway,
        "rows": rows,
        "notes": notes,
        "positions": {s: {**msgspec.to_builtins(p), "managed": True} for s, p in state.positions.items()},
        "daily_pnl": round(state.daily_pnl, 2),
        "halted": state.halted,
        "ready": state.connection.ready,
        "timings_ms": timings_ms,
    }
    data = msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
    with folder.subfolder(RECOVERY) as reports, reports.subfolder(state.trading_date) as day:
        day.write_new(name, data)


def _limits(state: TraderState) -> list[str]:
    risk = state.risk
    lines = []
    if risk.paused:
        lines.append(f"PAUSED: {risk.paused_reason}")
    if risk.breaker_tripped:
        lines.append(f"CIRCUIT BREAKER tripped: {risk.breaker_reason}")
    if risk.loss_limit_hit:
        lines.append("DAILY LOSS LIMIT reached")
    return lines


def _quoted(previous: TraderState) -> list[str]:
    """The positions of a state that is not applied, for comparison with the account."""
    return [
        f"   on {previous.trading_date} it held {p.symbol} {p.side} {p.held} shares @ ${p.entry_price:.2f}, "
        f"entered {p.entry_time:%Y-%m-%d %H:%M:%S}"
        for p in previous.positions.values()
    ]


def _when(saved_at: datetime | None, state: TraderState) -> str:
    moment = state.time
    text = moment.isoformat(timespec="seconds") if moment is not None else "unknown time"
    return f"{text}, saved {saved_at:%H:%M:%S} UTC" if saved_at is not None else text
