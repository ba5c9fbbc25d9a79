"""Each row of the decision table, by the pure function. `_live` and `_orders` test it over a real socket."""

from pathlib import Path

import pytest
from broker_cases import (
    ENTRY_FILL,
    answer,
    decided,
    decisions,
    execution,
    held,
    holding,
    order,
    problems_of,
    working_stop,
)
from msgspec.structs import replace
from state_cases import DATE, EXIT, STOP, TRADE, at, intended, opened, plain, run, state_after

from state.domain import events as ev
from state.domain.model import Side, TraderState
from trader.broker.port import BrokerExecution, BrokerOrder
from trader.core.orders.actions import CancelOrder, ModifyStop, PlaceStop
from trader.core.reconciliation.adoption import acceptance
from trader.core.reconciliation.draft import Draft, copied

CLIENT = 2001
SECOND_STOP = "ps60-TSLA-L-S1-0h4kq9x2mz.0h4kq9xzzz"
OTHERS_ENTRY = "ps60-TSLA-L-E1-0h4bbbbbbb"
OLD_STOP = "ps60-TSLA-L-S1-0h4aaaaaaa.0h4aaaaaab"
EXIT_SENT = intended(EXIT, "exit", 50, order_id=3)


def entering(quantity: int = 200, side: Side = "LONG") -> TraderState:
    """An entry and its stop are durable; IBKR has not answered."""
    return state_after(
        intended(quantity=quantity, side=side), intended(STOP, "stop", quantity, side=side, order_id=2)
    )


def test_row_matched() -> None:
    state = holding()
    plan, after = decided(state, answer(held(100), open_orders=[working_stop()], executions=[ENTRY_FILL]))
    assert (decisions(plan), plan.actions, plan.events, plan.conflicts) == (["matched"], [], [], [])
    assert plan.complete
    assert plain(after) == plain(state)


def test_row_partial_by_own_executions() -> None:
    seen = answer(
        held(50),
        open_orders=[working_stop(50)],
        executions=[ENTRY_FILL, execution("b.01", EXIT, "SLD", 50, 102.0, 30, commission=0.5)],
    )
    plan, after = decided(holding(EXIT_SENT), seen)
    position = after.positions["TSLA"]
    assert decisions(plan) == ["partial_taken"]
    assert (position.held, position.remaining, position.shares) == (50, 0.5, 100)
    (partial,) = position.partials_taken
    assert (partial.price, partial.time, partial.reason, partial.shares) == (102.0, at(30), "partial_1r", 50)
    assert after.daily_pnl == pytest.approx(50 * 2.0 - 0.5)
    assert (plan.actions, plan.uncertain) == ([], set())


def test_row_partial_by_own_executions_resizes_a_stop_that_is_still_whole() -> None:
    sold = execution("b.01", EXIT, "SLD", 50, 102.0, 30)
    seen = answer(held(50), open_orders=[working_stop(100)], executions=[ENTRY_FILL, sold])
    plan, after = decided(holding(EXIT_SENT), seen)
    assert plan.actions == [ModifyStop("TSLA", STOP, 2, 50, 99.0)]
    assert problems_of(after, seen), "the protection gate does not pass while the stop would sell more than is held"


def test_row_count_differs_without_evidence() -> None:
    plan, after = decided(holding(), answer(held(50), open_orders=[working_stop()], executions=[ENTRY_FILL]))
    assert decisions(plan) == ["count_corrected", "stop_corrected"]
    assert plan.rows[0].severity == "warning"
    assert (after.positions["TSLA"].held, after.positions["TSLA"].remaining) == (50, 0.5)
    assert after.daily_pnl_estimated
    assert plan.actions == [ModifyStop("TSLA", STOP, 2, 50, 99.0)]


def test_row_count_differs_without_evidence_and_the_execution_comes_later() -> None:
    """The execution replaces the estimate: price, reason and P&L change, the count does not."""
    _, after = decided(holding(), answer(held(50), open_orders=[working_stop(50)], executions=[ENTRY_FILL]))
    told_late = answer(
        held(50),
        open_orders=[working_stop(50)],
        executions=[ENTRY_FILL, execution("b.01", "", "SLD", 50, 103.0, 30, commission=0.0)],
    )
    plan, later = decided(after, told_late)
    assert decisions(plan) == ["matched"]
    assert (later.positions["TSLA"].held, later.daily_pnl_estimated) == (50, False)
    assert later.daily_pnl == pytest.approx(150.0)


