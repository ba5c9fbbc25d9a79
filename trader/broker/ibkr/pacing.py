"""IBKR's limits for a client: messages a second, requests for history, and requests for real-time bars.

Sources: https://interactivebrokers.github.io/tws-api/historical_limitations.html and realtime_bars.html, and 50
messages a second, of which ib_insync uses 45.
"""

from collections import deque
from collections.abc import Callable, Sequence
from enum import IntEnum

WINDOW_S = 1.0
HISTORY_WINDOW_S = 600.0
HISTORY_MAX = 60
IDENTICAL_S = 15.0
BARS_WINDOW_S = 600.0
BARS_MAX = 60
SAME_CONTRACT_WINDOW_S = 2.0
SAME_CONTRACT_MAX = 5


class Lane(IntEnum):
    """What a message is for. A lower number is sent first."""

    ORDERS = 0
    QUESTIONS = 1
    SUBSCRIPTIONS = 2


# Messages in one second up to which each lane may write. So a hundred subscriptions leave room for the heartbeat,
# and both leave room for a stop.
LIMITS = {Lane.ORDERS: 45, Lane.QUESTIONS: 38, Lane.SUBSCRIPTIONS: 30}


class SendLanes:
    """The throttle of one socket: orders are sent first, and frames put together are written together."""

    def __init__(
        self,
        write: Callable[[bytes], None],
        now: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], object],
    ) -> None:
        """`write` puts bytes on the socket; `now` and `call_at` are the event loop's time() and call_at()."""
        self._write = write
        self._now = now
        self._call_at = call_at
        self._waiting: dict[Lane, deque[Sequence[bytes]]] = {lane: deque() for lane in Lane}
        self._sent_at: deque[float] = deque()
        self._timer_set = False

    def put(self, frames: Sequence[bytes], lane: Lane) -> None:
        """Write the frames in one write, as soon as the limit allows."""
        self._waiting[lane].append(frames)
        self._drain()

    def clear(self) -> int:
        """Drop what waits: the connection has ended. Returns the number of order messages that were not sent."""
        unsent = sum(len(frames) for frames in self._waiting[Lane.ORDERS])
        for waiting in self._waiting.values():
            waiting.clear()
        return unsent

    def _drain(self) -> None:
        now = self._now()
        while self._sent_at and now - self._sent_at[0] >= WINDOW_S:
            self._sent_at.popleft()
        for lane, waiting in self._waiting.items():
            while waiting and self._fits(len(waiting[0]), lane):
                frames = waiting.popleft()
                self._sent_at.extend([now] * len(frames))
                self._write(b"".join(frames))
            if waiting:
                self._wake_later()
                return  # a lower lane never overtakes

    def _fits(self, count: int, lane: Lane) -> bool:
        return not self._sent_at or len(self._sent_at) + count <= LIMITS[lane]

    def _wake_later(self) -> None:
        if not self._timer_set:
            self._timer_set = True
            self._call_at(self._sent_at[0] + WINDOW_S, self._wake)

    def _wake(self) -> None:
        self._timer_set = False
        self._drain()


class HistoryPacer:
    """How long a request for history has to wait. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._all: deque[tuple[float, str, object]] = deque()

    def wait_s(self, symbol: str, request: object, now: float) -> float:
        """Seconds until this request is allowed; 0 if it is now. request: compares equal if it is identical."""
        while self._all and now - self._all[0][0] >= HISTORY_WINDOW_S:
            self._all.popleft()
        free_at = [now]
        if len(self._all) >= HISTORY_MAX:
            free_at.append(self._all[-HISTORY_MAX][0] + HISTORY_WINDOW_S)
        free_at += [at + IDENTICAL_S for at, _, other in self._all if other == request]
        same = [at for at, other, _ in self._all if other == symbol]
        if len(same) >= SAME_CONTRACT_MAX:
            free_at.append(same[-SAME_CONTRACT_MAX] + SAME_CONTRACT_WINDOW_S)
        return max(free_at) - now

    def asked(self, symbol: str, request: object, now: float) -> None:
        """The request is sent now."""
        self._all.append((now, symbol, request))


class BarPacer:
    """How long a new request for real-time bars has to wait. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._all: deque[tuple[float, str]] = deque()
        self._last: dict[str, float] = {}

    def wait_s(self, symbol: str, now: float) -> float:
        """Seconds until a request for this symbol is allowed; 0 if it is now."""
        while self._all and now - self._all[0][0] >= BARS_WINDOW_S:
            self._all.popleft()
        free_at = [now]
        if len(self._all) >= BARS_MAX:
            free_at.append(self._all[-BARS_MAX][0] + BARS_WINDOW_S)
        if symbol in self._last:
            free_at.append(self._last[symbol] + IDENTICAL_S)
        return max(free_at) - now

    def asked(self, symbol: str, now: float) -> None:
        """The request is sent now."""
        self._all.append((now, symbol))
        self._last[symbol] = now

    def ended(self, symbol: str) -> None:
        """IBKR has ended the symbol's bars and expects a new request at once."""
        self._last.pop(symbol, None)

    def forget(self, symbol: str) -> None:
        """The symbol's last request was refused for a reason other than pacing: it does not count."""
        self.ended(symbol)
        for index in range(len(self._all) - 1, -1, -1):
            if self._all[index][1] == symbol:
                del self._all[index]
                return
