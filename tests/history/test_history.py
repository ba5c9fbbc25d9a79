"""A trading day from its journal: the state at any moment, orders, trades, and what is left after damage."""

from datetime import timedelta
from pathlib import Path

import pytest
from state_cases import (
    DATE,
    EXIT,
    STOP,
    TRADE,
    at,
    begun,
    bracket,
    commission,
    executed,
    opened,
    plain,
    run,
    segment,
    state_after,
    trade,
)

from state.domain import events as ev
from state.domain.events import Event
from state.domain.model import TraderState
from state.errors import StateError
from state.history.orders import OrderHistory, order_histories
from state.history.restore import differences, restore
from state.history.trades import EquityPoint, equity_curve, max_drawdown, rebuild, summarize, trades_of
from state.history.trading_day import TradingDay, last_state, read_trading_day, state_at
from state.storage.checkpoints import CheckpointStore
from state.storage.files import Folder
from state.storage.journal import Verdict


def day_of_trading() -> list[Event]:
    """A trade with a partial and a trailing stop, with every kind of event about it."""
    return [
        ev.EquityAnchored(time=at(0), equity=100_000.0),
        *bracket(),
        ev.OrderAcknowledged(time=at(1), order_ref=TRADE, perm_id=11, order_id=1),
        ev.OrderAcknowledged(time=at(1), order_ref=STOP, perm_id=12, order_id=2),
        ev.OrderChanged(time=at(1), order_ref=STOP, status="working", broker_status="PreSubmitted"),
        executed("1.01", TRADE, "BOT", 60, 100.0, 2),
        executed("2.01", TRADE, "BOT", 40, 100.1, 3),
        commission("1.01", 1.0),
        executed("1.02", TRADE, "BOT", 60, 100.2, 2),  # a correction
        ev.EquityMarked(time=at(30), equity=100_010.0, daily_pnl=0.0),
        ev.EquityMarked(time=at(50), equity=100_020.0, daily_pnl=0.0),
        ev.OrderModifyIntended(
            time=at(60), order_ref=STOP, quantity=50, stop_price=100.5, reason="trailing_stop_hit"
        ),
        executed("3.01", EXIT, "SLD", 50, 102.0, 61),
        ev.EquityMarked(time=at(90), equity=100_080.0, daily_pnl=90.0),
        ev.EntryBlocked(
            time=at(95),
            symbol="AMD",
            side="LONG",
            path="momentum",
            pivot=50.0,
            break_time=at(94),
            filter="low_volume",
        ),
        executed("4.01", STOP, "SLD", 50, 100.4, 120),
        ev.EquityMarked(time=at(150), equity=100_050.0, daily_pnl=100.0),
        ev.OrderChanged(time=at(151), order_ref=STOP, status="cancelled", broker_status="Cancelled", text="late"),
    ]


def trading_day(logs: Path) -> TradingDay:
    return read_trading_day(Folder.open(logs), DATE)


def orders_of(logs: Path) -> dict[str, OrderHistory]:
    return {order.order_ref: order for order in order_histories(trading_day(logs).entries)}


def test_each_order_is_shown_from_its_intent_to_its_last_status(tmp_path: Path) -> None:
    state = run(tmp_path, *day_of_trading())
    orders = orders_of(tmp_path)
    assert list(orders) == [TRADE, STOP, EXIT]
    for ref, shown in orders.items():  # the journal and the state agree, order by order
        order = state.orders[ref]
        assert (shown.status, shown.filled, shown.quantity, shown.perm_id, shown.stop_price, shown.reason) == (
            order.status,
            order.filled,
            order.quantity,
            order.perm_id,
            order.stop_price,
            order.reason,
        ), ref
    entry = orders[TRADE]
    assert entry.mean_price == pytest.approx((60 * 100.2 + 40 * 100.1) / 100)
    assert entry.commission == 1.0
    assert [step.what for step in entry.steps] == [
        "OrderIntended",
        "OrderAcknowledged",
        "ExecutionSeen",
        "ExecutionSeen",
        "CommissionSeen",
        "ExecutionSeen",
    ]
    assert (entry.intended_at, entry.acknowledged_at, entry.first_fill_at, entry.ended_at) == (
        at(0),
        at(1),
        at(2),
        at(3),
    )
    assert orders[STOP].errors == ["late"]
    assert orders[STOP].session_id == "s1"