def test_row_closed_by_own_stop_while_down() -> None:
    stopped = execution("b.01", STOP, "SLD", 100, 98.9, 30, commission=1.0)
    done = order(STOP, 0, filled=100, status="Filled", order_id=0, client_id=0, perm_id=9_002)
    plan, after = decided(holding(), answer(completed=[done], executions=[ENTRY_FILL, stopped]))
    assert (decisions(plan), plan.actions, plan.uncertain) == (["closed_while_down"], [], set())
    closed = after.closed[TRADE]
    assert (closed.exit_price, closed.exit_reason, closed.exit_time) == (98.9, "stop_loss_hit", at(30))
    assert after.daily_pnl == pytest.approx(-110.0 - 1.0)
    assert after.attempts_for("TSLA", "LONG", 100.0) == 1
    assert after.consecutive_losses == 1


def test_row_closed_unexplained() -> None:
    plan, after = decided(holding(), answer(open_orders=[working_stop()], executions=[ENTRY_FILL]))
    assert decisions(plan) == ["closed_unexplained", "orphan_cancelled"]
    assert plan.rows[0].severity == "warning"
    assert after.closed[TRADE].exit_reason == "unknown"
    assert after.closed[TRADE].pnl_estimated
    assert plan.actions == [CancelOrder("TSLA", STOP, 2, "it protects no position")]


def test_row_closed_manually() -> None:
    manual = execution("b.01", "", "SLD", 100, 104.0, 30, commission=0.0)
    plan, after = decided(holding(), answer(open_orders=[working_stop()], executions=[ENTRY_FILL, manual]))
    assert (decisions(plan), plan.uncertain) == (["closed_by_hand", "orphan_cancelled"], set())
    closed = after.closed[TRADE]
    assert (closed.exit_reason, closed.exit_price) == ("closed_by_hand", 104.0)
    assert after.daily_pnl == pytest.approx(400.0)
    assert plan.actions == [CancelOrder("TSLA", STOP, 2, "it protects no position")]


@pytest.mark.parametrize("evidence", [[], [execution("b.01", "", "SLD", 150, 98.0, 30, commission=0.0)]])
def test_row_reversal_is_a_conflict(evidence: list[BrokerExecution]) -> None:
    """With or without evidence: the symbol is halted, the stop that would enlarge the short is cancelled."""
    fills = [ENTRY_FILL, *evidence]
    plan, after = decided(holding(), answer(held(-50), open_orders=[working_stop()], executions=fills))
    assert (decisions(plan)[0], plan.conflicts, plan.rows[0].severity) == ("conflict", ["TSLA"], "conflict")
    assert "TSLA" in after.halted
    (action,) = plan.actions
    assert isinstance(action, CancelOrder)
    assert action.order_ref == STOP
    accepted = Draft(copied(after), at(61))
    for event in acceptance(after, "TSLA", held(-50, 98.0), None, at(61)):
        accepted.record(event)
    position = accepted.state.positions["TSLA"]
    assert (position.side, position.held, position.estimated, position.entry_price) == ("SHORT", 50, True, 98.0)
    assert accepted.state.halted == {}
    again, _ = decided(accepted.state, answer(held(-50, 98.0), executions=fills))
    assert again.conflicts == []
    assert again.actions == [PlaceStop("TSLA", "BUY", 50, position.stop_price)]


def test_row_entry_adopted_in_full_from_intent() -> None:
    seen = answer(
        held(200),
        open_orders=[working_stop(200)],
        executions=[execution("a.01", TRADE, "BOT", 200, 100.2, 10, commission=1.0)],
    )
    plan, after = decided(entering(), seen)
    position = after.positions["TSLA"]
    assert (decisions(plan), plan.actions) == (["adopted"], [])
    assert (position.held, position.entry_price, position.pivot, position.estimated) == (200, 100.2, 100.0, False)
    assert (position.target1, position.target2, position.target3) == (101.0, 102.0, 103.0)
    assert (position.stop_price, position.stop_ref) == (99.0, STOP)
    assert after.attempts_for("TSLA", "LONG", 100.0) == 1
    assert problems_of(after, seen) == []


