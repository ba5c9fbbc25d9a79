"""IBKR's limits: messages a second by lane, requests for history, and requests for real-time bars."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.broker.ibkr.pacing import BarPacer, HistoryPacer, Lane, SendLanes


class Loop:
    """The event loop's clock and timers, moved by the test."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.written: list[tuple[float, bytes]] = []
        self.lanes = SendLanes(
            lambda data: self.written.append((self.now, data)),
            lambda: self.now,
            lambda when, callback: self.timers.append((when, callback)),
        )

    def run(self) -> None:
        """Fire every timer, in order."""
        while self.timers:
            self.timers.sort(key=lambda timer: timer[0])
            when, callback = self.timers.pop(0)
            self.now = max(self.now, when)
            callback()


def test_an_idle_connection_writes_at_once_and_a_batch_in_one_piece() -> None:
    loop = Loop()
    loop.lanes.put([b"a", b"b"], Lane.ORDERS)
    assert loop.written == [(100.0, b"ab")]


def test_orders_and_questions_overtake_subscriptions() -> None:
    loop = Loop()
    for _ in range(60):
        loop.lanes.put([b"s"], Lane.SUBSCRIPTIONS)
    loop.lanes.put([b"q"], Lane.QUESTIONS)
    loop.lanes.put([b"o", b"o"], Lane.ORDERS)
    assert [data for _, data in loop.written] == [b"s"] * 30 + [b"q", b"oo"]
    loop.run()
    assert sum(data == b"s" for _, data in loop.written) == 60


@given(st.lists(st.tuples(st.sampled_from(list(Lane)), st.integers(1, 5)), max_size=200))
def test_no_second_sees_more_than_45_messages_and_each_lane_keeps_its_order(
    batches: list[tuple[Lane, int]],
) -> None:
    loop = Loop()
    for number, (lane, size) in enumerate(batches):
        loop.lanes.put([f"{lane.value}:{number} ".encode()] * size, lane)
    loop.run()
    sent = [(at, data.split()) for at, data in loop.written]
    assert sum(len(messages) for _, messages in sent) == sum(size for _, size in batches)
    for at, _ in sent:
        assert sum(len(messages) for when, messages in sent if at <= when < at + 0.999) <= 45
    for lane in Lane:
        numbers = [int(m[0].split(b":")[1]) for _, m in sent if m[0].startswith(f"{lane.value}:".encode())]
        assert numbers == sorted(numbers)


def test_a_bracket_that_waits_is_not_overtaken() -> None:
    loop = Loop()
    for _ in range(30):
        loop.lanes.put([b"s"], Lane.SUBSCRIPTIONS)
    loop.lanes.put([b"o"] * 16, Lane.ORDERS)
    loop.lanes.put([b"q"], Lane.QUESTIONS)
    assert len(loop.written) == 30
    loop.run()
    assert [data for _, data in loop.written[30:]] == [b"o" * 16, b"q"]


def test_waiting_messages_are_dropped_with_the_connection() -> None:
    loop = Loop()
    for _ in range(40):
        loop.lanes.put([b"s"], Lane.SUBSCRIPTIONS)
    assert loop.lanes.clear() == 0
    loop.run()
    assert len(loop.written) == 30
    loop.lanes.put([b"o"] * 16, Lane.ORDERS)
    loop.lanes.put([b"o"] * 30, Lane.ORDERS)
    assert loop.lanes.clear() == 30


def asked(pacer: HistoryPacer, symbol: str, request: object, now: float) -> float:
    """When the request goes out."""
    at = now + pacer.wait_s(symbol, request, now)
    pacer.asked(symbol, request, at)
    return at


def test_history_is_held_to_60_in_ten_minutes() -> None:
    pacer = HistoryPacer()
    times = [asked(pacer, f"S{n}", n, 0.0) for n in range(61)]
    assert times[:60] == [0.0] * 60
    assert times[60] == pytest.approx(600.0)
    assert pacer.wait_s("X", "x", 1300.0) == 0.0


def test_identical_history_waits_15_seconds_and_one_symbol_5_in_two_seconds() -> None:
    pacer = HistoryPacer()
    assert asked(pacer, "TSLA", "same", 10.0) == 10.0
    assert asked(pacer, "TSLA", "same", 12.0) == 25.0
    times = [asked(pacer, "NVDA", n, 30.0) for n in range(6)]
    assert times == [30.0] * 5 + [32.0]


def bars_asked(pacer: BarPacer, symbol: str, now: float) -> float:
    """When the request for bars goes out."""
    at = now + pacer.wait_s(symbol, now)
    pacer.asked(symbol, at)
    return at


def test_real_time_bars_are_held_to_60_new_requests_in_ten_minutes() -> None:
    pacer = BarPacer()
    times = [bars_asked(pacer, f"S{n}", float(n)) for n in range(62)]
    assert times[:60] == [float(n) for n in range(60)]
    assert times[60:] == [600.0, 601.0]
    assert pacer.wait_s("X", 1300.0) == 0.0


def test_identical_bars_wait_15_seconds_unless_ibkr_has_ended_them() -> None:
    pacer = BarPacer()
    assert bars_asked(pacer, "TSLA", 10.0) == 10.0
    assert bars_asked(pacer, "AMD", 10.0) == 10.0
    assert bars_asked(pacer, "TSLA", 12.0) == 25.0
    pacer.ended("TSLA")
    assert pacer.wait_s("TSLA", 26.0) == 0.0


def test_a_refused_request_for_bars_does_not_count() -> None:
    pacer = BarPacer()
    for number in range(60):
        bars_asked(pacer, f"S{number}", 0.0)
    pacer.forget("S7")
    assert pacer.wait_s("S7", 1.0) == 0.0
    assert bars_asked(pacer, "S7", 1.0) == 1.0
    assert pacer.wait_s("X", 1.0) == 599.0
