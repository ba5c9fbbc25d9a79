"""The parts of a snapshot made from the rows of IBKR's answers."""

from datetime import UTC, datetime

from msgspec.structs import replace

from trader.broker.ibkr.known_orders import KnownOrders
from trader.broker.ibkr.snapshots import executions_of, open_orders_of, positions_of
from trader.broker.port import BrokerExecution, BrokerOrder, BrokerPosition, OrderTicket

NOW = datetime(2025, 10, 6, 15, 0, tzinfo=UTC)
FILL = BrokerExecution(
    "a.01", "entry-1", 7001, 11, 2001, "DU1", "AAPL", 265598, "BOT", 60, 10.0, NOW, 60, commission=None
)
TICKET = OrderTicket(11, "entry-1", "DU1", "AAPL", 265598, "BUY", 100, "MKT")


def listed(status: str = "Submitted") -> tuple[BrokerOrder, ...]:
    orders = KnownOrders()
    orders.sent(TICKET, 2001)
    orders.status(2001, 11, 7001, status, 0, 0)
    return open_orders_of("DU1", [(2001, 11, 7001)], orders)


def test_an_order_that_closed_while_the_answers_came_is_not_open() -> None:
    assert len(listed()) == 1
    for status in ("Filled", "Cancelled", "ApiCancelled"):
        assert listed(status) == ()


def test_an_execution_in_both_answers_is_one_with_its_commission() -> None:
    corrected = replace(FILL, exec_id="a.02")
    found = executions_of("DU1", [FILL, FILL, corrected], {"a.01": 1.25})
    assert [(e.exec_id, e.commission) for e in found] == [("a.01", 1.25), ("a.02", None)]
    assert executions_of("DU2", [FILL], {}) == ()


def test_the_newest_row_of_a_position_counts() -> None:
    rows = [BrokerPosition("DU1", "AAPL", 265598, quantity, 10.0) for quantity in (100, 40)]
    assert [row.quantity for row in positions_of("DU1", rows)] == [40]
    assert positions_of("DU1", [*rows, replace(rows[0], quantity=0)]) == ()
