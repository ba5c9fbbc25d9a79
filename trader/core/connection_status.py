"""Connection, protection gate and entries, as the state shows them. Recorded when they change."""

from datetime import datetime

from state.domain.events import AlertRaised, ConnectionChanged
from state.domain.model import Risk
from trader.core.turn import Turn

ALERT_KEY = "line"  # as state files have it since the first version


def is_reachable(turn: Turn) -> bool:
    """Whether IBKR can be asked and sent orders: the API connection is up, and TWS has not lost IBKR."""
    view = turn.view
    return turn.moment.connected and not view.connection_lost and not view.outage


def is_managing(turn: Turn) -> bool:
    """Whether positions are managed: exits, partials, trailing stops (invariant 17).

    That needs the connection and the own executions, and no permission of the protection gate.
    """
    return is_reachable(turn) and turn.view.executions_known and turn.view.phase == "trading"


def set_status(turn: Turn, *, connected: bool, ready: bool, reason: str, lost_at: datetime | None = None) -> None:
    """Record and log the status if it changes. Entries are open only while connected, ready and not held.

    Where entries are held, what holds them is the reason, whatever else has changed.
    """
    known, held = turn.state.connection, turn.view.held_because
    lost_at = None if connected and ready else lost_at or known.lost_at
    entries_open = ready and connected and not held
    if connected and ready and held:
        reason = "; ".join(sorted(held))
    managing = connected and is_reachable(turn) and turn.view.executions_known
    before = (known.connected, known.managing, known.ready, known.entries_open, known.lost_at is None)
    same_reason = entries_open or not ready or known.reason == reason
    if before == (connected, managing, ready, entries_open, lost_at is None) and same_reason:
        return
    event = ConnectionChanged(
        time=turn.moment.now,
        connected=connected,
        managing=managing,
        ready=ready,
        entries_open=entries_open,
        reason=reason,
        lost_at=lost_at,
    )
    outage = _alert_text(turn) if known.lost_at is not None and lost_at is None else ""
    turn.record(event)
    turn.log("info", f"{_entries_text(turn.state.risk, entries_open=entries_open)}: {reason}.")
    if outage:
        _alert(turn, f"{outage} Restored at {turn.moment.now:%H:%M:%S}.")


def record_loss(turn: Turn, *, connected: bool, reason: str) -> None:
    """The API connection is lost, or (connected) TWS has lost IBKR. The alert has the time of the loss (p16)."""
    lost_at = turn.state.connection.lost_at
    set_status(turn, connected=connected, ready=False, reason=reason, lost_at=lost_at or turn.moment.now)
    if lost_at is None:
        _alert(turn, f"The connection to IBKR was lost at {turn.moment.now:%H:%M:%S} ({reason}).")


def hold_entries(turn: Turn, reason: str) -> None:
    """Close the entries for a reason of the trader's own; stops and exits stay in force."""
    turn.view.held_because.add(reason)
    known = turn.state.connection
    set_status(turn, connected=known.connected, ready=known.ready, reason=reason)


def release_entries(turn: Turn, reason: str) -> None:
    """The reason no longer applies; entries open again if no other one does."""
    if reason not in turn.view.held_because:
        return
    turn.view.held_because.discard(reason)
    known = turn.state.connection
    set_status(turn, connected=known.connected, ready=known.ready, reason=f"cleared: {reason}")


def _alert_text(turn: Turn) -> str:
    return next((alert.text for alert in turn.state.alerts if alert.key == ALERT_KEY), "")


def _alert(turn: Turn, text: str) -> None:
    turn.record(AlertRaised(time=turn.moment.now, text=text, key=ALERT_KEY))


def _entries_text(risk: Risk, *, entries_open: bool) -> str:
    """Whether entries are open, and which of the day's limits keep them closed."""
    limits = {
        "paused": risk.paused,
        "the circuit breaker tripped": risk.breaker_tripped,
        "the daily loss limit is reached": risk.loss_limit_hit,
    }
    closed = ", ".join(text for text, applies in limits.items() if applies)
    if not entries_open:
        return "Entries are closed"
    return f"Entries stay closed ({closed})" if closed else "Entries are open"
