"""Orders of this trader, of others and of earlier connections, over a real socket."""

import pytest
from ibkr_cases import bought, complete, connected, fact, order_fact, resting_stop, stop, ticket

from paper_gateway.testing import RunningGateway
from trader.broker.port import (
    ConnectionFact,
    ExecutionFact,
    MessageFact,
    OrderFact,
    PositionFact,
)
from trader.errors import BrokerError


async def test_a_stop_of_the_last_connection_is_modified_and_cancelled(gateway: RunningGateway) -> None:
    """p06: orders of the previous run are managed under the same client id."""
    async with connected(gateway) as broker:
        await bought(broker)
        placed = await resting_stop(broker)
    async with connected(gateway) as broker:
        (found,) = (await complete(broker)).open_orders
        assert (found.perm_id, found.order_id) == (placed.perm_id, placed.order_id)
        broker.send([stop(found.order_id, "stop-1", 310.0, quantity=50)])
        changed = await fact(broker, OrderFact, lambda f: f.order.stop_price == 310.0)
        assert (changed.order.perm_id, changed.order.quantity) == (placed.perm_id, 50)
        broker.cancel(found.order_id)
        assert (await order_fact(broker, "stop-1", "Cancelled")).perm_id == placed.perm_id
        notice = await fact(broker, MessageFact, lambda f: f.code == 202)
        assert (notice.order_id, notice.order_ref) == (found.order_id, "stop-1")
        assert (await complete(broker)).open_orders == ()


async def test_another_clients_order_is_shown_and_its_cancel_refused(gateway: RunningGateway) -> None:
    async with connected(gateway, client_id=7) as other, connected(gateway) as broker:
        foreign = await resting_stop(other, "foreign")
        (shown,) = (await complete(broker)).open_orders
        assert (shown.client_id, shown.order_ref, shown.perm_id) == (7, "foreign", foreign.perm_id)
        broker.cancel(foreign.order_id)
        refused = await fact(broker, MessageFact, lambda f: f.order_id == foreign.order_id)
        assert refused.code == 10147
        assert len((await complete(broker)).open_orders) == 1


async def test_a_rejected_order_is_reported_with_its_reference(gateway: RunningGateway) -> None:
    async with connected(gateway) as broker:
        gateway.ctl("reject", symbol="TSLA")
        broker.send([ticket(broker.free_order_id(), "entry-1")])
        refused = await fact(broker, MessageFact, lambda f: f.code == 201)
        assert (refused.order_ref, refused.symbol) == ("entry-1", "TSLA")
        assert (await complete(broker)).quantity("TSLA") == 0


async def test_a_corrected_execution_is_an_execution_of_its_own(gateway: RunningGateway) -> None:
    """p12: both are reported; which one counts is decided in `state/domain/executions.py`."""
    async with connected(gateway) as broker:
        first = (await bought(broker)).execution
        gateway.ctl("correct", exec_id=first.exec_id, price=first.price + 1)
        second = (await fact(broker, ExecutionFact)).execution
        assert second.exec_id == first.exec_id.removesuffix("01") + "02"
        assert second.shares == first.shares
        assert second.price == pytest.approx(first.price + 1)


async def test_order_ids_stay_above_the_high_water_mark_after_a_roll_back(gateway: RunningGateway) -> None:
    """p03: TWS reissues order ids after its own restart."""
    async with connected(gateway) as broker:
        broker.send([ticket(broker.free_order_id(500), "entry-1")])
        await fact(broker, ExecutionFact)
        gateway.ctl("restart", roll_back=100)
        await fact(broker, ConnectionFact)
    async with connected(gateway) as broker:  # a new process: only the highest id in the journal is known
        assert broker.free_order_id(501) == 502
        assert broker.free_order_id(502) == 503
        with pytest.raises(BrokerError, match="Reset"):
            broker.free_order_id(2_100_000_000)


async def test_a_manual_trade_is_a_position_fact(gateway: RunningGateway) -> None:
    """p10: a manual close in TWS is seen while running."""
    async with connected(gateway) as broker:
        await bought(broker)
        await complete(broker)
        gateway.ctl("trade", symbol="TSLA", side="SELL", shares=100)
        await fact(broker, PositionFact, lambda f: f.position.quantity == 0)
        snapshot = await complete(broker)
        assert snapshot.positions == ()
        assert {e.order_ref for e in snapshot.executions} == {"entry-1", ""}
