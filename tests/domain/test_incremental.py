"""Taking in an execution costs the same late in the day, and gives what adding up the whole day anew gives."""

import time
from collections.abc import Callable
from statistics import median
from typing import Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from state_cases import (
    STOP,
    TRADE,
    Bought,
    adjusted,
    apply_events,
    at,
    bracket,
    commission,
    executed,
    intended,
    state_after,
)

from state.domain import events as ev
from state.domain.executions import trade_of_manual_execution
from state.domain.invariants import check_state
from state.domain.model import Position, TraderState
from state.domain.pnl import rebuild

MANY = 5000
FLAT = 2.5
"""A step at n = 5,000 takes at most this many times a step at n = 10. `make bench` has the exact figure."""


def from_file(state: TraderState) -> TraderState:
    """The state as a restart has it: nothing but what is in the files."""
    return msgspec.convert(msgspec.to_builtins(state), TraderState)


def trades(state: TraderState) -> dict[str, object]:
    return {position.trade_id: msgspec.to_builtins(position) for position in state.trades}


def rebuilt(state: TraderState) -> dict[str, object]:
    """Every trade, added up anew."""
    made = from_file(state)
    for position in made.trades:
        rebuild(made, position)
    return trades(made)


def answers(state: TraderState) -> tuple[object, ...]:
    """Everything that the lookup of a state is used for."""
    lookup, symbols = state.lookup, {position.symbol for position in state.trades}
    moments = [at(seconds) for seconds in range(0, 60, 5)]
    return (
        [order.order_ref for order in state.live_orders()],
        {
            ref: [found.order_ref for found in state.orders_of(order.trade_id)]
            for ref, order in state.orders.items()
        },
        {ref: (lookup.filled(ref), lookup.first_trade(ref)) for ref in state.orders},
        {(s, moment): trade_of_manual_execution(state, s, moment) for s in symbols for moment in moments},
        {symbol: [position.trade_id for position in lookup.reversed_trades(symbol)] for symbol in symbols},
        lookup.reversed_symbols(),
        state.daily_pnl,
        state.consecutive_losses,
        [position.trade_id for position in lookup.closed_by_end()],
    )


class Day:
    """A state, and the executions that were made up for it."""

    def __init__(self) -> None:
        self.state = state_after()
        self.entries: list[str] = []
        self.executions: list[ev.ExecutionSeen] = []

    def ref(self, role: str) -> str:
        entry = self.entries[-1]
        return entry if role == "entry" else entry.replace("-E1-", f"-{role[0].upper()}1-") + ".0000000000"