def test_row_entry_adopted_with_every_file_lost() -> None:
    """The orderRefs at IBKR give the trade, the scanner its pivot and targets."""
    seen = answer(held(100), open_orders=[working_stop()], executions=[ENTRY_FILL])
    plan, after = decided(state_after(), seen)
    position = after.positions["TSLA"]
    assert (decisions(plan), plan.actions) == (["adopted"], [])
    assert (position.trade_id, position.held, position.stop_ref, position.stop_price) == (TRADE, 100, STOP, 99.0)
    assert (position.pivot, position.target1, position.estimated) == (100.0, 103.0, True)
    assert after.attempts_for("TSLA", "LONG", 100.0) == 1


def test_row_foreign_is_shown_not_managed() -> None:
    plan, after = decided(state_after(), answer(held(200, 55.5), open_orders=[order("my own stop", 200)]))
    assert (decisions(plan), plan.actions) == (["foreign"], [])
    assert "adopt TSLA" in plan.rows[0].text
    assert (after.foreign["TSLA"].quantity, after.foreign["TSLA"].avg_cost) == (200, 55.5)
    assert after.positions == {}
    gone, later = decided(after, answer())
    assert (decisions(gone), later.foreign) == (["foreign_gone"], {})


def test_row_yesterdays_state_is_quoted_not_applied(tmp_path: Path) -> None:
    run(tmp_path, intended(), intended(STOP, "stop", 100, order_id=2))
    with opened(tmp_path) as manager:
        begun = manager.begin("2025-10-07", "DU1234567", "127.0.0.1:17497", at(86_400))
        assert (begun.resumed, manager.state.orders) == (False, {})
        assert begun.previous is not None
        assert (begun.previous.trading_date, list(begun.previous.orders)) == (DATE, [TRADE, STOP])
        assert begun.set_aside
        plan, after = decided(manager.state, answer(held(100)))
    assert (decisions(plan), after.positions) == (["foreign"], {})


def test_row_yesterdays_stop_stays_for_yesterdays_shares() -> None:
    """A good-till-cancelled stop of an earlier date: the position is not managed, and the stop is not cancelled."""
    plan, _ = decided(state_after(), answer(held(100), open_orders=[order(OLD_STOP)]))
    assert (decisions(plan), plan.actions) == (["foreign"], [])
    for seen in (
        answer(held(40), open_orders=[order(OLD_STOP)]),
        answer(held(-100), open_orders=[order(OLD_STOP)]),
    ):
        plan, _ = decided(state_after(), seen)
        assert [type(action) for action in plan.actions] == [CancelOrder], (
            "it would reverse or enlarge the position"
        )


@pytest.mark.parametrize(("shares", "cost"), [(200, 50.0), (300, 33.34), (50, 200.0), (10, 1000.0)])
def test_row_split_suspected(shares: int, cost: float) -> None:
    plan, after = decided(
        holding(), answer(held(shares, cost), open_orders=[working_stop()], executions=[ENTRY_FILL])
    )
    assert (decisions(plan), plan.actions) == (["split_suspected"], [])
    assert "TSLA" in after.halted
    assert after.positions["TSLA"].held == 100, "the count changes only once the operator has decided"


def test_row_no_split_where_the_cost_basis_changed() -> None:
    plan, after = decided(
        holding(), answer(held(200, 100.0), open_orders=[working_stop()], executions=[ENTRY_FILL])
    )
    assert decisions(plan) == ["count_corrected", "stop_corrected"]
    assert after.positions["TSLA"].held == 200


def test_row_entry_still_working() -> None:
    entry = order(TRADE, 200, action="BUY", stop=None, status="Submitted", order_id=1)
    plan, after = decided(entering(), answer(open_orders=[entry, working_stop(200)]))
    assert (decisions(plan), plan.actions) == (["entry_working"], [])
    assert (after.orders[TRADE].status, after.orders[TRADE].perm_id) == ("working", entry.perm_id)


