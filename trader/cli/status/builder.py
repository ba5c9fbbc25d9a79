"""Builds a status from what was loaded, from who holds the lock, and from the time. Pure."""

from datetime import datetime

from state.domain.model import ForeignPosition, Position, TraderState, sign
from state.storage.loader import Loaded
from state.storage.lock import LockHolder
from trader.cli.status.model import AlertRow, DataRow, PositionRow, Status

STALE_S = 60.0  # a running trader writes far more often


def build_status(loaded: Loaded, alive: LockHolder | None, now: datetime) -> Status:
    """The status by the files. alive: the running trader, if there is one; now: real time, aware."""
    state = loaded.state
    status = status_of(state) if state is not None else Status()
    status.running, status.source, status.notes = alive is not None, loaded.source, list(loaded.notes)
    if alive is not None:
        status.pid, status.session_id = alive.pid or None, alive.session_id or status.session_id
    if state is None:
        status.notes.append("There is no state that can be shown.")
        return status
    status.state_age_s = _age_s(loaded, now)
    if alive is None:
        status.entries_reason = "no trader is running"
        return status
    _add_connection(status, state)
    if status.session_id == state.session_id:
        status.market_data = _data_rows(state, now)
    if status.state_age_s is not None and status.state_age_s > STALE_S:
        status.notes.append(f"The trader runs, but wrote nothing for {status.state_age_s:.0f} s.")
    return status


def status_of(state: TraderState) -> Status:
    """What the state alone tells: no age, no running trader, no connection."""
    return Status(
        session_id=state.session_id,
        account=state.account,
        gateway=state.gateway,
        trading_date=state.trading_date,
        time=state.time,
        sequence=state.sequence,
        daily_pnl=round(state.daily_pnl, 2),
        daily_pnl_estimated=state.daily_pnl_estimated,
        trades=len(state.closed),
        positions=_position_rows(state),
        live_orders=sum(order.is_live for order in state.orders.values()),
        attempts=state.attempts,
        last_signals=state.last_signals,
        filter_blocks=state.filter_blocks,
        risk=state.risk,
        funds=state.funds,
        halted=state.halted,
        alerts=[AlertRow(time=alert.time, text=alert.text, symbol=alert.symbol) for alert in state.alerts],
    )


def _add_connection(status: Status, state: TraderState) -> None:
    """Connection and entries of the running trader, once it has written something in this session."""
    if status.session_id != state.session_id:
        status.entries_reason = "the trader is starting"
        return
    connection = state.connection
    status.connected, status.ready, status.since = connection.connected, connection.ready, connection.since
    status.managing = connection.managing
    closed_by = _limits_reached(state)
    status.entries_open = connection.entries_open and not closed_by
    status.entries_reason = "; ".join(closed_by) or connection.reason


def _data_rows(state: TraderState, now: datetime) -> list[DataRow]:
    return [
        DataRow(
            symbol=symbol,
            state=data.state,
            since=data.since,
            age_s=round(max(0.0, (now - data.since).total_seconds()), 1),
            code=data.code,
            text=data.text,
        )
        for symbol, data in sorted(state.market_data.items())
    ]


def _limits_reached(state: TraderState) -> list[str]:
    risk = state.risk
    limits = (
        (risk.paused, f"paused: {risk.paused_reason}"),
        (risk.breaker_tripped, f"the circuit breaker tripped: {risk.breaker_reason}"),
        (risk.loss_limit_hit, "the daily loss limit is reached"),
    )
    return [text for reached, text in limits if reached]


def _position_rows(state: TraderState) -> list[PositionRow]:
    """Own positions, foreign ones, and reversals; each with its symbol's halt."""
    rows = [_own_row(state, position) for position in state.positions.values()]
    rows += [_foreign_row(position) for position in state.foreign.values()]
    rows += [_reversal_row(trade) for trade in state.closed.values() if trade.oversold]
    for row in rows:
        row.halted = state.halted.get(row.symbol, "")
    return rows


def _own_row(state: TraderState, position: Position) -> PositionRow:
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
    )


def _foreign_row(position: ForeignPosition) -> PositionRow:
    return PositionRow(
        symbol=position.symbol,
        quantity=position.quantity,
        entry_price=position.avg_cost,
        managed=False,
        side="LONG" if position.quantity > 0 else "SHORT",
        con_id=position.con_id,
    )


def _reversal_row(trade: Position) -> PositionRow:
    """The shares by which the exits of a closed trade exceeded what it held: in conflict, not managed."""
    return PositionRow(
        symbol=trade.symbol,
        quantity=-sign(trade.side) * trade.oversold,
        entry_price=trade.exit_price or trade.entry_price,
        managed=False,
        recovery="conflict",
        side="SHORT" if trade.side == "LONG" else "LONG",
        con_id=trade.con_id,
    )


def _age_s(loaded: Loaded, now: datetime) -> float | None:
    """Real seconds since the newest write that is on disk: the snapshot's, or the journal's last record."""
    moments = [loaded.saved_at] if loaded.saved_at is not None else []
    if loaded.journal is not None and loaded.journal.records:
        moments.append(datetime.fromisoformat(loaded.journal.records[-1].time))
    return round(max(0.0, (now - max(moments)).total_seconds()), 3) if moments else None
