"""Random days of a StateManager with crashes at every kind of moment: the loaded state is one that was live.

A crash is simulated by a copy of the folder as it is on disk at that moment, which the next start opens. Queued
events that were not flushed are lost; a write or a snapshot in progress leaves any part of itself.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from disk_faults import PowerCut, TearingDisk
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from state_cases import Bought, adjusted, at, begun, bracket, commission, executed, intended, plain, replayed

from state.domain import events as ev
from state.domain.invariants import check_state
from state.domain.model import Side, TraderState
from state.errors import InvariantError
from state.manager import StateManager
from trader.core.orders.order_ref import closing_ref, entry_ref, make_token

prices = st.integers(1, 30_000).map(lambda cents: cents / 100)
seconds = st.integers(0, 300)
shares = st.integers(1, 80)
picks = st.integers(0, 1000)


class PowerDisk(TearingDisk):
    """Works until the power is cut: in the middle of a write, or before the n-th call of a snapshot."""

    def __init__(self) -> None:
        super().__init__()
        self.calls_left: int | None = None

    def _tick(self) -> None:
        if self.calls_left is not None:
            self.calls_left -= 1
            if self.calls_left < 0:
                raise PowerCut

    def create(self, name: str, dir_fd: int) -> int:
        self._tick()
        return super().create(name, dir_fd)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        self._tick()
        return super().pwrite(fd, data, offset)

    def fsync(self, fd: int) -> None:
        self._tick()
        super().fsync(fd)

    def link(self, source: str, target: str, dir_fd: int) -> None:
        self._tick()
        super().link(source, target, dir_fd)

    def rename(self, source: str, target: str, source_fd: int, target_fd: int) -> None:
        self._tick()
        super().rename(source, target, source_fd, target_fd)


class Days(RuleBasedStateMachine):
    """The trader's events, saves, kills and restarts of one date."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="trader-state-machine-"))
        self.tokens = 0
        self.runs = 0
        self.durable = 0
        self.events: dict[int, ev.Event] = {}  # by sequence, as far as they survived
        self.states: dict[int, Any] = {}  # the live state after each of them
        self.start()

    def teardown(self) -> None:
        self.manager.close()
        shutil.rmtree(self.root)

    # starts, kills, flushes and saves

    def start(self) -> None:
        self.runs += 1
        self.logs = self.root / str(self.runs)
        self.disk = PowerDisk()
        self.manager = StateManager.open(self.logs, f"s{self.runs}", self.disk)
        if self.runs > 1:
            self.compare_with_what_was()
        begun(self.manager)
        sequence = self.manager.state.sequence
        self.events[sequence] = ev.Unpaused(time=at(0))  # in place of the session's start
        self.states[sequence] = plain(self.manager.state)
        self.flush()

    def compare_with_what_was(self) -> None:
        """i9: the loaded state is, field by field, one that was live, and no acknowledged event is missing."""
        found = self.manager.loaded
        assert found.state is not None
        assert not found.doubtful, found.notes
        assert found.damaged == []
        sequence = found.state.sequence
        assert self.durable <= sequence <= max(self.states)
        assert plain(found.state) == self.states[sequence]
        assert plain(replayed(self.logs)) == self.states[sequence]
        self.events = {number: event for number, event in self.events.items() if number <= sequence}
        self.states = {number: state for number, state in self.states.items() if number <= sequence}

    def crash(self) -> None:
        """The next run finds the files as they are now. The old descriptors no longer matter."""
        shutil.copytree(self.logs, self.root / str(self.runs + 1))
        (self.root / str(self.runs + 1)).chmod(0o700)
        self.disk.calls_left = self.disk.survives = None
        self.manager.close()
        shutil.rmtree(self.logs)
        self.start()

    @rule()
    def kill(self) -> None:
        self.crash()

    @rule(kept=st.integers(0, 2000))
    def kill_in_a_write(self, kept: int) -> None:
        self.disk.survives = lambda place: place < kept
        self.cut_flush()

    @rule(lost=st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 200)), min_size=1, max_size=4))
    def kill_in_a_write_that_reached_the_disk_in_pieces(self, lost: list[tuple[int, int]]) -> None:
        self.disk.survives = lambda place: not any(start <= place < start + size for start, size in lost)
        self.cut_flush()

    def cut_flush(self) -> None:
        if self.manager.state.sequence > self.manager.durable_sequence:
            with pytest.raises(PowerCut):
                self.manager.flush()
        self.crash()

    @rule(calls=st.integers(0, 7))
    def kill_in_a_snapshot(self, calls: int) -> None:
        self.flush()
        self.disk.calls_left = calls
        try:
            self.manager.save_blocking()
        except PowerCut:
            self.crash()
        else:
            self.disk.calls_left = None

    @rule()
    def flush(self) -> None:
        self.manager.flush()
        self.durable = self.manager.state.sequence

    @rule()
    def save(self) -> None:
        self.manager.save_blocking()
        self.durable = self.manager.state.sequence

    # what happens in the market

    def record(self, event: ev.Event) -> None:
        sequence = self.manager.record(event)
        self.events[sequence] = event
        self.states[sequence] = plain(self.manager.state)

    @property
    def state(self) -> TraderState:
        return self.manager.state

    def of_kind(self, kind: type[ev.Event]) -> list[Any]:
        return [event for event in self.events.values() if isinstance(event, kind)]

    @rule(symbol=st.sampled_from(["TSLA", "AMD"]), side=st.sampled_from(["LONG", "SHORT"]), quantity=shares)
    def intend(self, symbol: str, side: Side, quantity: int) -> None:
        self.tokens += 2
        ref = entry_ref(symbol, side, 1, make_token(self.tokens, "00"))
        stop = closing_ref(ref, "stop", symbol, side, 1, make_token(self.tokens + 1, "00"))
        self.record(intended(ref, quantity=quantity, trade=ref, side=side, symbol=symbol))
        self.record(intended(stop, "stop", quantity, trade=ref, side=side, symbol=symbol))

    def has_orders(self) -> bool:
        return bool(self.of_kind(ev.OrderIntended))

    @precondition(has_orders)
    @rule(pick=picks, count=shares, price=prices, second=seconds)
    def fill(self, pick: int, count: int, price: float, second: int) -> None:
        order = self.picked(ev.OrderIntended, pick).order
        number = 1 + max((int(e.exec_id[1:-3]) for e in self.of_kind(ev.ExecutionSeen)), default=0)
        bought: Bought = "BOT" if order.action == "BUY" else "SLD"
        self.record(executed(f"e{number}.01", order.order_ref, bought, count, price, second, symbol=order.symbol))

    def has_fills(self) -> bool:
        return bool(self.of_kind(ev.ExecutionSeen))

    def picked(self, kind: type[ev.Event], pick: int) -> Any:
        found = self.of_kind(kind)
        return found[pick % len(found)]

    @precondition(has_fills)
    @rule(pick=picks, count=shares, price=prices, revision=st.integers(1, 4))
    def correct_or_repeat(self, pick: int, count: int, price: float, revision: int) -> None:
        seen = self.picked(ev.ExecutionSeen, pick)
        again = f"{seen.exec_id[:-3]}.{revision:02d}"
        known = next((e for e in self.of_kind(ev.ExecutionSeen) if e.exec_id == again), None)
        second = (seen.executed_at - at(0)).seconds
        self.record(known or executed(again, seen.order_ref, seen.side, count, price, second, symbol=seen.symbol))

    @precondition(has_fills)
    @rule(pick=picks, cents=st.integers(0, 300))
    def commission_joins(self, pick: int, cents: int) -> None:
        self.record(commission(self.picked(ev.ExecutionSeen, pick).exec_id, cents / 100))

    @precondition(lambda self: bool(self.state.positions))
    @rule(pick=picks, held=st.integers(0, 100), price=prices, second=seconds)
    def broker_counts_differently(self, pick: int, held: int, price: float, second: int) -> None:
        symbols = sorted(self.state.positions)
        self.record(adjusted(held, price, second, symbols[pick % len(symbols)]))

    @precondition(has_orders)
    @rule(pick=picks, perm_id=st.integers(1, 3), status=st.sampled_from(["working", "cancelled", "unknown"]))
    def order_changes(self, pick: int, perm_id: int, status: Any) -> None:
        ref = self.picked(ev.OrderIntended, pick).order.order_ref
        self.record(ev.OrderAcknowledged(time=at(1), order_ref=ref, perm_id=perm_id, order_id=7))
        self.record(ev.OrderChanged(time=at(2), order_ref=ref, status=status, text="ünï\n"))

    @rule(text=st.text(st.characters(codec="utf-8"), max_size=30))
    def alert(self, text: str) -> None:
        self.record(ev.AlertRaised(time=at(3), text=text, key=text[:1]))

    # invariants

    @precondition(has_orders)
    @rule(pick=picks)
    def i5_no_reference_is_announced_twice(self, pick: int) -> None:
        with pytest.raises(InvariantError, match="announced twice"):
            self.manager.record(self.picked(ev.OrderIntended, pick))

    @invariant()
    def i13_each_execution_counts_once(self) -> None:
        newest: dict[str, ev.ExecutionSeen] = {}
        for seen in self.of_kind(ev.ExecutionSeen):
            base = seen.exec_id[:-3]
            if base not in newest or newest[base].exec_id < seen.exec_id:
                newest[base] = seen
        for ref, order in self.state.orders.items():
            assert order.filled == sum(seen.shares for seen in newest.values() if seen.order_ref == ref)
        counted = [key for trade in self.state.trades for key in trade.fills]
        assert len(counted) == len(set(counted))
        assert {key for key in counted if key in newest} == set(newest)

    @invariant()
    def the_state_could_be_saved(self) -> None:
        check_state(self.state)


TestDays = Days.TestCase
TestDays.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_the_machine_would_notice_a_lost_event() -> None:
    """The comparison fails when an acknowledged event is missing, so it does compare something."""
    days = Days()
    try:
        for order in bracket():
            days.record(order)
        days.flush()
        file = next((days.logs / "journal").rglob("segment-*.jsonl"))
        content = file.read_bytes()
        last = content.rstrip(b"\n").rfind(b"\n") + 1
        file.write_bytes(content[:last] + b"\n" * (len(content) - last))
        with pytest.raises(AssertionError):
            days.crash()
    finally:
        days.teardown()