def test_row_entry_never_sent() -> None:
    plan, after = decided(entering(), answer())
    assert decisions(plan) == ["entry_not_sent"]
    assert {order.status for order in after.orders.values()} == {"not_sent"}
    assert (plan.actions, after.positions, after.attempts) == ([], {}, [])


def test_row_entry_never_sent_is_not_concluded_while_it_is_on_its_way() -> None:
    plan, after = decided(entering(), answer(), in_flight={TRADE, STOP})
    assert (plan.events, after.orders[TRADE].status) == ([], "intended")


def test_row_stop_missing() -> None:
    seen = answer(held(100), executions=[ENTRY_FILL])
    plan, after = decided(holding(), seen)
    assert decisions(plan) == ["matched", "stop_missing"]
    assert plan.actions == [PlaceStop("TSLA", "SELL", 100, 99.0)]
    assert [problem.symbol for problem in problems_of(after, seen)] == ["TSLA"]


def test_row_two_stops() -> None:
    stops = [order(SECOND_STOP, order_id=7, stop=98.0), working_stop()]
    plan, _ = decided(holding(), answer(held(100), open_orders=stops, executions=[ENTRY_FILL]))
    assert plan.actions == [CancelOrder("TSLA", SECOND_STOP, 7, "a second stop for the same shares")]


@pytest.mark.parametrize("wrong", [working_stop(150), working_stop(60), working_stop(100, price=95.0)])
def test_row_stop_of_the_wrong_size_or_price(wrong: BrokerOrder) -> None:
    plan, _ = decided(holding(), answer(held(100), open_orders=[wrong], executions=[ENTRY_FILL]))
    assert (decisions(plan), plan.actions) == (
        ["matched", "stop_corrected"],
        [ModifyStop("TSLA", STOP, 2, 100, 99.0)],
    )


def test_row_stop_that_filled_in_part_keeps_what_it_filled_in_its_size() -> None:
    """IBKR's total quantity includes what filled: 40 of 100 filled, 60 held, and the order's size is 100."""
    fills = [ENTRY_FILL, execution("b.01", STOP, "SLD", 40, 99.0, 30)]
    plan, after = decided(holding(), answer(held(60), open_orders=[working_stop(100, filled=40)], executions=fills))
    assert (decisions(plan), plan.actions) == (["partial_taken"], [])
    assert after.positions["TSLA"].held == 60


def test_row_stop_on_the_wrong_side() -> None:
    wrong = order(STOP, action="BUY")
    plan, _ = decided(holding(), answer(held(100), open_orders=[wrong], executions=[ENTRY_FILL]))
    assert plan.actions == [
        CancelOrder("TSLA", STOP, 2, "it is on the wrong side of the position"),
        PlaceStop("TSLA", "SELL", 100, 99.0),
    ]


def test_row_own_order_without_position() -> None:
    closed = holding(
        ev.ExecutionSeen(
            time=at(20),
            exec_id="b.01",
            order_ref="",
            symbol="TSLA",
            con_id=1,
            side="SLD",
            shares=100,
            price=101.0,
            executed_at=at(20),
            trade_id=TRADE,
        )
    )
    fills = [ENTRY_FILL, execution("b.01", "", "SLD", 100, 101.0, 20)]
    left = [working_stop(), order("someone else's", order_id=5), order(SECOND_STOP, order_id=6, client_id=7)]
    plan, _ = decided(closed, answer(open_orders=left, executions=fills))
    assert plan.actions == [CancelOrder("TSLA", STOP, 2, "it protects no position")], (
        "own orders only, under the own client id"
    )
    assert "other_trader" in decisions(plan)
    plan, _ = decided(closed, answer(held(100), open_orders=[working_stop()], executions=fills))
    assert plan.actions == [CancelOrder("TSLA", STOP, 2, "it protects no position")], "it would sell foreign shares"


def test_row_own_orders_live_under_a_former_client_id() -> None:
    stop = order(STOP, client_id=7)
    plan, after = decided(holding(), answer(held(100), open_orders=[stop], executions=[ENTRY_FILL]))
    assert (decisions(plan), plan.former_client_ids) == (["former_client_id"], [7])
    assert (plan.actions, plan.events, plain(after)) == ([], [], plain(holding()))


