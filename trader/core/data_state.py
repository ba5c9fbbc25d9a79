"""The state of a symbol's market data, what changes it, and when to ask for the data again. Pure.

`TRANSITIONS` is the whole table. Only a real-time bar makes data live: bars come every five session seconds, also
without trades, while a refused or frozen subscription may go on to send prices.
"""

import math
from typing import Literal

import msgspec

from state.domain.model import DataState

DataEvent = Literal[
    "requested",  # the request for real-time bars went out
    "queued",  # it has to wait for its turn
    "bar",  # a real-time bar came
    "delayed",  # IBKR sends delayed data
    "current",  # IBKR sends live prices
    "refused",  # IBKR has refused or ended a request
    "silent",  # no bar for `SILENT_S`
]

TRANSITIONS: dict[tuple[DataState, DataEvent], DataState] = {
    ("waiting", "requested"): "waiting",
    ("waiting", "queued"): "waiting",
    ("waiting", "bar"): "live",
    ("waiting", "delayed"): "delayed",
    ("waiting", "current"): "waiting",
    ("waiting", "refused"): "missing",
    ("waiting", "silent"): "stale",
    ("live", "requested"): "waiting",
    ("live", "queued"): "waiting",
    ("live", "bar"): "live",
    ("live", "delayed"): "delayed",
    ("live", "current"): "live",
    ("live", "refused"): "missing",
    ("live", "silent"): "stale",
    ("delayed", "requested"): "delayed",
    ("delayed", "queued"): "delayed",
    ("delayed", "bar"): "delayed",
    ("delayed", "delayed"): "delayed",
    ("delayed", "current"): "waiting",
    ("delayed", "refused"): "delayed",
    ("delayed", "silent"): "delayed",
    ("missing", "requested"): "missing",
    ("missing", "queued"): "waiting",
    ("missing", "bar"): "live",
    ("missing", "delayed"): "delayed",
    ("missing", "current"): "missing",
    ("missing", "refused"): "missing",
    ("missing", "silent"): "missing",
    ("stale", "requested"): "stale",
    ("stale", "queued"): "stale",
    ("stale", "bar"): "live",
    ("stale", "delayed"): "delayed",
    ("stale", "current"): "stale",
    ("stale", "refused"): "missing",
    ("stale", "silent"): "stale",
}

# Events that give a new reason, if the state is already the one that they lead to.
_REASON_OF: dict[DataEvent, DataState] = {"requested": "waiting", "queued": "waiting", "refused": "missing"}

SILENT_S = 20.0  # real seconds without a bar
SILENT_BARS = 4  # and at least so many bars, where a session is slower than real time
WAITS_S = (5.0, 10.0, 20.0, 40.0, 60.0)  # before the data are asked for again; the last one repeats
STEADY_S = 60.0  # data that were live for so long begin with the shortest wait again
BLIND: frozenset[DataState] = frozenset({"delayed", "missing", "stale"})


class SymbolData(msgspec.Struct):
    """One symbol's market data. Seconds are real and monotonic; wall_ms is milliseconds since 1970."""

    state: DataState = "waiting"
    since_s: float = 0.0
    since_wall_ms: int = 0
    code: int = 0  # of IBKR's message, where one came
    text: str = ""
    heard_at_s: float = math.inf  # of the last bar, or of the request; infinite while no bar can be expected
    tries: int = 0  # requests sent again since the data were live for `STEADY_S`
    again_at_s: float = math.inf  # when to ask again
    recorded_at_s: float = -math.inf  # when a change was recorded last


def change(data: SymbolData, event: DataEvent, now_s: float, wall_ms: int, code: int = 0, text: str = "") -> None:
    """Take one event in. code and text: why, for `queued`, `delayed`, `refused` and `silent`."""
    before, after = data.state, TRANSITIONS[data.state, event]
    if event in ("bar", "requested"):
        data.heard_at_s = now_s
    elif event == "queued":
        data.heard_at_s = math.inf
    if after != before:
        if before == "live" and now_s - data.since_s >= STEADY_S:
            data.tries = 0
        data.state, data.since_s, data.since_wall_ms = after, now_s, wall_ms
        data.again_at_s = math.inf
    if after != before or _REASON_OF.get(event) == after:
        data.code, data.text = code, text
    if after in BLIND and data.again_at_s == math.inf:
        data.again_at_s = now_s + _wait_s(data)


def asked_again(data: SymbolData, now_s: float) -> None:
    """The data are asked for again; without success the next time is later."""
    data.tries += 1
    data.again_at_s = now_s + _wait_s(data)


def silent_after_s(bar_s: float, speed: float) -> float:
    """Real seconds without a bar after which data are stale. bar_s: session seconds of a bar."""
    return max(SILENT_S, SILENT_BARS * bar_s / speed)


def _wait_s(data: SymbolData) -> float:
    return WAITS_S[min(data.tries, len(WAITS_S) - 1)]
