"""Answers of the gateway that are missing, late or cut off are unknown, and never empty."""

import asyncio

import pytest
from ibkr_cases import (
    ACCOUNT,
    BOUND_S,
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
    PARTS,
    ConnectionFact,
    OrderFact,
    Part,
)
from trader.errors import BrokerUnreachableError


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("positions", "positions"),
        ("open_orders", "open orders"),
        ("completed_orders", "completed orders"),
        ("executions", "executions"),
        ("account", "account values"),
    ],
)
async def test_a_lost_answer_is_unknown_on_a_connection_that_goes_on(
    gateway: RunningGateway, part: Part, name: str
) -> None:
    """f08, p01: a missing answer is not an empty account."""
    async with connected(gateway, answer_timeout_s=0.4) as broker:
        await bought(broker)
        gateway.ctl("silence", kind=part)
        assert (await broker.snapshot(ACCOUNT)).missing == (part,)
        with pytest.raises(BrokerUnreachableError, match=name):
            await broker.ask(part, ACCOUNT)
        assert broker.connected
        gateway.ctl("silence", kind=part, off=True)
        await broker.snapshot(ACCOUNT)  # its answer may be that of an older question
        assert (await complete(broker)).quantity("TSLA") == 100


async def test_a_late_end_marker_is_not_taken_for_the_next_answer(gateway: RunningGateway) -> None:
    async with connected(gateway, answer_timeout_s=0.4) as broker:
        gateway.ctl("delay", kind="positions", ms=700)
        assert (await broker.snapshot(ACCOUNT)).missing == ("positions",)  # its answer, "none", is on its way
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
        assert "completed_orders" in answer.missing
        assert (await fact(broker, ConnectionFact)).state == "down"
        assert not broker.connected
        assert (await broker.snapshot(ACCOUNT)).missing == PARTS
        with pytest.raises(BrokerUnreachableError):
            broker.send([ticket(99, "late")])
        gateway.ctl("silence", kind="completed_orders", off=True)
        await broker.connect()
        assert (await complete(broker)).account == ACCOUNT


async def test_a_lost_answer_ends_no_connection(gateway: RunningGateway) -> None:
    """Answers that never come are not waited for again: the next question but one is answered."""
    async with connected(gateway, answer_timeout_s=0.3) as broker:
        await bought(broker)
        gateway.ctl("silence", kind="positions")
        assert (await broker.snapshot(ACCOUNT)).missing == ("positions",)
        gateway.ctl("silence", kind="positions", off=True)
        assert (await broker.snapshot(ACCOUNT)).missing == ("positions",), "it may be the older question's answer"
        assert (await complete(broker)).quantity("TSLA") == 100
        assert broker.connected


async def test_what_happens_to_an_order_during_a_lost_answer_is_reported(gateway: RunningGateway) -> None:
    async with connected(gateway, answer_timeout_s=0.4) as broker:
        await complete(broker)
        gateway.ctl("silence", kind="completed_orders")
        asking = asyncio.create_task(broker.snapshot(ACCOUNT))
        await broker.current_time()
        placed = await resting_stop(broker)
        assert (await asking).missing
        broker.send([stop(placed.order_id, "stop-1", 305.0)])
        await fact(broker, OrderFact, lambda f: f.order.stop_price == 305.0)


async def test_snapshots_asked_at_once_are_answered_one_after_the_other(gateway: RunningGateway) -> None:
    async with connected(gateway) as broker:
        await bought(broker)
        answers = await asyncio.gather(*(broker.snapshot(ACCOUNT) for _ in range(4)))
        assert all(not a.missing and a.quantity("TSLA") == 100 for a in answers)


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
        assert (await broker.snapshot(ACCOUNT)).missing == PARTS
        gateway.ctl("code", code=1102)
        restored = await fact(broker, ConnectionFact)
        assert (restored.state, restored.data_lost) == ("restored", False)
        assert (await broker.snapshot(ACCOUNT)).missing == ()
