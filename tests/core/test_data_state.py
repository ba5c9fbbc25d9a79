"""The states of a symbol's market data: the table, and when the data are asked for again."""

import math
from typing import get_args

import pytest

from state.domain.model import DataState
from trader.core.data_state import (
    BLIND,
    TRANSITIONS,
    WAITS_S,
    DataEvent,
    SymbolData,
    asked_again,
    change,
    silent_after_s,
)

STATES, EVENTS = get_args(DataState), get_args(DataEvent)

# One row a state; the columns are the events in their order.
EXPECTED = {
    # state      requested  queued     bar        delayed    current    refused    silent
    "waiting": ("waiting", "waiting", "live", "delayed", "waiting", "missing", "stale"),
    "live": ("waiting", "waiting", "live", "delayed", "live", "missing", "stale"),
    "delayed": ("delayed", "delayed", "delayed", "delayed", "waiting", "delayed", "delayed"),
    "missing": ("missing", "waiting", "live", "delayed", "missing", "missing", "missing"),
    "stale": ("stale", "stale", "live", "delayed", "stale", "missing", "stale"),
}


def test_the_table_has_every_state_and_every_event() -> None:
    assert EXPECTED.keys() == set(STATES)
    assert TRANSITIONS.keys() == {(state, event) for state in STATES for event in EVENTS}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_each_event_in_each_state(state: DataState, event: DataEvent) -> None:
    expected = EXPECTED[state][EVENTS.index(event)]
    data = SymbolData(state=state, since_s=1.0, since_wall_ms=1000, code=1, text="before")
    change(data, event, 5.0, 5000, 7, "now")
    assert data.state == expected
    kept = expected == state
    assert (data.since_s, data.since_wall_ms) == ((1.0, 1000) if kept else (5.0, 5000))
    new_reason = not kept or (event, state) in {
        ("requested", "waiting"),
        ("queued", "waiting"),
        ("refused", "missing"),
    }
    assert (data.code, data.text) == ((7, "now") if new_reason else (1, "before"))
    assert (data.again_at_s < math.inf) == (expected in BLIND)


def test_the_waits_grow_and_the_last_one_repeats() -> None:
    data, now_s, waits = SymbolData(), 100.0, []
    change(data, "refused", now_s, 0, 354)
    for _ in range(7):
        waits.append(data.again_at_s - now_s)
        now_s = data.again_at_s
        asked_again(data, now_s)
        change(data, "requested", now_s, 0)
        change(data, "refused", now_s, 0, 354)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


@pytest.mark.parametrize(("live_s", "wait_s"), [(59.0, WAITS_S[2]), (60.0, WAITS_S[0])])
def test_only_data_that_were_live_for_a_minute_begin_with_the_shortest_wait(live_s: float, wait_s: float) -> None:
    data = SymbolData(tries=2)
    change(data, "bar", 100.0, 0)
    change(data, "refused", 100.0 + live_s, 0, 10197)
    assert data.again_at_s - (100.0 + live_s) == wait_s


def test_silence_counts_from_the_last_bar_and_never_while_the_request_waits() -> None:
    data = SymbolData()
    assert data.heard_at_s == math.inf, "nothing was asked for"
    change(data, "requested", 10.0, 0)
    change(data, "bar", 15.0, 0)
    assert data.heard_at_s == 15.0
    change(data, "current", 17.0, 0)
    assert data.heard_at_s == 15.0, "prices are no bars"
    change(data, "queued", 20.0, 0)
    assert data.heard_at_s == math.inf


def test_a_slow_session_has_longer_silences() -> None:
    assert silent_after_s(5.0, 1.0) == 20.0
    assert silent_after_s(5.0, 60.0) == 20.0
    assert silent_after_s(5.0, 0.5) == 40.0