def test_an_order_that_failed_shows_why(tmp_path: Path) -> None:
    refused = ev.OrderChanged(time=at(2), order_ref=TRADE, status="rejected", text="201: margin")
    twice = [ev.OrderAcknowledged(time=at(2), order_ref=STOP, perm_id=perm_id, order_id=2) for perm_id in (12, 99)]
    run(tmp_path, *bracket(), refused, *twice)
    orders = orders_of(tmp_path)
    assert (orders[TRADE].status, orders[TRADE].errors, orders[TRADE].ended_at) == (
        "rejected",
        ["201: margin"],
        at(2),
    )
    assert "99" in orders[STOP].errors[0]
    assert orders[STOP].perm_id == 12


def test_a_trade_has_its_exits_reason_and_result(tmp_path: Path) -> None:
    state = run(tmp_path, *day_of_trading())
    (found,) = trades_of(state)
    assert (found.status, found.shares, found.reason) == ("closed", 100, "trailing_stop_hit")
    assert found.exit_price == 100.4
    assert [(done.reason, done.shares) for done in found.exits] == [("partial_1r", 50), ("trailing_stop_hit", 50)]
    assert sum(done.pnl for done in found.exits) == pytest.approx(found.pnl)
    assert found.pnl == pytest.approx(50 * 102.0 + 50 * 100.4 - 60 * 100.2 - 40 * 100.1 - 1.0)
    assert found.pnl_pct == pytest.approx(100 * found.pnl / 10_016, abs=1e-3)
    assert found.duration_s == 118
    assert found.r_multiple == pytest.approx(found.pnl / ((found.entry_price - 99.0) * 100), abs=0.01)


def test_an_open_trade_is_shown_up_to_now(tmp_path: Path) -> None:
    state = run(tmp_path, *day_of_trading()[:15])
    (found,) = trades_of(state)
    assert (found.status, found.held, found.reason, found.exit_price) == ("open", 50, "", None)
    assert [done.reason for done in found.exits] == ["partial_1r"]
    assert trades_of(state_after(*bracket())) == []


def test_the_curve_has_one_point_a_minute_and_the_summary_the_day(tmp_path: Path) -> None:
    state = run(tmp_path, *day_of_trading())
    curve = equity_curve(trading_day(tmp_path).entries)
    assert [(point.time, point.equity) for point in curve] == [
        (at(50), 100_020.0),
        (at(90), 100_080.0),
        (at(150), 100_050.0),
    ]
    summary = summarize(state, curve)
    assert (summary.trades, summary.winners, summary.losers, summary.win_rate) == (1, 1, 0, 1.0)
    assert (summary.start_equity, summary.last_equity, summary.max_drawdown) == (100_000.0, 100_050.0, 30.0)
    assert summary.reasons == {"trailing_stop_hit": 1}
    assert summary.filter_blocks == {"low_volume": 1}
    assert summary.pnl_pct == pytest.approx(summary.pnl / 1000)


def test_a_day_without_anything_has_no_numbers_that_look_real() -> None:
    summary = summarize(state_after(), [])
    assert (summary.trades, summary.win_rate, summary.best, summary.last_equity, summary.max_drawdown) == (
        0,
        None,
        None,
        None,
        0.0,
    )
    assert max_drawdown([EquityPoint(at(0), 5.0, 0.0)]) == 0.0


