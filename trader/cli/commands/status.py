"""`status`: what the files say of positions, stops, attempts and limits, also while the trader is dead.

It asks nobody and writes nothing, so every figure has an age: that of the newest record on disk.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from state.domain.model import ForeignPosition, LastSignal, PivotAttempts, Position, Risk, TraderState, sign
from state.storage.files import existing_folder
from state.storage.loader import Loaded, load
from state.storage.lock import LOCK_NAME, LockHolder, holder
from state.storage.sessions import SessionStore
from trader.config.loader import Config
from trader.output import say, say_json, table

STALE_S = 60.0  # a running trader writes far more often


class PositionRow(msgspec.Struct, kw_only=True):
    """A position as the files know it. quantity is signed; remaining is the fraction of the original shares."""

    symbol: str
    quantity: int
    entry_price: float
    stop_price: float | None = None
    stop_perm_id: int | None = None  # None: no live stop of ours is known
    stop_quantity: int = 0
    remaining: float = 1.0
    managed: bool = True
    recovery: str = "foreign"
    side: Literal["LONG", "SHORT"] = "LONG"
    con_id: int = 0
    entry_time: datetime | None = None
    realized_pnl: float = 0.0
    attempt: int = 0
    path: str = ""
    estimated: bool = False
    halted: str = ""


class AlertRow(msgspec.Struct, kw_only=True):
    """Something that the operator should know, by the session's clock."""

    time: datetime
    text: str
    symbol: str = ""


class Status(msgspec.Struct, kw_only=True):
    """What `status --json` prints. Ages are real seconds; `time` is the session's clock.

    connected, ready and entries_open are never true while no trader runs.
    """

    running: bool = False
    pid: int | None = None
    session_id: str = ""
    account: str = ""
    gateway: str = ""
    trading_date: str = ""
    time: datetime | None = None
    connected: bool = False
    ready: bool = False
    entries_open: bool = False
    entries_reason: str = ""
    since: datetime | None = None  # when line, gate and entries came to stand like this, by the session's clock
    state_age_s: float | None = None
    source: str = "nothing"
    sequence: int = 0
    daily_pnl: float = 0.0
    daily_pnl_estimated: bool = False
    trades: int = 0
    positions: list[PositionRow] = []
    live_orders: int = 0
    attempts: list[PivotAttempts] = []
    last_signals: dict[str, LastSignal] = {}
    filter_blocks: dict[str, int] = {}
    risk: Risk = msgspec.field(default_factory=Risk)
    halted: dict[str, str] = {}
    alerts: list[AlertRow] = []
    notes: list[str] = []


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(args: argparse.Namespace, config: Config) -> int:
    """Print the status; 0 also where there is no state at all, which is said."""
    status = read_status(config.files.logs_dir, datetime.now(UTC))
    if args.json:
        say_json(status)
    else:
        say(describe(status))
    return 0


def read_status(logs_dir: Path, now: datetime) -> Status:
    """The status of a logs folder. now: real time, aware. Raises NewerSchemaError, DiskError, StateError."""
    folder = existing_folder(logs_dir)
    if folder is None:
        return Status(notes=[f"There is no folder {logs_dir}: no trader has run here."])
    with folder:
        alive = holder(logs_dir / LOCK_NAME)
        loaded = load(folder)
        status = build_status(loaded, alive, now)
        if alive is None:
            status.notes += [
                f"Session {session.session_id} was never ended: its process {session.pid} died. "
                "The next start marks it as crashed and compares everything with IBKR."
                for session in SessionStore(folder).active()
            ]
    return status


def build_status(loaded: Loaded, alive: LockHolder | None, now: datetime) -> Status:
    """What was loaded and who holds the lock, as one answer. Pure."""
    state = loaded.state
    status = Status(running=alive is not None, source=loaded.source, notes=list(loaded.notes))
    if alive is not None:
        status.pid, status.session_id = alive.pid or None, alive.session_id
    if state is None:
        status.notes.append("There is no state that can be shown.")
        return status
    _fill(status, state)
    status.state_age_s = _age_s(loaded, now)
    if alive is None:
        status.entries_reason = "no trader is running"
    else:
        _open_or_closed(status, state)
        if status.state_age_s is not None and status.state_age_s > STALE_S:
            status.notes.append(f"The trader runs, but wrote nothing for {status.state_age_s:.0f} s.")
    return status


def _fill(status: Status, state: TraderState) -> None:
    status.session_id = status.session_id or state.session_id
    status.account, status.gateway, status.trading_date = state.account, state.gateway, state.trading_date
    status.time, status.sequence = state.time, state.sequence
    status.daily_pnl, status.daily_pnl_estimated = round(state.daily_pnl, 2), state.daily_pnl_estimated
    status.trades = len(state.closed)
    status.positions = [_row(state, position) for position in state.positions.values()]
    status.positions += [_foreign_row(state, position) for position in state.foreign.values()]
    status.positions += [_flipped_row(state, trade) for trade in state.closed.values() if trade.oversold]
    status.live_orders = sum(order.is_live for order in state.orders.values())
    status.attempts, status.last_signals = state.attempts, state.last_signals
    status.filter_blocks, status.risk, status.halted = state.filter_blocks, state.risk, state.halted
    status.alerts = [AlertRow(time=alert.time, text=alert.text, symbol=alert.symbol) for alert in state.alerts]


