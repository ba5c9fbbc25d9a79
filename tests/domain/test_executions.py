"""Position accounting: shares, averages, P&L and exits from executions in any order; orders and their refusals."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from state_cases import (
    ACCOUNT,
    DATE,
    EXIT,
    GATEWAY,
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
    trade,
)

from state.domain import events as ev
from state.domain.executions import is_new_execution, split_exec_id, trade_of_manual_execution
from state.domain.invariants import check_state
from state.domain.model import OrderReason, Position, Side, TraderState
from state.errors import InvariantError


def entered(shares: int = 100, price: float = 100.0) -> TraderState:
    """LONG in TSLA by one execution."""
    return state_after(*bracket(shares), executed("a.01", TRADE, "BOT", shares, price, 10))


def test_an_entry_fill_opens_the_position_that_its_intent_planned() -> None:
    state = entered()
    position = state.positions["TSLA"]
    assert (position.side, position.held, position.shares, position.quantity) == ("LONG", 100, 100, 100)
    assert (position.entry_price, position.entry_time, position.pivot) == (100.0, at(10), 100.0)
    assert (position.target1, position.stop_price, position.stop_ref) == (101.0, 99.0, STOP)
    assert state.attempts_for("TSLA", "LONG", 100.0) == 1
    assert state.orders[TRADE].status == "filled"
    stop = state.protective_stop(position)
    assert stop is not None
    assert stop.order_ref == STOP


def test_f17_partial_fills_are_all_that_is_held() -> None:
    state = state_after(*bracket(100), executed("a.01", TRADE, "BOT", 30, 100.0, 10))
    assert state.positions["TSLA"].held == 30
    assert (state.orders[TRADE].filled, state.orders[TRADE].pending) == (30, 70)
    apply_events(state, executed("b.01", TRADE, "BOT", 70, 101.0, 11))
    assert state.positions["TSLA"].held == 100
    assert state.positions["TSLA"].entry_price == pytest.approx(100.7)
    assert state.attempts_for("TSLA", "LONG", 100.0) == 1


def test_a_partial_keeps_the_position_and_the_last_closing_is_its_exit() -> None:
    state = entered()
    apply_events(state, executed("b.01", EXIT, "SLD", 50, 102.0, 20))
    position = state.positions["TSLA"]
    assert (position.held, position.remaining, position.exit_price) == (50, 0.5, None)
    taken = [(p.shares, p.price, p.reason, p.pnl) for p in position.partials_taken]
    assert taken == [(50, 102.0, "partial_1r", 100.0)]
    apply_events(state, executed("c.01", STOP, "SLD", 20, 99.0, 30), executed("d.01", STOP, "SLD", 30, 98.0, 31))
    assert "TSLA" not in state.positions
    closed = state.closed[TRADE]
    assert closed.exit_price == pytest.approx(98.4)
    assert (closed.exit_time, closed.exit_reason) == (at(31), "stop_loss_hit")
    assert [p.reason for p in closed.partials_taken] == ["partial_1r"]
    assert closed.realized_pnl == pytest.approx(100 - 20 - 60)


def test_p_and_l_is_as_ibkr_counts_it() -> None:
    """Average cost with commissions on both sides: realizedPNL of the commission reports adds up to it."""
    state = state_after(
        *bracket(200),
        executed("a.01", TRADE, "BOT", 100, 100.0, 10),
        executed("b.01", TRADE, "BOT", 100, 102.0, 11),
        executed("c.01", EXIT, "SLD", 50, 103.0, 20),
    )
    assert state.daily_pnl == pytest.approx(50 * (103 - 101))
    apply_events(state, commission("a.01", 1.0), commission("b.01", 1.0), commission("c.01", 0.5))
    # average cost 101.01 with the two entry commissions; 50 x (103 - 101.01) less the exit's own
    assert state.daily_pnl == pytest.approx(50 * (103 - 101.01) - 0.5)
    assert state.positions["TSLA"].commissions == pytest.approx(2.5)


def test_a_short_is_counted_with_the_signs_turned() -> None:
    ref = "ps60-TSLA-S-E1-0h4kq9x2mz"
    state = state_after(
        intended(ref, trade=ref, side="SHORT"),
        executed("a.01", ref, "SLD", 100, 100.0, 10),
    )
    assert (state.positions["TSLA"].quantity, state.positions["TSLA"].held) == (-100, 100)
    apply_events(state, executed("b.01", "", "BOT", 40, 98.0, 20, trade=ref))
    assert state.daily_pnl == pytest.approx(80.0)
    assert state.positions["TSLA"].partials_taken[0].reason == "closed_by_hand"


def test_i13_the_same_execution_again_changes_nothing() -> None:
    state = entered()
    before = state.positions["TSLA"].held, state.daily_pnl, state.orders[TRADE].filled
    apply_events(state, *[executed("a.01", TRADE, "BOT", 100, 100.0, 10)] * 3)
    assert (state.positions["TSLA"].held, state.daily_pnl, state.orders[TRADE].filled) == before
    assert not is_new_execution(state, "a.01")
    assert is_new_execution(state, "a.02")


def test_p12_a_correction_takes_the_place_of_what_it_corrects() -> None:
    state = entered()
    apply_events(state, executed("a.02", TRADE, "BOT", 90, 101.0, 10))
    assert (state.positions["TSLA"].held, state.positions["TSLA"].entry_price) == (90, 101.0)
    apply_events(state, executed("a.03", TRADE, "BOT", 95, 101.0, 10))
    apply_events(
        state, executed("a.02", TRADE, "BOT", 90, 101.0, 10), executed("a.01", TRADE, "BOT", 100, 100.0, 10)
    )
    assert state.positions["TSLA"].held == 95
    assert state.orders[TRADE].filled == 95
    assert list(state.executions) == ["a"]


def test_revisions_are_numbers_not_text() -> None:
    state = state_after(*bracket(), executed("a.9", TRADE, "BOT", 100, 100.0, 10))
    apply_events(
        state, executed("a.10", TRADE, "BOT", 90, 100.0, 10), executed("a.9", TRADE, "BOT", 100, 100.0, 10)
    )
    assert state.positions["TSLA"].held == 90


def test_a_correction_of_a_closed_trade_corrects_its_p_and_l() -> None:
    state = entered()
    apply_events(state, executed("b.01", STOP, "SLD", 100, 99.0, 20))
    assert state.daily_pnl == pytest.approx(-100)
    apply_events(state, executed("b.02", STOP, "SLD", 100, 99.5, 20))
    assert state.daily_pnl == pytest.approx(-50)
    assert state.closed[TRADE].exit_price == 99.5
    apply_events(state, executed("b.03", STOP, "SLD", 60, 99.5, 20))
    assert state.positions["TSLA"].held == 40
    assert TRADE not in state.closed


def test_a_late_commission_joins_and_an_older_one_does_not_replace_it() -> None:
    state = entered()
    apply_events(state, executed("a.02", TRADE, "BOT", 100, 100.0, 10), commission("a.02", 1.2))
    apply_events(state, commission("a.01", 1.0), commission("nobody.01", 7.0))
    assert state.positions["TSLA"].commissions == pytest.approx(1.2)


def test_ids_without_a_revision_are_whole() -> None:
    assert split_exec_id("0000e0d5.6543.01.02") == ("0000e0d5.6543.01", "02")
    assert split_exec_id("single") == ("single", "")


def test_f15_a_sale_beyond_what_is_held_is_a_reversal_with_its_true_p_and_l() -> None:
    state = entered()
    apply_events(state, executed("b.01", EXIT, "SLD", 50, 101.0, 20), executed("c.01", STOP, "SLD", 100, 99.0, 21))
    reversed_ = state.closed[TRADE]
    assert (reversed_.held, reversed_.oversold) == (0, 50)
    assert reversed_.realized_pnl == pytest.approx(50 * 1 - 50 * 1)
    assert trade_of_manual_execution(state, "TSLA", at(30)) == TRADE
    apply_events(state, executed("d.01", "", "BOT", 50, 98.0, 30, trade=TRADE))
    covered = trade(state)
    assert covered.oversold == 0
    assert covered.realized_pnl == pytest.approx(50 - 50 + 50 * (99 - 98))


def test_a_manual_sell_beside_a_stop_that_sold_all_reverses_the_position_however_late_it_comes() -> None:
    state = entered()
    apply_events(state, executed("b.01", STOP, "SLD", 100, 99.0, 21))
    assert trade_of_manual_execution(state, "TSLA", at(22)) == "", "sold after the trade had ended"
    assert trade_of_manual_execution(state, "TSLA", at(9)) == "", "before the entry"
    assert trade_of_manual_execution(state, "TSLA", at(21)) == TRADE
    apply_events(state, executed("h.01", "", "SLD", 3, 99.0, 21, trade=TRADE))
    reversed_ = state.closed[TRADE]
    assert (reversed_.held, reversed_.oversold, state.positions) == (0, 3, {})
    assert reversed_.realized_pnl == pytest.approx(-100)


def test_an_entry_and_its_stop_within_one_second_may_arrive_in_any_order() -> None:
    state = state_after(*bracket(), executed("b.01", STOP, "SLD", 100, 99.0, 10))
    apply_events(state, executed("a.01", TRADE, "BOT", 100, 100.0, 10))
    assert not state.positions
    assert state.closed[TRADE].oversold == 0
    assert state.daily_pnl == pytest.approx(-100)
    assert state.closed[TRADE].exit_reason == "stop_loss_hit"
    assert state.attempts_for("TSLA", "LONG", 100.0) == 1


def test_a_late_entry_fill_opens_the_closed_trade_again() -> None:
    state = state_after(*bracket(), executed("a.01", TRADE, "BOT", 40, 100.0, 10))
    apply_events(state, executed("b.01", STOP, "SLD", 40, 99.0, 20))
    assert state.closed[TRADE].exit_reason == "stop_loss_hit"
    apply_events(state, executed("c.01", TRADE, "BOT", 60, 100.5, 21))
    reopened = state.positions["TSLA"]
    assert (reopened.held, reopened.exit_price, reopened.exit_reason) == (60, None, "")
    assert TRADE not in state.closed
    assert state.attempts_for("TSLA", "LONG", 100.0) == 1


def test_a_late_execution_replaces_the_estimate() -> None:
    state = entered()
    apply_events(state, adjusted(40, 100.0, 100))
    assert (state.positions["TSLA"].held, state.daily_pnl_estimated) == (40, True)
    apply_events(state, executed("b.01", EXIT, "SLD", 50, 102.0, 90))
    assert state.positions["TSLA"].held == 40
    assert state.daily_pnl_estimated
    apply_events(state, executed("c.01", STOP, "SLD", 10, 101.0, 95))
    assert (state.positions["TSLA"].held, state.daily_pnl_estimated) == (40, False)
    assert state.daily_pnl == pytest.approx(50 * 2 + 10 * 1)
    assert not any(e.estimated for e in state.executions.values())


def test_an_execution_after_the_estimate_does_not_replace_it() -> None:
    state = entered()
    apply_events(state, adjusted(50, 100.0, 100), executed("b.01", STOP, "SLD", 50, 99.0, 200))
    assert not state.positions
    assert state.closed[TRADE].held == 0
    assert state.daily_pnl_estimated  # the price of the first fifty is still an estimate


def test_a_late_manual_execution_replaces_the_estimated_end_of_a_trade() -> None:
    state = entered()
    apply_events(state, adjusted(0, 100.0, 100))
    assert state.closed[TRADE].exit_reason == "unknown"
    assert trade_of_manual_execution(state, "TSLA", at(80)) == TRADE
    assert trade_of_manual_execution(state, "TSLA", at(5)) == ""
    assert trade_of_manual_execution(state, "TSLA", at(500)) == ""
    apply_events(state, executed("b.01", "", "SLD", 100, 103.0, 80, trade=TRADE))
    assert state.daily_pnl == pytest.approx(300)
    assert (state.closed[TRADE].exit_reason, state.daily_pnl_estimated) == ("closed_by_hand", False)


def test_a_larger_count_adds_an_entry() -> None:
    state = apply_events(entered(), adjusted(150, 100.0, 100))
    assert (state.positions["TSLA"].held, state.positions["TSLA"].shares) == (150, 150)
    check_state(state)


def test_an_adoption_enters_at_ibkrs_average_cost() -> None:
    source = trade(entered())
    state = state_after(ev.ForeignSeen(time=at(1), symbol="TSLA", con_id=1, quantity=100, avg_cost=250.0))
    source.trade_id, source.entry_price, source.entry_time = "adopted-TSLA", 250.0, at(40)
    apply_events(state, ev.PositionAdopted(time=at(40), position=source))
    adopted = state.positions["TSLA"]
    assert (adopted.held, adopted.entry_price, adopted.entry_time, adopted.commissions) == (100, 250.0, at(40), 0.0)
    assert not state.foreign
    assert not state.daily_pnl_estimated
    assert trade_of_manual_execution(state, "TSLA", at(39)) == ""
    check_state(state)
    with pytest.raises(InvariantError, match="held already"):
        apply_events(state, ev.PositionAdopted(time=at(41), position=source))


def test_accepting_a_reversal_ends_the_trade_and_adopts_the_other_side() -> None:
    state = apply_events(entered(), executed("b.01", STOP, "SLD", 150, 99.0, 20))
    other = Position(
        trade_id="adopted-TSLA",
        symbol="TSLA",
        con_id=1,
        side="SHORT",
        entry_price=99.0,
        entry_time=at(60),
        shares=50,
        held=50,
        pivot=100.0,
        target1=98.0,
        target2=97.0,
        target3=96.0,
        stop_price=101.0,
        initial_stop=101.0,
    )
    apply_events(state, ev.PositionAdopted(time=at(60), position=other))
    assert (state.positions["TSLA"].quantity, state.closed[TRADE].oversold) == (-50, 0)
    check_state(state)


def test_an_execution_of_an_unknown_order_is_ignored() -> None:
    state = state_after(executed("a.01", "somebody-else", "BOT", 100, 100.0, 10))
    assert not state.executions
    assert not state.positions


def test_two_trades_of_one_symbol_at_once_halt_it() -> None:
    second = "ps60-TSLA-L-E2-0h4kq9x2zz"
    state = state_after(*bracket(), executed("a.01", TRADE, "BOT", 40, 100.0, 10))
    apply_events(state, executed("b.01", STOP, "SLD", 40, 99.0, 20))
    apply_events(state, intended(second, trade=second), executed("c.01", second, "BOT", 10, 100.0, 30))
    apply_events(state, executed("d.01", TRADE, "BOT", 60, 100.0, 31))
    assert "TSLA" in state.halted
    assert state.halt_causes == {"TSLA": "two_trades"}
    check_state(state)
    assert (state.positions["TSLA"].held, state.closed[TRADE].held) == (10, 60)


@pytest.mark.parametrize(("quantity", "price"), [(0, 99.0), (100, None), (100, 0.0)])
def test_a_stop_without_size_or_price_is_refused(quantity: int, price: float | None) -> None:
    order = intended(STOP, "stop", 1).order
    order.quantity, order.stop_price = quantity, price
    with pytest.raises(InvariantError, match=STOP):
        state_after(ev.OrderIntended(time=at(0), order=order))


def test_a_stop_changed_to_nothing_is_refused() -> None:
    state = entered()
    with pytest.raises(InvariantError, match="0 shares"):
        apply_events(
            state, ev.OrderModifyIntended(time=at(1), order_ref=STOP, quantity=0, stop_price=99.0, reason="flatten")
        )
    assert state.orders[STOP].quantity == 100


def test_a_refusal_lasts_until_the_order_works_again() -> None:
    refused = ev.OrderChanged(
        time=at(1), order_ref=TRADE, status="rejected", text="201: margin", refusal="message", refusal_code=201
    )
    inactive = ev.OrderChanged(
        time=at(2), order_ref=TRADE, status="rejected", broker_status="Inactive", refusal="inactive"
    )
    order = apply_events(state_after(*bracket()), refused).orders[TRADE]
    assert (order.refusal, order.refusal_code) == ("message", 201)
    state = apply_events(state_after(*bracket()), refused, inactive)
    assert (state.orders[TRADE].refusal, state.orders[TRADE].refusal_code) == ("inactive", 201)
    order = apply_events(state, ev.OrderChanged(time=at(3), order_ref=TRADE, status="working")).orders[TRADE]
    assert (order.status, order.refusal, order.refusal_code) == ("working", None, None)


def test_a_sent_cancel_is_remembered_and_the_order_stays_live() -> None:
    state = apply_events(
        state_after(*bracket()), ev.OrderCancelSent(time=at(31), order_ref=TRADE, reason="timeout")
    )
    order = state.orders[TRADE]
    assert (order.is_live, order.cancel_reason, order.text) == (True, "timeout", "timeout: cancel sent")
    with pytest.raises(InvariantError, match="no intent"):
        apply_events(state, ev.OrderCancelSent(time=at(32), order_ref="unknown", reason="flatten"))


def test_a_stop_is_closing_until_it_is_changed_otherwise() -> None:
    def changed(reason: OrderReason, *, closing: bool) -> ev.OrderModifyIntended:
        return ev.OrderModifyIntended(
            time=at(1), order_ref=STOP, quantity=100, stop_price=99.0, reason=reason, closing=closing
        )

    state = apply_events(entered(), changed("flatten", closing=True))
    assert (state.orders[STOP].closing, state.orders[STOP].reason) == (True, "flatten")
    apply_events(state, changed("trailing_stop_hit", closing=False))
    assert not state.orders[STOP].closing


def test_the_loss_of_the_connection_lasts_over_a_restart_until_it_is_ready() -> None:
    def connection(seconds: float, **values: Any) -> ev.ConnectionChanged:
        return ev.ConnectionChanged(time=at(seconds), entries_open=False, reason="", **values)

    state = state_after(connection(1, connected=False, ready=False, lost_at=at(1)))
    ended = ev.SessionEnded(time=at(2), session_id="s1", status="crashed")
    started = ev.SessionStarted(
        time=at(3), session_id="s2", trading_date=DATE, account=ACCOUNT, gateway=GATEWAY, resumed_from="s1"
    )
    assert apply_events(state, ended, started).connection.lost_at == at(1)
    apply_events(state, connection(4, connected=True, ready=False, lost_at=at(1)))
    assert (state.connection.lost_at, state.connection.since) == (at(1), at(4))
    apply_events(state, connection(5, connected=True, ready=False, lost_at=at(1)))
    assert state.connection.since == at(4), "nothing of what it dates has changed"
    assert apply_events(state, connection(6, connected=True, ready=True)).connection.lost_at is None


@st.composite
def days(draw: st.DrawFn) -> tuple[Side, list[ev.ExecutionSeen], list[ev.CommissionSeen]]:
    """One trade: entry fills, then closings of it, some corrected, in seconds that may coincide."""
    side: Side = "LONG" if draw(st.booleans()) else "SHORT"
    opening: Bought = "BOT" if side == "LONG" else "SLD"
    closing: Bought = "SLD" if side == "LONG" else "BOT"
    prices = st.integers(1, 50_000).map(lambda cents: cents / 100)
    seconds = st.integers(0, 6)
    lots = draw(st.lists(st.integers(1, 60), min_size=1, max_size=4))
    left = sum(lots)
    seen: list[tuple[str, str, Bought, int, int]] = []
    for number, shares in enumerate(lots):
        seen.append((f"e{number}", TRADE, opening, shares, draw(seconds)))
    while left and draw(st.booleans()):
        shares = draw(st.integers(1, left))
        left -= shares
        seen.append((f"x{left}", draw(st.sampled_from([STOP, EXIT])), closing, shares, draw(seconds) + 6))
    if draw(st.booleans()) and left:
        seen.append(("last", STOP, closing, left, 20))
    facts, costs = [], []
    for base, ref, bought, shares, second in seen:
        revisions = draw(st.integers(1, 3))
        for revision in range(1, revisions + 1):
            count = shares if revision == revisions else draw(st.integers(1, 60))
            facts.append(executed(f"{base}.{revision:02d}", ref, bought, count, draw(prices), second))
        costs.append(commission(f"{base}.{revisions:02d}", draw(st.integers(0, 500)) / 100))
    return side, facts, costs


def _accounting(state: TraderState) -> tuple[object, ...]:
    filled = {ref: order.filled for ref, order in state.orders.items()}
    return state.positions, state.closed, state.executions, state.attempts, filled, state.daily_pnl


@settings(deadline=None, max_examples=120)
@given(days(), st.data())
def test_i13_any_order_and_any_repetition_give_the_same_positions(
    day: tuple[Side, list[ev.ExecutionSeen], list[ev.CommissionSeen]], data: st.DataObject
) -> None:
    side, facts, costs = day
    orders = bracket(240, side)
    expected = state_after(*orders, *facts, *costs)
    repeated = [*facts, *data.draw(st.lists(st.sampled_from(facts), max_size=5))]
    shuffled = data.draw(st.permutations(repeated))
    late = data.draw(st.permutations([*costs, *costs[:2]]))
    state = state_after(*orders, *shuffled, *late)
    assert _accounting(state) == _accounting(expected)
    check_state(state)


@settings(deadline=None, max_examples=120)
@given(days())
def test_f18_shares_add_up_and_a_flat_days_p_and_l_is_its_cash(
    day: tuple[Side, list[ev.ExecutionSeen], list[ev.CommissionSeen]],
) -> None:
    side, facts, costs = day
    state = state_after(*bracket(240, side), *facts, *costs)
    final = {fact.exec_id.rpartition(".")[0]: fact for fact in facts}
    signed = {base: fact.shares if fact.side == "BOT" else -fact.shares for base, fact in final.items()}
    result = trade(state)
    assert result.quantity == sum(signed.values())
    closed = sum(p.shares for p in result.partials_taken)
    if result.held == 0:
        cash = -sum(signed[base] * fact.price for base, fact in final.items())
        assert result.realized_pnl == pytest.approx(cash - sum(c.commission for c in costs), abs=1e-6)
    else:
        assert result.held + closed == result.shares
        assert sum(p.pnl for p in result.partials_taken) == pytest.approx(result.realized_pnl, abs=1e-6)
