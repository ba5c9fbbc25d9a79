"""The session's own file: account, gateway, start, symbols, settings, results. Trading does not depend on it."""

import os
from datetime import UTC, datetime
from typing import Literal

import msgspec

from state.manager import StateManager
from state.storage.sessions import Session, SessionStore
from trader.config.sections import Config
from trader.runtime.connection import Connected


class SessionRecord:
    """Writes `sessions/<id>.json`: at the start, at the first complete answer of IBKR, and at the end."""

    def __init__(self, config: Config, manager: StateManager, store: SessionStore, connected: Connected) -> None:
        self._manager = manager
        self._store = store
        self.parameters = msgspec.to_builtins(
            {"entry": config.entry, "size": config.size, "exit": config.exit, "risk": config.risk}
        )
        self._session = Session(
            session_id=manager.session_id,
            started_at=datetime.now(UTC),
            trading_date=manager.state.trading_date,
            account=connected.account,
            gateway=connected.endpoint.identity,
            pid=os.getpid(),
            parameters=self.parameters,
        )

    def start(self, symbols: list[str], *, resumed: bool) -> None:
        """Write the file before the comparison, so that a crash during the recovery is recorded as one."""
        self._session.symbols = symbols
        if resumed:
            earlier = [s for s in self._store.list() if s.trading_date == self._session.trading_date]
            self._session.resumed_from = earlier[-1].session_id if earlier else ""
        self._store.start(self._session)

    def set_initial_value(self, value: float) -> None:
        """The net liquidation value at the first complete answer, in US dollars."""
        self._session.initial_value = value
        self._store.update(self._session)

    def finish(self, status: Literal["completed", "crashed"], value: float | None, reason: str) -> None:
        """Write the session's results. value: the last net liquidation value, if known."""
        state = self._manager.state
        self._store.finish(
            self._session.session_id, status, datetime.now(UTC), value, state.daily_pnl, len(state.closed), reason
        )
