"""A snapshot made from IBKR's answers: complete and of one account, or unknown with what is missing."""

from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from trader.broker.ibkr.known_orders import KnownOrders
from trader.broker.ibkr.snapshots import build_snapshot
from trader.broker.port import BrokerExecution, BrokerPosition, BrokerSnapshot, OrderTicket, Unknown
from trader.errors import BrokerUnreachableError

NOW = datetime(2025, 10, 6, 15, 0, tzinfo=UTC)
MONEY = [("DU1", "NetLiquidation", "1"), ("DU1", "BuyingPower", "2"), ("DU1", "TotalCashValue", "3")]
FILL = BrokerExecution(
    "a.01", "entry-1", 7001, 11, 2001, "DU1", "AAPL", 265598, "BOT", 60, 10.0, NOW, 60, commission=None
)
TICKET = OrderTicket(11, "entry-1", "DU1", "AAPL", 265598, "BUY", 100, "MKT")


def built(**answers: Any) -> BrokerSnapshot | Unknown:
    orders = KnownOrders()
    orders.sent(TICKET, 2001)
    orders.status(2001, 11, 7001, answers.pop("status", "Submitted"), answers.pop("filled", 0), 0)
    names = ("positions", "open_orders", "completed", "everyones", "ours", "money")
    usual: dict[str, Any] = {"open_orders": [(2001, 11, 7001)], "money": MONEY}
    given = [(usual | answers).get(name, []) for name in names]
    return build_snapshot("DU1", NOW, given, orders, {"a.01": 1.25})


def complete(**answers: Any) -> BrokerSnapshot:
    found = built(**answers)
    assert isinstance(found, BrokerSnapshot), found
    return found


def test_an_order_that_closed_while_the_answers_came_is_not_open() -> None:
    assert len(complete().open_orders) == 1
    for status in ("Filled", "Cancelled", "ApiCancelled"):
        assert complete(status=status).open_orders == ()


def test_an_open_order_has_filled_at_least_what_was_executed() -> None:
    assert complete(ours=[FILL]).open_orders[0].filled == 60
    assert complete(ours=[FILL], filled=80).open_orders[0].filled == 80


def test_an_execution_in_both_answers_is_one_with_its_commission() -> None:
    corrected = replace(FILL, exec_id="a.02", commission=None)
    found = complete(everyones=[FILL], ours=[FILL, corrected]).executions
    assert [(e.exec_id, e.commission) for e in found] == [("a.01", 1.25), ("a.02", None)]


def test_the_newest_row_of_a_position_counts() -> None:
    rows = [BrokerPosition("DU1", "AAPL", 265598, quantity, 10.0) for quantity in (100, 40)]
    assert complete(positions=rows).quantity("AAPL") == 40
    assert complete(positions=[*rows, replace(rows[0], quantity=0)]).positions == ()


def test_each_missing_answer_is_named_once() -> None:
    lost = BrokerUnreachableError("No answer.", "Wait.")
    found = built(everyones=lost, ours=lost, positions=lost)
    assert isinstance(found, Unknown)
    assert found.missing == ("positions", "executions")
    assert found.reason == "No answer. Wait."