def test_i9_every_moment_is_as_it_was_live_with_and_without_checkpoints(tmp_path: Path) -> None:
    live: list[tuple[TraderState, object]] = []
    with opened(tmp_path) as manager:
        begun(manager)
        store = CheckpointStore(manager.folder, "s1")
        for number, event in enumerate(day_of_trading()):
            manager.record(event)
            live.append((manager.state, plain(manager.state)))
            if number in (5, 11):
                store.write(manager.state, {}, {}, at(number))
        manager.save_blocking()
    day = trading_day(tmp_path)
    sources = set()
    numbered = list(enumerate(live, start=2))  # the first event is the session's start
    for sequence, (_, expected) in reversed(numbered):  # reading one moment must not change an earlier one
        assert plain(rebuild(day.entries, sequence, []).state) == expected
        moment = day.entries[sequence - 1].event.time
        if sequence < len(day.entries) and day.entries[sequence].event.time == moment:
            continue
        past = state_at(Folder.open(tmp_path), day, moment + timedelta(milliseconds=1))
        if past.state.sequence == sequence:
            assert plain(past.state) == expected
        sources.add(past.source.split(" and ")[0])
    assert len(sources) == 3  # the beginning and both checkpoints


def test_before_the_first_event_nothing_is_known(tmp_path: Path) -> None:
    run(tmp_path, *day_of_trading())
    with pytest.raises(StateError, match="the first event is of"):
        state_at(Folder.open(tmp_path), trading_day(tmp_path), at(-60))
    with pytest.raises(StateError, match="empty"):
        state_at(Folder.open(tmp_path), read_trading_day(Folder.open(tmp_path), "2025-10-07"), at(0))


def test_a_checkpoint_of_a_journal_that_was_set_aside_is_not_used(tmp_path: Path) -> None:
    with opened(tmp_path, "before") as manager:
        begun(manager)
        for event in day_of_trading()[:9]:
            manager.record(event)
        CheckpointStore(manager.folder, "before").write(manager.state, {}, {}, at(0))
        manager.save_blocking()
    with opened(tmp_path, "after") as manager:
        begun(manager, fresh=True)
        for _ in range(20):
            manager.record(ev.EquityMarked(time=at(200), equity=1.0, daily_pnl=0.0))
        manager.save_blocking()
    day = trading_day(tmp_path)
    past = state_at(Folder.open(tmp_path), day, at(300))
    assert past.source.startswith("the beginning")
    assert past.state.positions == {}
    stranger = state_after(*day_of_trading()[:9])
    stranger.session_id = "before"
    assert rebuild(day.entries, 21, [("stranger", stranger)]).source.startswith("the beginning")


def test_a_broken_chain_is_named_and_a_checkpoint_reaches_beyond_it(tmp_path: Path) -> None:
    run(tmp_path, *day_of_trading()[:13])
    data = segment(tmp_path).read_bytes()
    segment(tmp_path).write_bytes(data.replace(b'"commission":1.0', b'"commission":9.0'))
    with opened(tmp_path, "s2") as manager:
        begun(manager)
        CheckpointStore(manager.folder, "s2").write(manager.state, {}, {}, at(10))
        manager.record(ev.EquityMarked(time=at(200), equity=7.0, daily_pnl=0.0))
        expected = plain(manager.state)
        manager.save_blocking()
    day = trading_day(tmp_path)
    assert day.broken
    assert day.verdict is Verdict.CORRUPT
    assert "ends at 10" in day.detail
    past = state_at(Folder.open(tmp_path), day, at(300))
    assert past.source.startswith("checkpoint s2/")
    assert plain(past.state) == expected
    assert TRADE in {order.order_ref for order in order_histories(day.entries)}