def _open_or_closed(status: Status, state: TraderState) -> None:
    line, risk = state.connection, state.risk
    if status.session_id != state.session_id:
        status.entries_reason = "the trader is starting"
        return
    status.connected, status.ready, status.since = line.connected, line.ready, line.since
    limits = {
        f"paused: {risk.paused_reason}": risk.paused,
        f"the circuit breaker tripped: {risk.breaker_reason}": risk.breaker_tripped,
        "the daily loss limit is reached": risk.loss_limit_hit,
    }
    closed_by = [reason for reason, applies in limits.items() if applies]
    status.entries_open = line.entries_open and not closed_by
    status.entries_reason = "; ".join(closed_by) or line.reason


def _row(state: TraderState, position: Position) -> PositionRow:
    stop = state.protective_stop(position)
    return PositionRow(
        symbol=position.symbol,
        quantity=position.quantity,
        entry_price=position.entry_price,
        stop_price=position.stop_price,
        stop_perm_id=stop.perm_id if stop is not None else None,
        stop_quantity=stop.pending if stop is not None else 0,
        remaining=position.remaining,
        recovery=position.recovery,
        side=position.side,
        con_id=position.con_id,
        entry_time=position.entry_time,
        realized_pnl=round(position.realized_pnl, 2),
        attempt=position.attempt,
        path=position.path,
        estimated=position.estimated,
        halted=state.halted.get(position.symbol, ""),
    )


def _foreign_row(state: TraderState, position: ForeignPosition) -> PositionRow:
    return PositionRow(
        symbol=position.symbol,
        quantity=position.quantity,
        entry_price=position.avg_cost,
        managed=False,
        side="LONG" if position.quantity > 0 else "SHORT",
        con_id=position.con_id,
        halted=state.halted.get(position.symbol, ""),
    )


def _flipped_row(state: TraderState, position: Position) -> PositionRow:
    """Shares beyond what a trade held, the other way round: in conflict, halted, not managed."""
    return PositionRow(
        symbol=position.symbol,
        quantity=-sign(position.side) * position.oversold,
        entry_price=position.exit_price or position.entry_price,
        managed=False,
        recovery="conflict",
        side="SHORT" if position.side == "LONG" else "LONG",
        con_id=position.con_id,
        halted=state.halted.get(position.symbol, ""),
    )


def _age_s(loaded: Loaded, now: datetime) -> float | None:
    """Real seconds since the newest trace on disk: the snapshot, or the journal's last record."""
    moments = [loaded.saved_at] if loaded.saved_at is not None else []
    if loaded.journal is not None and loaded.journal.records:
        moments.append(datetime.fromisoformat(loaded.journal.records[-1].time))
    return round(max(0.0, (now - max(moments)).total_seconds()), 3) if moments else None


def describe(status: Status) -> str:
    """The status for a person; each figure under a line that tells its age."""
    who = f"running, pid {status.pid}" if status.running else "NOT running"
    lines = [f"Trader       {who}" + (f", session {status.session_id}" if status.session_id else "")]
    if status.source != "nothing":
        lines += _facts(status) + _tables(status)
    lines += [f"Note         {note}" for note in status.notes]
    return "\n".join(lines)


def describe_state(state: TraderState) -> str:
    """A state of the past for a person: what `status` would have said then, without ages."""
    status = Status(source="past")
    _fill(status, state)
    clock = f"{state.time:%H:%M:%S}" if state.time is not None else "-"
    lines = [
        f"Account      {status.account} at {status.gateway}, trading date {status.trading_date}",
        f"State        event {status.sequence}, session clock {clock}, session {status.session_id}",
        f"P&L          {status.daily_pnl:+,.2f}, {status.trades} trades closed, {status.live_orders} orders live",
        *_tables(status),
    ]
    return "\n".join(lines).rstrip()


def _facts(status: Status) -> list[str]:
    age = f"{status.state_age_s:.1f} s old" if status.state_age_s is not None else "of unknown age"
    clock = f"{status.time:%H:%M:%S}" if status.time is not None else "-"
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
        f"Account      {status.account} at {status.gateway}, trading date {status.trading_date}",
        f"State        {age}: {status.source}, event {status.sequence}, session clock {clock}",
        f"Connection   {'connected' if status.connected else 'not connected'}, "
        f"{'ready' if status.ready else 'not ready'}; entries {entries}"
        + (f" ({status.entries_reason})" if status.entries_reason else "")
        + (f" since {status.since:%H:%M:%S}" if status.since is not None else ""),
        f"P&L today    {pnl}, {status.trades} trades closed{start} ({age})",
        f"Limits       {', '.join(text for text in limits if text) or 'none reached'} ({age})",
    ]


def _tables(status: Status) -> list[str]:
    """Positions, attempts, halted symbols and alerts; their last column is how old they are, if that is known."""
    parts = ["", _position_table(status) if status.positions else "No positions."]
    if status.attempts:
        rows: list[list[object]] = [[row.symbol, row.side, row.pivot, row.count] for row in status.attempts]
        parts += ["", _aged(status, ["attempts", "side", "pivot", "filled"], rows)]
    if status.halted:
        parts += ["", _aged(status, ["halted", "why"], [[symbol, why] for symbol, why in status.halted.items()])]
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
