"""The crash-recovery tests of the first design, under their names, on real files and the real reconciliation."""

from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from freezegun import freeze_time
from state_cases import (
    ACCOUNT,
    DATE,
    EXIT,
    STOP,
    TRADE,
    apply_events,
    at,
    begun,
    bracket,
    commission,
    executed,
    opened,
    plain,
    reloaded,
    run,
    state_after,
)

from state.domain import events as ev
from state.domain.model import TraderState
from state.storage.files import Folder
from state.storage.snapshot import BACKUP, MAIN
from trader.broker.port import AccountValues, BrokerExecution, BrokerOrder, BrokerPosition, BrokerSnapshot
from trader.core.reconciliation.draft import Draft, copied
from trader.core.reconciliation.plan import Plan
from trader.core.reconciliation.reconcile import Given, reconcile

TRADED = [
    *bracket(),
    ev.SignalTaken(
        time=at(5), symbol="TSLA", side="LONG", path="momentum", pivot=100.0, break_time=at(4), order_ref=TRADE
    ),
    executed("a.01", TRADE, "BOT", 100, 100.1, 10),
    commission("a.01", 1.0),
    executed("b.01", EXIT, "SLD", 50, 101.3, 70),
    commission("b.01", 0.5),
    ev.EntryBlocked(
        time=at(80),
        symbol="NVDA",
        side="SHORT",
        path="momentum",
        pivot=500.0,
        break_time=at(79),
        filter="low_volume",
    ),
    ev.LossLimitHit(time=at(90), daily_pnl=-300.0),
]


def shown(logs: Path) -> dict[str, object]:
    """The state file as people read it."""
    return msgspec.json.decode((logs / MAIN).read_bytes(), type=dict[str, object])


def test_save_and_load_state(tmp_path: Path) -> None:
    saved = run(tmp_path, *TRADED)
    found = reloaded(tmp_path).loaded
    assert (found.source, found.replayed, found.doubtful, found.damaged) == (MAIN, 0, False, [])
    assert found.state is not None
    assert plain(found.state) == plain(saved)


def test_reject_stale_state(tmp_path: Path) -> None:
    with freeze_time("2025-10-03 19:00:00"):
        with opened(tmp_path) as manager:
            begun(manager, "2025-10-03")
            for event in TRADED:
                manager.record(event)
            manager.save_blocking()
        whole = (tmp_path / MAIN).read_bytes()
    with freeze_time("2025-10-06 13:45:00"), opened(tmp_path, "s2") as manager:
        result = begun(manager)
        assert not result.resumed
        assert "2025-10-03" in result.why
        assert manager.state.positions == {}
        assert manager.state.attempts == []
        assert manager.state.daily_pnl == 0.0
        assert result.previous is not None
        assert result.previous.positions["TSLA"].held == 50
        assert (tmp_path / result.set_aside / MAIN).read_bytes() == whole


def test_validate_today_state(tmp_path: Path) -> None:
    with freeze_time("2025-10-06 14:00:00"):
        run(tmp_path, *TRADED)
    with freeze_time("2025-10-06 14:05:00"), opened(tmp_path, "s2") as manager:
        result = begun(manager)
        assert (result.resumed, result.why) == (True, "")
        assert manager.state.session_id == "s2"
        assert manager.state.positions["TSLA"].held == 50
        assert manager.state.risk.loss_limit_hit


def test_position_serialization(tmp_path: Path) -> None:
    run(tmp_path, *TRADED)
    position = msgspec.convert(shown(tmp_path)["positions"], dict[str, dict[str, object]])["TSLA"]
    wanted: dict[str, object] = {
        "symbol": "TSLA",
        "side": "LONG",
        "entry_price": 100.1,
        "shares": 100,
        "remaining": 0.5,
        "pivot": 100.0,
        "target1": 101.0,
        "target2": 102.0,
        "target3": 103.0,
        "stop_price": 99.0,
    }
    assert {key: position[key] for key in wanted} == wanted
    assert datetime.fromisoformat(str(position["entry_time"])) == at(10)
    (partial,) = msgspec.convert(position["partials_taken"], list[dict[str, object]])
    assert (partial["shares"], partial["price"], partial["reason"]) == (50, 101.3, "partial_1r")
    found = reloaded(tmp_path).loaded.state
    assert found is not None
    assert found.positions["TSLA"].partials_taken[0].time == at(70)


def test_attempt_count_serialization(tmp_path: Path) -> None:
    run(tmp_path, *TRADED)
    assert shown(tmp_path)["attempt_counts"] == {
        "TSLA": {"long_attempts": 1, "resistance": 100.0, "short_attempts": 0}
    }
    found = reloaded(tmp_path).loaded.state
    assert found is not None
    assert found.attempts_for("TSLA", "LONG", 100.0) == 1
    assert found.attempts_for("TSLA", "LONG", 99.0) == 0  # never under the stop price (f03)