def enter(day: Day, data: st.DataObject) -> list[ev.Event]:
    """The orders of a new trade."""
    number = len(day.entries)
    day.entries.append(f"ps60-TSLA-L-E1-{number:010d}")
    trade, shares = day.entries[-1], data.draw(st.integers(1, 120))
    return [
        intended(trade, trade=trade, quantity=shares, order_id=3 * number + 1),
        intended(day.ref("stop"), "stop", shares, trade=trade, order_id=3 * number + 2),
        intended(day.ref("xit"), "exit", max(1, shares // 2), trade=trade, order_id=3 * number + 3),
    ]


def fill(day: Day, data: st.DataObject) -> list[ev.Event]:
    """An execution of the newest trade's entry, stop or exit, in a second that may be past."""
    role = data.draw(st.sampled_from(["entry", "entry", "stop", "xit"]))
    bought: Bought = "BOT" if role == "entry" else "SLD"
    return seen(day, data, day.ref(role) if day.entries else TRADE, bought, "")


def fill_by_hand(day: Day, data: st.DataObject) -> list[ev.Event]:
    bought: Bought = data.draw(st.sampled_from(["BOT", "SLD"]))
    trade = trade_of_manual_execution(day.state, "TSLA", at(len(day.executions)))
    return seen(day, data, "", bought, trade) if trade else []


def seen(day: Day, data: st.DataObject, ref: str, bought: Bought, trade: str) -> list[ev.Event]:
    name = f"{data.draw(st.integers(0, 9))}-{len(day.executions)}.01"  # ids do not follow the time
    second = max(0, len(day.executions) - data.draw(st.sampled_from([0, 0, 0, 1, 7])))
    shares, cents = data.draw(st.integers(1, 60)), data.draw(st.integers(9_000, 11_000))
    execution = executed(name, ref, bought, shares, cents / 100, second, trade=trade)
    cost = data.draw(st.sampled_from([None, None, 1.25]))  # IBKR's answers have it, live executions have not
    day.executions.append(msgspec.structs.replace(execution, commission=cost))
    return [day.executions[-1]]


def correct(day: Day, data: st.DataObject) -> list[ev.Event]:
    if not day.executions:
        return []
    number = data.draw(st.integers(0, len(day.executions) - 1))
    wrong = day.executions[number]
    base, _, revision = wrong.exec_id.rpartition(".")
    shares, cents = data.draw(st.sampled_from([0, wrong.shares, 17])), data.draw(st.integers(9_000, 11_000))
    right = msgspec.structs.replace(
        wrong, exec_id=f"{base}.{int(revision) + 1:02d}", shares=shares, price=cents / 100
    )
    day.executions[number] = right
    return [right]


def charge(day: Day, data: st.DataObject) -> list[ev.Event]:
    """The commission of an execution, often a late one."""
    if not day.executions:
        return []
    execution = data.draw(st.sampled_from(day.executions))
    return [commission(execution.exec_id, data.draw(st.integers(0, 500)) / 100)]


def estimate(day: Day, data: st.DataObject) -> list[ev.Event]:
    position = day.state.positions.get("TSLA")
    if position is None:
        return []
    held = data.draw(st.sampled_from([0, position.held + 5, max(0, position.held - 7)]))
    return [adjusted(held, 100.0, len(day.executions))]


def report(day: Day, data: st.DataObject) -> list[ev.Event]:
    """A status of any order: also an ended one that works again."""
    if not day.state.orders:
        return []
    status: Literal["working", "cancelled"] = data.draw(st.sampled_from(["working", "cancelled"]))
    ref = data.draw(st.sampled_from(sorted(day.state.orders)))
    return [ev.OrderChanged(time=at(0), order_ref=ref, status=status)]


def adopt(day: Day, data: st.DataObject) -> list[ev.Event]:
    if "TSLA" in day.state.positions or not day.state.trades:
        return []
    now, number = at(len(day.executions)), day.state.sequence
    values = {"trade_id": f"adopted-{number}", "entry_time": now, "shares": 30, "held": 30, "fills": []}
    values |= {"oversold": 0, "partials_taken": [], "side": data.draw(st.sampled_from(["LONG", "SHORT"]))}
    position = msgspec.convert(msgspec.to_builtins(day.state.trades[0]) | values, Position)
    return [ev.PositionAdopted(time=now, position=position)]


STEPS: dict[Callable[[Day, st.DataObject], list[ev.Event]], int] = {
    enter: 2,
    fill: 8,
    fill_by_hand: 2,
    correct: 2,
    charge: 4,
    estimate: 1,
    report: 1,
    adopt: 1,
}


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_g10_what_is_added_up_step_by_step_is_what_is_added_up_anew(data: st.DataObject) -> None:
    day = Day()
    steps = data.draw(st.lists(st.sampled_from([step for step, weight in STEPS.items() for _ in range(weight)])))
    for step in (enter, *steps):
        apply_events(day.state, *step(day, data))
        assert trades(day.state) == rebuilt(day.state)
        assert answers(day.state) == answers(from_file(day.state))
    check_state(day.state)


def test_a_restored_state_has_a_lookup_of_its_own() -> None:
    state = state_after(*bracket(), executed("a.01", TRADE, "BOT", 100, 100.0, 10))
    earlier = from_file(state)
    apply_events(state, executed("b.01", STOP, "SLD", 100, 99.0, 20))
    assert state.daily_pnl == pytest.approx(-100)
    apply_events(state, ev.StateRestored(time=at(30), state=earlier, source="checkpoint"))
    assert (state.daily_pnl, state.closed) == (0.0, {})
    apply_events(state, executed("b.01", STOP, "SLD", 100, 99.5, 20))
    assert state.daily_pnl == pytest.approx(-50)
    assert answers(state) == answers(from_file(state))


def of_one_order(number: int) -> list[ev.Event]:
    """A fill of an entry that goes on filling, with its commission."""
    name = f"{number:06d}.01"
    return [executed(name, TRADE, "BOT", 1, 100.0, number // 20), commission(name, 1.0)]


def by_hand(number: int) -> list[ev.Event]:
    """Manual trades in an own position, each sale a partial exit of its own."""
    name, bought = f"{number:06d}.01", ("BOT", "SLD")[number % 2]
    if number == 0:
        return [executed(name, TRADE, "BOT", 100, 100.0, 0)]
    return [executed(name, "", bought, 1, 100.0, number // 20, trade=TRADE), commission(name, 1.0)]  # type: ignore[arg-type]


def as_trades(number: int) -> list[ev.Event]:
    """Trade after trade: entry and stop, both filled at once."""
    entry, stop = f"ps60-TSLA-L-E1-{number:010d}", f"ps60-TSLA-L-S1-{number:010d}.0000000000"
    return [
        intended(entry, trade=entry, order_id=2 * number + 1),
        intended(stop, "stop", trade=entry, order_id=2 * number + 2),
        executed(f"{number:06d}a.01", entry, "BOT", 100, 100.0, number),
        executed(f"{number:06d}b.01", stop, "SLD", 100, 99.0 + 3 * (number % 2), number),
        commission(f"{number:06d}b.01", 1.0),
    ]


@pytest.mark.parametrize("events_of", [of_one_order, by_hand, as_trades])
def test_g10_an_execution_costs_the_same_late_in_the_day(events_of: Callable[[int], list[ev.Event]]) -> None:
    state = state_after(*bracket(MANY * 100))
    taken = []
    for number in range(MANY):
        events = events_of(number)
        began = time.perf_counter()
        apply_events(state, *events)
        assert state.daily_pnl < MANY * 300
        assert state.consecutive_losses <= 1
        assert trade_of_manual_execution(state, "TSLA", at(2 * MANY)) in ("", TRADE)
        taken.append(time.perf_counter() - began)
    assert median(taken[-200:]) <= FLAT * median(taken[10:210])
    assert trades(state) == rebuilt(state)
