"""Average cost, realized P&L, commissions and corrections."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_gateway.accounts import Accounts, OpeningPosition, Position, apply_fill
from paper_gateway.execution_log import ExecutionLog, commission
from paper_gateway.market import EASTERN
from paper_gateway.orders import Order, Status

NOW = datetime(2025, 10, 6, 10, tzinfo=EASTERN)
ACCOUNT = "DU1234567"


def order(action: str, quantity: int) -> Order:
    return Order(
        perm_id=1,
        client_id=1,
        order_id=1,
        account=ACCOUNT,
        symbol="TSLA",
        con_id=1,
        exchange="SMART",
        trading_class="NMS",
        action=action,
        quantity=quantity,
        order_type="MKT",
        limit_price=None,
        aux_price=None,
        tif="DAY",
        oca_group="",
        oca_type=0,
        order_ref="",
        outside_rth=False,
        trailing_percent=None,
        trail_stop=None,
        accepted_at=NOW,
        status=Status.SUBMITTED,
    )


def filled(execution_log: ExecutionLog, accounts: Accounts, action: str, shares: int, price: float) -> str:
    one = order(action, shares)
    one.filled, one.shares_value, one.status = shares, shares * price, Status.FILLED
    execution = execution_log.record(one, shares, price, NOW)
    accounts.apply(execution)
    return execution.exec_id


@pytest.mark.parametrize(
    ("shares", "price", "expected"), [(100, 50.0, 1.0), (1000, 50.0, 5.0), (1, 20.0, 0.2), (10, 1.0, 0.1)]
)
def test_commissions_have_a_minimum_and_a_maximum(shares: int, price: float, expected: float) -> None:
    assert commission(shares, price) == pytest.approx(expected)


def test_commissions_enter_the_cost_and_leave_the_profit() -> None:
    position = Position()
    assert apply_fill(position, 100, 50.0, 1.0) is None
    assert position == Position(100, 50.01)
    assert apply_fill(position, -40, 51.0, 1.0) == pytest.approx(40 * 0.99 - 1)
    assert position == Position(60, 50.01)


def test_a_fill_that_turns_the_position_closes_and_opens() -> None:
    position = Position(50, 10.0)
    assert apply_fill(position, -150, 11.0, 3.0) == pytest.approx(50 * 1.0 - 1.0)
    assert position.quantity == -100
    assert position.average_cost == pytest.approx(11.0 - 2.0 / 100)


def test_a_short_profits_when_it_falls() -> None:
    position = Position()
    apply_fill(position, -100, 50.0, 1.0)
    assert position.average_cost == pytest.approx(49.99)
    assert apply_fill(position, 100, 49.0, 1.0) == pytest.approx(99.0 - 1.0)
    assert position == Position(0, 0.0)


@given(st.lists(st.tuples(st.integers(-300, 300).filter(bool), st.floats(1, 500)), min_size=1, max_size=30))
def test_realized_profit_plus_open_cost_is_the_cash_spent(fills: list[tuple[int, float]]) -> None:
    position, cash, realized = Position(), 0.0, 0.0
    for shares, price in fills:
        fee = commission(abs(shares), price)
        cash -= shares * price + fee
        realized += apply_fill(position, shares, price, fee) or 0.0
    assert position.quantity == sum(shares for shares, _ in fills)
    assert cash == pytest.approx(realized - position.quantity * position.average_cost, abs=1e-6)


def test_a_correction_replaces_and_everything_after_it_follows() -> None:
    execution_log = ExecutionLog(1)
    accounts = Accounts([ACCOUNT], 100_000, [OpeningPosition(ACCOUNT, "NVDA", 10, 100.0)])
    bought = filled(execution_log, accounts, "BUY", 100, 50.0)
    filled(execution_log, accounts, "SELL", 100, 51.0)
    wrong = execution_log.find(bought)
    assert wrong is not None
    right = execution_log.correct(wrong, 100, 49.0)
    accounts.rebuild(execution_log.executions)
    assert right.exec_id == bought[:-2] + "02"
    assert [one.superseded for one in execution_log.executions] == [True, False, False]
    assert execution_log.executions[-1].realized_pnl == pytest.approx(100 * 2.0 - 2.0)
    assert accounts.cash[ACCOUNT] == pytest.approx(100_000 + 200 - 2.0)
    assert accounts.position(ACCOUNT, "NVDA") == Position(10, 100.0)
    assert right.order.average_price == pytest.approx(49.0)


def test_accounts_are_kept_apart() -> None:
    accounts = Accounts(["DU1", "DU2"], 1000, [OpeningPosition("DU2", "TSLA", 5, 100.0)])
    assert accounts.position("DU1", "TSLA") == Position()
    assert accounts.figures("DU2", lambda symbol: 110.0).unrealized_pnl == pytest.approx(50)
    assert accounts.figures("DU1", lambda symbol: 110.0).net_liquidation == 1000


def test_buying_power_is_four_times_the_equity_less_what_is_used() -> None:
    accounts = Accounts([ACCOUNT], 1000, [OpeningPosition(ACCOUNT, "TSLA", -5, 100.0)])
    figures = accounts.figures(ACCOUNT, lambda symbol: 100.0)
    assert figures.net_liquidation == 500
    assert figures.buying_power == 4 * 500 - 500