def test_i9_restoring_goes_on_with_the_numbers_and_can_be_replayed(tmp_path: Path) -> None:
    events = day_of_trading()
    with opened(tmp_path) as manager:
        begun(manager)
        for event in events[:9]:
            manager.record(event)
        store = CheckpointStore(manager.folder, "s1")
        name = store.write(manager.state, {}, {}, at(10))
        then = plain(manager.state)
        reissued = ev.OrderAcknowledged(time=at(200), order_ref=EXIT, perm_id=13, order_id=77)
        for event in (*events[9:], reissued):
            manager.record(event)
        manager.save_blocking()
        used, order_id_high = manager.state.sequence, manager.state.order_id_high
    store = CheckpointStore(Folder.open(tmp_path))
    checkpoint = store.read(store.list()[0])
    former = (tmp_path / "trader_state.json").read_bytes()
    sequence = restore(tmp_path, checkpoint)
    assert sequence > used
    assert (tmp_path / "trader_state_backup.json").read_bytes() == former
    with opened(tmp_path, "s3") as manager:
        state = manager.loaded.state
        assert state is not None
        assert (manager.loaded.source, state.sequence) == ("trader_state.json", sequence)
        assert not manager.loaded.doubtful
        assert trade(state).held == 100
        assert state.order_id_high == order_id_high == 77
        assert "checkpoint" in state.alerts[-1].text
        assert name in state.alerts[-1].text
        for key in ("positions", "closed", "orders", "executions", "attempts", "filter_blocks"):
            assert plain(state)[key] == then[key], key  # type: ignore[index]  # both are dictionaries
        expected = plain(state)
    day = trading_day(tmp_path)
    assert plain(rebuild(day.entries, sequence, []).state) == expected  # invariant 9
    assert order_histories(day.entries)[1].status == "filled"  # what happened stays in the journal
    found = last_state(Folder.open(tmp_path), day)
    assert found is not None
    assert found.state.sequence == sequence


def test_orders_sent_after_the_checkpoint_stay_known_but_unproven(tmp_path: Path) -> None:
    before, after = bracket()[:2], bracket()[2]
    with opened(tmp_path) as manager:
        begun(manager)
        for event in (*before, executed("1.01", TRADE, "BOT", 100, 100.0, 2)):
            manager.record(event)
        CheckpointStore(manager.folder, "s1").write(manager.state, {}, {}, at(10))
        for event in (after, executed("3.01", EXIT, "SLD", 50, 102.0, 61)):
            manager.record(event)
        manager.save_blocking()
    store = CheckpointStore(Folder.open(tmp_path))
    restore(tmp_path, store.read(store.list()[0]))
    with opened(tmp_path, "s3") as manager:
        begun(manager)
        order = manager.state.orders[EXIT]
        assert (order.status, order.filled, trade(manager.state).held) == ("unknown", 0, 100)
        manager.record(executed("3.01", EXIT, "SLD", 50, 102.0, 61))  # as IBKR reports it again
        assert (manager.state.orders[EXIT].status, trade(manager.state).held) == ("filled", 50)
        assert trade(manager.state).partials_taken[0].reason == "partial_1r"


def test_what_a_restore_would_change_is_listed() -> None:
    now, then = state_after(*day_of_trading()), state_after(*day_of_trading()[:9])
    changes = {change.what: (change.now, change.then) for change in differences(now, then)}
    assert changes["position TSLA"] == ("-", "+100 at 100.04, stop 99.00")
    assert changes[f"order {STOP}"] == ("filled, 50 of 50", "working, 0 of 100")
    assert changes["blocked by low_volume"] == ("1", "-")
    assert [change.what for change in differences(now, now)] == []


def test_i8_a_checkpoint_of_another_account_is_refused(tmp_path: Path) -> None:
    run(tmp_path, *day_of_trading())
    other = tmp_path / "other"
    with opened(other) as manager:
        begun(manager, account="DU7654321")
        CheckpointStore(manager.folder, "s1").write(manager.state, {}, {}, at(0))
    store = CheckpointStore(Folder.open(other))
    before = (tmp_path / "trader_state.json").read_bytes()
    with pytest.raises(StateError, match="DU7654321"):
        restore(tmp_path, store.read(store.list()[0]))
    assert (tmp_path / "trader_state.json").read_bytes() == before