def test_row_shares_and_orders_of_another_trader() -> None:
    """They are shown, and neither taken over nor counted as own shares."""
    fill = replace(ENTRY_FILL, client_id=7)
    theirs = [order(STOP, client_id=7)]
    plan, after = decided(state_after(), answer(held(100), open_orders=theirs, executions=[fill]))
    assert (decisions(plan), plan.actions) == (["foreign", "other_trader"], [])
    assert (after.positions, after.orders, after.foreign["TSLA"].quantity) == ({}, {}, 100)
    other = replace(fill, exec_id="c.01", order_ref=OTHERS_ENTRY)
    seen = answer(held(200), open_orders=[working_stop()], executions=[ENTRY_FILL, other])
    plan, after = decided(holding(), seen)
    assert (decisions(plan), plan.actions, after.positions["TSLA"].held) == (["matched"], [], 100)


def test_row_own_entry_without_its_stop_is_cancelled() -> None:
    lone = order(TRADE, 200, action="BUY", stop=None, status="Submitted", order_id=1)
    plan, _ = decided(entering(), answer(open_orders=[lone]))
    assert plan.actions == [CancelOrder("TSLA", TRADE, 1, "an entry without its stop")]


@pytest.mark.parametrize("state", [holding(), entering(), state_after()])
@pytest.mark.parametrize("missing", ["positions", "executions"])
def test_row_incomplete_answer(state: TraderState, missing: str) -> None:
    """No share count is compared, and no order is concluded to be gone."""
    lost = replace(answer(open_orders=[working_stop()], executions=[]), **{missing: None})
    known = replace(lost, open_orders=None) if missing == "executions" else replace(lost, executions=())
    plan, after = decided(state, replace(known, open_orders=None))
    assert (plan.complete, plan.events, plan.actions) == (False, [], [])
    assert {row.decision for row in plan.rows} <= {"unknown", "entry_working"}
    assert plain(after) == plain(state)
    if state.positions:
        assert "100 shares kept" in plan.rows[0].text


def test_row_a_missing_stop_is_placed_without_an_answer_about_positions() -> None:
    """A position needs its own executions and its own stop (invariant 17), and no share count."""
    plan, after = decided(holding(), replace(answer(executions=[ENTRY_FILL]), positions=None))
    assert plan.actions == [PlaceStop("TSLA", "SELL", 100, 99.0)]
    assert after.positions["TSLA"].held == 100


def test_row_without_completed_orders_an_absent_order_is_gone_when_it_was_absent_before() -> None:
    seen = replace(answer(held(100), executions=[ENTRY_FILL]), completed_orders=None)
    plan, after = decided(holding(), seen, absent=lambda _: False)
    assert (plan.actions, after.orders[STOP].status) == ([], "working")
    plan, after = decided(holding(), seen)
    assert (plan.actions, after.orders[STOP].status) == ([PlaceStop("TSLA", "SELL", 100, 99.0)], "cancelled")


def test_i16_a_young_execution_outranks_an_older_share_count() -> None:
    """IBKR's positions may lag behind its executions: nothing is dropped, resized or cancelled."""
    seen = answer(open_orders=[working_stop()], executions=[ENTRY_FILL])
    plan, after = decided(holding(), seen, young=frozenset({"TSLA"}))
    assert (decisions(plan), plan.actions, plan.unsettled) == (["count_waits"], [], {"TSLA"})
    assert after.positions["TSLA"].held == 100
    plan, after = decided(holding(), seen)
    assert (decisions(plan), after.positions) == (["closed_unexplained", "orphan_cancelled"], {})


def test_i16_an_unexplained_count_has_to_be_seen_twice() -> None:
    seen = answer(held(50), open_orders=[working_stop()], executions=[ENTRY_FILL])
    plan, after = decided(holding(), seen, confirmed=lambda _: False)
    assert (plan.uncertain, plan.actions, after.positions["TSLA"].held) == ({"TSLA"}, [], 100)