def test_analytics_serialization(tmp_path: Path) -> None:
    run(tmp_path, *TRADED, executed("c.01", STOP, "SLD", 50, 99.0, 120))
    assert shown(tmp_path)["analytics"] == {
        "daily_pnl": pytest.approx(60 - 55 - 1.5),
        "daily_pnl_estimated": False,
        "total_trades": 1,
        "winners": 1,
        "losers": 0,
        "commissions": 1.5,
        "filter_blocks": {"low_volume": 1},
        "entry_paths": {"momentum": 1},
    }
    found = reloaded(tmp_path).loaded.state
    assert found is not None
    assert found.daily_pnl == pytest.approx(3.5)
    assert (found.filter_blocks, found.entry_paths) == ({"low_volume": 1}, {"momentum": 1})


def answer(quantity: int, *executions: BrokerExecution, stop: int = 0, avg_cost: float = 100.1) -> BrokerSnapshot:
    """IBKR's complete answer: TSLA shares, and the size of the stop that rests there (0: none)."""
    holding = BrokerPosition(ACCOUNT, "TSLA", 76792991, quantity, avg_cost)
    order = BrokerOrder(STOP, 7, 2, 2001, ACCOUNT, "TSLA", 76792991, "SELL", stop, 0, "STP", 99.0, "PreSubmitted")
    return BrokerSnapshot(
        account=ACCOUNT,
        taken_at=at(600),
        positions=(holding,) if quantity else (),
        open_orders=(order,) if stop else (),
        completed_orders=(),
        executions=executions,
        values=AccountValues(ACCOUNT, 100_000.0, 200_000.0, 90_000.0),
    )


def held(tmp_path: Path) -> TraderState:
    """LONG 100 TSLA, saved, the process ended, and loaded again."""
    run(tmp_path, *bracket(), executed("a.01", TRADE, "BOT", 100, 100.1, 10))
    found = reloaded(tmp_path).loaded.state
    assert found is not None
    return found


def decide(state: TraderState, snapshot: BrokerSnapshot) -> Plan:
    return reconcile(Draft(copied(state), at(600)), snapshot, Given(client_id=2001, setups={}))


def after(state: TraderState, plan: Plan) -> TraderState:
    """The state after the plan's events."""
    return apply_events(state, *plan.events)


def decisions(plan: Plan) -> list[str]:
    return [row.decision for row in plan.rows if row.symbol == "TSLA"]


def test_state_matches_ibkr(tmp_path: Path) -> None:
    plan = decide(held(tmp_path), answer(100, stop=100))
    assert decisions(plan) == ["matched"]
    assert plan.actions == []
    assert plan.conflicts == []


def test_state_diverges_from_ibkr(tmp_path: Path) -> None:
    state = held(tmp_path)
    plan = decide(state, answer(50, stop=100))
    assert "count_corrected" in decisions(plan)
    position = after(state, plan).positions["TSLA"]
    assert (position.held, position.remaining, position.shares) == (50, 0.5, 100)
    assert [getattr(action, "quantity", None) for action in plan.actions] == [50]


def test_state_has_position_ibkr_doesnt(tmp_path: Path) -> None:
    state = held(tmp_path)
    stopped = BrokerExecution(
        "b.01", STOP, 7, 2, 2001, ACCOUNT, "TSLA", 76792991, "SLD", 100, 99.0, at(300), 100, 1.0
    )
    plan = decide(state, answer(0, stopped))
    assert "closed_while_down" in decisions(plan)
    changed = after(state, plan)
    assert not changed.positions
    closed = changed.closed[TRADE]
    assert (closed.exit_price, closed.exit_time, closed.exit_reason) == (99.0, at(300), "stop_loss_hit")
    assert changed.daily_pnl == pytest.approx(-110 - 1.0)
    assert not plan.actions


def test_ibkr_has_position_state_doesnt(tmp_path: Path) -> None:
    state = state_after()
    assert reloaded(tmp_path).loaded.state is None
    plan = decide(state, answer(200))
    assert decisions(plan) == ["foreign"]
    assert plan.actions == []  # a foreign position is never touched (f13)
    changed = after(state, plan)
    assert not changed.positions
    assert changed.foreign["TSLA"].quantity == 200


def test_atomic_write_pattern(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        begun(manager)
        manager.save_blocking()
        first = (tmp_path / MAIN).read_bytes()
        manager.record(ev.Paused(time=at(1), reason="lunch"))
        manager.save_blocking()
        assert (tmp_path / BACKUP).read_bytes() == first
        assert (tmp_path / MAIN).stat().st_mode & 0o777 == 0o600
        second = (tmp_path / MAIN).read_bytes()
    # a write that was cut short by a crash leaves a temporary file, which is not read as the state
    with Folder.open(tmp_path) as folder:
        folder.write_temp(MAIN, second[: len(second) // 2])
    found = reloaded(tmp_path).loaded
    assert found.source == MAIN
    assert found.state is not None
    assert found.state.risk.paused_reason == "lunch"
    assert not list(tmp_path.glob(".*.tmp"))
    assert found.state.trading_date == DATE
