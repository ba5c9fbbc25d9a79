"""How the line to IBKR, the protection gate and the entries stand: recorded when it changes, and said."""

import logging
from datetime import datetime

from state.domain.events import AlertRaised, ConnectionChanged
from state.manager import StateManager
from trader.clock import Clock

_log = logging.getLogger("trader.core")

LINE_KEY = "line"


class ConnectionStatus:
    """Entries are open only behind a line that is up and a gate that has passed."""

    def __init__(self, manager: StateManager, clock: Clock) -> None:
        self._memory = manager
        self._clock = clock
        self._held_because: set[str] = set()  # reasons of our own, whatever the line says

    @property
    def ready(self) -> bool:
        """Connected, and the protection gate has passed."""
        return self._memory.state.connection.ready

    def set(self, *, connected: bool, ready: bool, reason: str) -> None:
        """Tell the state and the operator, if something changed."""
        lost_at = self._memory.state.connection.lost_at
        if not self._change(connected=connected, ready=ready, reason=reason, lost_at=lost_at):
            return
        if connected and ready and lost_at is not None:
            self._tell_back(lost_at)

    def _change(self, *, connected: bool, ready: bool, reason: str, lost_at: datetime | None) -> bool:
        """Record and log a status that differs from the last one; returns whether it does."""
        line = self._memory.state.connection
        entries_open = ready and connected and not self._held_because
        if connected and ready:
            lost_at = None
        same = (line.connected, line.ready, line.entries_open) == (connected, ready, entries_open)
        if same and line.lost_at == lost_at:
            return False
        event = ConnectionChanged(
            time=self._clock.now(),
            connected=connected,
            ready=ready,
            entries_open=entries_open,
            reason=line.reason if same else reason,
            lost_at=lost_at,
        )
        self._memory.record(event)
        if not same:
            _log.info("%s: %s.", self._entries_words(entries_open=entries_open), reason)
        return True

    def lose(self, *, connected: bool, reason: str) -> None:
        """The line is gone, or TWS's own to IBKR (connected): since when stays before the operator's eyes (p16)."""
        known, now = self._memory.state.connection.lost_at, self._clock.now()
        self._change(connected=connected, ready=False, reason=reason, lost_at=known or now)
        if known is None:
            self._alert(f"The line to IBKR was lost at {now:%H:%M:%S} ({reason}).")

    def _tell_back(self, lost_at: datetime) -> None:
        """Add to the alert of the loss, told by this run or by one that crashed since, when it ended."""
        lost = f"The line to IBKR was lost at {lost_at:%H:%M:%S}."
        alerts = self._memory.state.alerts
        told = next((a.text for a in alerts if a.key == LINE_KEY and a.time >= lost_at), lost)
        self._alert(f"{told} It is back since {self._clock.now():%H:%M:%S}.")

    def _alert(self, text: str) -> None:
        self._memory.record(AlertRaised(time=self._clock.now(), text=text, key=LINE_KEY))

    def hold_entries(self, reason: str) -> None:
        """Close the entries for a reason of our own; stops and exits go on."""
        self._held_because.add(reason)
        line = self._memory.state.connection
        self.set(connected=line.connected, ready=line.ready, reason=reason)

    def release_entries(self, reason: str) -> None:
        """That reason is gone."""
        if reason not in self._held_because:
            return
        self._held_because.discard(reason)
        line = self._memory.state.connection
        self.set(connected=line.connected, ready=line.ready, reason=f"no longer so: {reason}")

    def _entries_words(self, *, entries_open: bool) -> str:
        """How the entries stand, the limits included."""
        risk = self._memory.state.risk
        limits = {
            "paused": risk.paused,
            "the circuit breaker tripped": risk.breaker_tripped,
            "the daily loss limit is reached": risk.loss_limit_hit,
        }
        closed = ", ".join(text for text, applies in limits.items() if applies)
        if not entries_open:
            return "Entries are closed"
        return f"Entries stay closed ({closed})" if closed else "Entries are open"
