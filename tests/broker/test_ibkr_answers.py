"""Answers of the gateway that are missing, late or cut off are unknown, and never empty."""

import asyncio

import pytest
from ibkr_cases import (
    ACCOUNT,
    BOUND_S,
    CLIENT_ID,
    bought,
    complete,
    connected,
    fact,
    resting_stop,
    stop,
    ticket,
)

from paper_gateway.testing import RunningGateway
from trader.broker.port import (
    BrokerSnapshot,
    ConnectionFact,
    OrderFact,
    Unknown,
)
from trader.errors import BrokerUnreachableError


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("positions", "positions"),
        ("open_orders", "open orders"),
        ("completed_orders", "completed orders"),
        ("executions", "executions"),
        ("account", "account values"),
    ],
)
async def test_a_lost_answer_is_unknown_and_the_next_is_asked_on_a_new_connection(
    gateway: RunningGateway, kind: str, name: str
) -> None:
    """f08, p01: a missing answer is not an empty account."""
    async with connected(gateway, answer_timeout_s=0.4) as broker:
        await bought(broker)
        gateway.ctl("silence", kind=kind)
        answer = await broker.snapshot(ACCOUNT)
        assert isinstance(answer, Unknown)
        assert answer.missing == (name,)
        assert name in answer.reason
        assert broker.connected
        gateway.ctl("silence", kind=kind, off=True)
        assert (await complete(broker)).quantity("TSLA") == 100


async def test_a_late_end_marker_is_not_taken_for_the_next_answer(gateway: RunningGateway) -> None:
    async with connected(gateway, answer_timeout_s=0.4) as broker:
        gateway.ctl("delay", kind="positions", ms=700)
        assert isinstance(await broker.snapshot(ACCOUNT), Unknown)  # its answer, "none", is on its way
        gateway.ctl("delay", kind="positions", off=True)
        await bought(broker)
        assert (await complete(broker)).quantity("TSLA") == 100


async def test_a_connection_dropped_during_a_snapshot_gives_unknown(gateway: RunningGateway) -> None:
    async with connected(gateway) as broker:
        gateway.ctl("silence", kind="completed_orders")
        asking = asyncio.create_task(broker.snapshot(ACCOUNT))
        await broker.current_time()  # answered in order: the questions have been read by now
        await asyncio.to_thread(gateway.ctl, "drop")
        answer = await asyncio.wait_for(asking, BOUND_S)
        assert isinstance(answer, Unknown)
        assert "completed orders" in answer.missing
        assert (await fact(broker, ConnectionFact)).state == "down"
        assert not broker.connected
        assert isinstance(await broker.snapshot(ACCOUNT), Unknown)
        with pytest.raises(BrokerUnreachableError):
            broker.send([ticket(99, "late")])
        gateway.ctl("silence", kind="completed_orders", off=True)
        await broker.connect()
        assert (await complete(broker)).account == ACCOUNT


async def test_a_connection_that_cannot_be_renewed_is_down(gateway: RunningGateway) -> None:
    """The client id may stay in use for a while: then the trader reconnects, and the snapshot does not wait."""
    async with connected(gateway, answer_timeout_s=0.3) as broker:
        gateway.ctl("silence", kind="positions", **{"for": 0.3})
        gateway.ctl("stick", client=CLIENT_ID, **{"for": 60})
        assert isinstance(await broker.snapshot(ACCOUNT), Unknown)
        answer = await broker.snapshot(ACCOUNT)
        assert isinstance(answer, Unknown)
        assert str(CLIENT_ID) in answer.reason
        assert (await fact(broker, ConnectionFact)).state == "down"
        assert not broker.connected


async def test_what_happens_to_an_order_during_a_lost_answer_is_reported(gateway: RunningGateway) -> None:
    async with connected(gateway, answer_timeout_s=0.4) as broker:
        await complete(broker)
        gateway.ctl("silence", kind="completed_orders")
        asking = asyncio.create_task(broker.snapshot(ACCOUNT))
        await broker.current_time()
        placed = await resting_stop(broker)
        assert isinstance(await asking, Unknown)
        broker.send([stop(placed.order_id, "stop-1", 305.0)])
        await fact(broker, OrderFact, lambda f: f.order.stop_price == 305.0)


async def test_snapshots_asked_at_once_are_answered_one_after_the_other(gateway: RunningGateway) -> None:
    async with connected(gateway) as broker:
        await bought(broker)
        answers = await asyncio.gather(*(broker.snapshot(ACCOUNT) for _ in range(4)))
        assert all(isinstance(a, BrokerSnapshot) and a.quantity("TSLA") == 100 for a in answers)


async def test_a_silent_clock_fails_the_heartbeat_and_recovers(gateway: RunningGateway) -> None:
    """p15: a connection that is dead without being closed is detected."""
    async with connected(gateway, answer_timeout_s=0.2) as broker:
        gateway.ctl("silence", kind="time")
        with pytest.raises(BrokerUnreachableError):
            await broker.current_time()
        gateway.ctl("silence", kind="time", off=True)
        with pytest.raises(BrokerUnreachableError):  # this answer may be the older question's
            await broker.current_time()
        assert await broker.current_time() > 0


async def test_nothing_is_concluded_while_tws_has_lost_ibkr(gateway: RunningGateway) -> None:
    async with connected(gateway) as broker:
        gateway.ctl("code", code=1100)
        assert (await fact(broker, ConnectionFact)).state == "broken"
        assert isinstance(await broker.snapshot(ACCOUNT), Unknown)
        gateway.ctl("code", code=1102)
        restored = await fact(broker, ConnectionFact)
        assert (restored.state, restored.data_lost) == ("restored", False)
        assert isinstance(await broker.snapshot(ACCOUNT), BrokerSnapshot)
