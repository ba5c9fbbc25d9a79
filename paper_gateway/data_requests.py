"""Opens and ends market data requests, within the limits of IBKR and as the quirks say."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from paper_gateway.errors import RequestRefused
from paper_gateway.history import drop_before
from paper_gateway.quirks import Quirks
from paper_gateway.session import Session
from paper_gateway.tick_messages import TickMessages
from paper_gateway.wire import encode

MAX_LINES = 100
"""Market data lines of an IBKR account without extra fees. Ticks, real-time bars and all clients share them."""
DUPLICATE_TICKER, TOO_MANY_LINES = 102, 101
DELAYED_FOLLOW, BARS_REFUSED, TOO_MANY_BARS = 10167, 420, 456
COMPETING_SESSION, BUST = 10197, 10225
MAX_NEW_BARS = 60
TEN_MINUTES_S = 600.0
SAME_BARS_S = 15.0
NO_BARS = "Invalid Real-time Query:"
TEXTS = {
    101: "Max number of tickers has been reached",
    354: "Requested market data is not subscribed. Check API status by selecting the Account menu.",
    420: f"{NO_BARS} No market data permissions",
    456: "Max number of real time requests has been reached",
    10089: "Requested market data requires additional subscription for API.",
    10167: "Requested market data is not subscribed. Displaying delayed market data.",
    10168: "Requested market data is not subscribed. Delayed market data is not enabled.",
    10197: "No market data during competing live session",
    10225: "Bust event occurred, current subscription is deactivated. Resubscribe real-time bars immediately.",
}


@dataclass
class BarPacing:
    """IBKR's limits of new requests for real-time bars. Times in seconds of the monotonic clock."""

    _all: deque[float] = field(default_factory=deque)
    _last: dict[str, float] = field(default_factory=dict)

    def refusal(self, symbol: str, now_s: float) -> int | None:
        """The code that refuses the request; None for one that is served. Refused ones do not count."""
        drop_before(self._all, now_s - TEN_MINUTES_S)
        if now_s - self._last.get(symbol, -TEN_MINUTES_S) < SAME_BARS_S:
            return BARS_REFUSED
        if len(self._all) >= MAX_NEW_BARS:
            return TOO_MANY_BARS
        self._all.append(now_s)
        self._last[symbol] = now_s
        return None


class DataRequests:
    """The market data requests of all clients. sessions: the connected ones, by client id."""

    def __init__(self, sessions: Mapping[int, Session], ticks: TickMessages, quirks: Quirks) -> None:
        self._sessions = sessions
        self._ticks = ticks
        self._quirks = quirks
        self._bar_pacing = BarPacing()
        quirks.watchers.append(self._quirk_changed)

    def open_ticks(self, session: Session, request_id: int, symbol: str, *, snapshot_only: bool) -> None:
        """Answer a request for market data, and keep it unless it is for a snapshot. Raises RequestRefused."""
        self._check(session.subscriptions.ticks, request_id)
        self._send_first(session, request_id, symbol)
        if snapshot_only:
            session.send("ticks", encode(57, 1, request_id))
        else:
            session.subscriptions.ticks[request_id] = symbol

    def open_bars(self, session: Session, request_id: int, symbol: str) -> None:
        """Keep a request for real-time bars. Raises RequestRefused."""
        self._check(session.subscriptions.real_time_bars, request_id)
        if self._ticks.are_delayed:
            raise _refusal(BARS_REFUSED)
        code = self._bar_pacing.refusal(symbol, time.monotonic()) if self._quirks.on("bars-paced") else None
        if code is not None:
            raise RequestRefused(code, f"{NO_BARS} Pacing violation" if code == BARS_REFUSED else TEXTS[code])
        session.subscriptions.real_time_bars[request_id] = symbol

    def _check(self, open_ones: Mapping[int, str], request_id: int) -> None:
        """Raises RequestRefused if the id is in use, if no line is left, or if a quirk refuses every request."""
        if request_id in open_ones:
            raise RequestRefused(DUPLICATE_TICKER, "Duplicate ticker ID")
        code = self._quirks.whole("data-error")
        if code is not None and code != BUST:
            raise _refusal(code)
        lines = self._quirks.whole("lines")
        if self._used_lines() >= (MAX_LINES if lines is None else lines):
            raise _refusal(TOO_MANY_LINES)

    def _used_lines(self) -> int:
        wanted = [session.subscriptions for session in self._sessions.values()]
        return sum(len(one.ticks) + len(one.real_time_bars) for one in wanted)

    def _send_first(self, session: Session, request_id: int, symbol: str) -> None:
        if self._ticks.are_delayed:
            session.error(request_id, DELAYED_FOLLOW, TEXTS[DELAYED_FOLLOW])
        session.send("ticks", *self._ticks.first(request_id, symbol))

    def _quirk_changed(self, name: str) -> None:
        """Carry a quirk over to the requests that are open."""
        code = self._quirks.whole("data-error")
        for session in self._sessions.values():
            wanted = session.subscriptions
            if name == "data-error" and code == COMPETING_SESSION:
                _end(session, wanted.ticks, code)
            if name == "data-error" and code in (COMPETING_SESSION, BUST):
                _end(session, wanted.real_time_bars, code)
            if name == "delayed":
                for request_id, symbol in wanted.ticks.items():
                    self._send_first(session, request_id, symbol)
                if self._ticks.are_delayed:
                    _end(session, wanted.real_time_bars, BARS_REFUSED)


def _end(session: Session, open_ones: dict[int, str], code: int) -> None:
    for request_id in open_ones:
        session.error(request_id, code, _refusal(code).message)
    open_ones.clear()


def _refusal(code: int) -> RequestRefused:
    return RequestRefused(code, TEXTS.get(code, "Market data error"))
