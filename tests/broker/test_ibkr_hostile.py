"""The broker port against peers that send what no gateway should: garbage, invalid values, half an answer."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from queued_broker import QueuedBroker
from scripted_tws import ACCOUNT, FUTURE, STOCK, Answers, ScriptedTws, complete_answers, order_status, scripted_tws

from trader.broker.port import (
    PARTS,
    BarFact,
    ConnectionFact,
    ExecutionFact,
    Fact,
    MessageFact,
    OrderFact,
    OrderTicket,
    PricesFact,
)
from trader.errors import BrokerUnreachableError

BOUND_S = 5.0
UNSET = "1.7976931348623157E308"


@asynccontextmanager
async def session(answers: Answers | None = None) -> AsyncIterator[tuple[QueuedBroker, ScriptedTws]]:
    async with scripted_tws(answers) as tws:
        broker = QueuedBroker("127.0.0.1", tws.port, 2001, answer_timeout_s=1.0)
        await broker.connect()
        try:
            yield broker, tws
        finally:
            await broker.disconnect()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not condition():  # noqa: ASYNC110 - the peer is in the same loop and has no event for this
            await asyncio.sleep(0.005)


async def facts_until_the_time_is_answered(broker: QueuedBroker) -> list[Fact]:
    """All facts of what the peer sent before it answered this request for the time."""
    await broker.current_time()
    found = []
    while not broker.queue.empty():
        found.append(broker.queue.get_nowait())
    return found


def execution(exec_id: str, shares: object = 100, price: object = 10.0, req_id: int = -1, **given: Any) -> Any:
    contract = given.get("contract", STOCK)
    when = given.get("time", "20251006 10:00:01 US/Eastern")
    return (
        *(11, req_id, 5, *contract, exec_id, when, ACCOUNT, "SMART", "BOT"),
        *(shares, price, 7001, 2001, 0, shares, price, "entry-1", "", "", "", 1),
    )


def ticket(order_id: int, ref: str = "stop-1", **given: Any) -> OrderTicket:
    values: dict[str, Any] = {"action": "SELL", "order_type": "STP", "stop_price": 9.0} | given
    return OrderTicket(order_id, ref, ACCOUNT, "AAPL", 265598, quantity=100, **values)


# Peers that are not TWS


@pytest.mark.parametrize(
    ("greeting", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "frame"),
        (b"\0\0\0\x0ahello\0you\0", "hello"),
        (b"\0\0\0\x06\xff\xfe\0\x80\x81\0", "greeting"),
        (b"\0\0\0\x0d100\x0020251006\0", "greeting"),
    ],
)
async def test_a_listener_that_is_no_gateway_is_refused_at_once(greeting: bytes, text: str) -> None:
    async with scripted_tws(greeting=greeting) as tws:
        broker = QueuedBroker("127.0.0.1", tws.port, 2001, connect_timeout_s=60.0)
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(BrokerUnreachableError, match=text) as raised:
                await broker.connect()
        assert "started no API session" in raised.value.what
        assert raised.value.hint


async def test_a_silent_listener_is_given_up_after_the_timeout() -> None:
    async with scripted_tws(greeting=None) as tws:
        broker = QueuedBroker("127.0.0.1", tws.port, 2001, connect_timeout_s=0.2)
        with pytest.raises(BrokerUnreachableError, match="sent nothing"):
            await broker.connect()
        assert not broker.connected


async def test_a_peer_that_never_starts_the_api_is_given_up() -> None:
    """TWS with a dialog open: it answers the handshake and never sends the account names."""
    async with scripted_tws() as tws:
        tws.start = ()
        broker = QueuedBroker("127.0.0.1", tws.port, 2001, connect_timeout_s=0.2)
        with pytest.raises(BrokerUnreachableError, match="started no API session"):
            await broker.connect()


async def test_an_oversized_frame_ends_the_connection_and_not_the_program() -> None:
    async with session() as (broker, tws):
        tws.send_raw(b"\x7f\xff\xff\xff")
        await until(lambda: not broker.connected)
        assert isinstance(broker.queue.get_nowait(), ConnectionFact)
        assert (await broker.snapshot(ACCOUNT)).missing == PARTS


# Invalid answers


@pytest.mark.parametrize(
    ("question", "row", "missing"),
    [
        (61, (61, 3, ACCOUNT, *STOCK, "nan", 10.0), "positions"),
        (61, (61, 3, ACCOUNT, *STOCK, 100), "positions"),
        (16, (5, 7, "not", "an", "order"), "open_orders"),
        (99, (101, "not", "an", "order"), "completed_orders"),
        (7, execution("a.01", shares="inf", req_id=2_000_000_006), "executions"),
        (7, execution("a.01", price="nan"), "executions"),
        (7, execution("a.01", time="yesterday"), "executions"),
        (62, (63, 1, 2_000_000_005, ACCOUNT, "NetLiquidation", "nan", "USD"), "account"),
    ],
)
async def test_an_answer_with_an_unreadable_row_is_unknown(question: int, row: Any, missing: str) -> None:
    """If the row were dropped and the end marker accepted, a held position would look flat."""
    answers = complete_answers()
    usual = answers[question]
    answers[question] = lambda asked: [row, *usual(asked)]
    async with session(answers) as (broker, _):
        answer = await broker.snapshot(ACCOUNT)
        assert answer.missing == (missing,)
        assert broker.connected


async def test_account_values_that_lack_one_are_unknown() -> None:
    answers = complete_answers()
    answers[62] = lambda asked: [(64, 1, asked[2])]
    async with session(answers) as (broker, _):
        answer = await broker.snapshot(ACCOUNT)
        assert answer.missing == ("account",)


async def test_futures_and_flat_rows_are_not_positions() -> None:
    answers = complete_answers()
    answers[61] = lambda _: [
        (61, 3, ACCOUNT, *FUTURE, 3, 10.0),
        (61, 3, ACCOUNT, *STOCK, 0, 0.0),
        (61, 3, "DU9", *STOCK, 50, 10.0),
        (62, 1),
    ]
    async with session(answers) as (broker, _):
        answer = await broker.snapshot(ACCOUNT)
        assert answer.positions == ()


# Facts


@pytest.mark.parametrize("code", [104, 161, 10148, 10349, 481])
async def test_an_error_about_a_live_order_does_not_end_the_order(code: int) -> None:
    """ib_insync itself marks such an order as Cancelled, and the trader would treat its stop as gone."""
    async with session() as (broker, tws):
        broker.send([ticket(11)])
        await until(lambda: tws.of_kind(3))
        tws.send(order_status(11, "PreSubmitted"), (4, 2, 11, code, "about the order", ""))
        facts = await facts_until_the_time_is_answered(broker)
        orders = [f.order for f in facts if isinstance(f, OrderFact)]
        assert [(o.order_ref, o.status, o.perm_id) for o in orders] == [("stop-1", "PreSubmitted", 7001)]
        (message,) = [f for f in facts if isinstance(f, MessageFact)]
        assert (message.code, message.order_id, message.order_ref) == (code, 11, "stop-1")


async def test_a_status_under_a_reissued_order_id_is_not_given_to_the_older_order() -> None:
    """p04: with a reused order id the fill of an entry would be recorded on a stop."""
    async with session() as (broker, tws):
        broker.send([ticket(11)])
        await until(lambda: tws.of_kind(3))
        tws.send(order_status(11, "PreSubmitted"), order_status(11, "Filled", perm_id=9999, filled=100))
        facts = await facts_until_the_time_is_answered(broker)
        assert [f.order.status for f in facts if isinstance(f, OrderFact)] == ["PreSubmitted"]


async def test_a_correction_and_an_unset_commission_are_reported_as_they_are() -> None:
    async with session() as (broker, tws):
        tws.send(
            execution("00025b49.01.01"),
            execution("00025b49.01.02", price=10.5, time="20251006 10:00:01 EDT"),
            execution("future.01", contract=FUTURE),
            (59, 1, "00025b49.01.02", UNSET, "USD", UNSET, UNSET, ""),
        )
        facts = [f for f in await facts_until_the_time_is_answered(broker) if not isinstance(f, MessageFact)]
        executions = [f.execution for f in facts if isinstance(f, ExecutionFact)]
        assert [(e.exec_id, e.price) for e in executions] == [
            ("00025b49.01.01", 10.0),
            ("00025b49.01.02", 10.5),
        ]
        assert executions[0].time == executions[1].time
        assert len(facts) == 2


async def test_f20_invalid_prices_are_never_reported() -> None:
    async with session() as (broker, tws):
        broker.subscribe("AAPL")
        await until(lambda: tws.of_kind(1))
        bars_id, prices_id = int(tws.of_kind(50)[0][2]), int(tws.of_kind(1)[0][2])
        good: list[Any] = [(1, 6, prices_id, 4, price, 100, 0) for price in ("10.0", "10.5")]
        bid = (1, 6, prices_id, 1, 99.0, 100, 0)
        none = ("nan", "0.0", "-1.0", "inf", "-inf", "", "ten")
        tws.send(*good, bid, *[(1, 6, prices_id, 4, price, 100, 0) for price in none])
        for close in ("nan", "0.0", "11.0"):
            tws.send((50, 3, bars_id, 1_759_759_200, 10.0, 10.5, 9.5, close, 100, 10.0, 5))
        tws.send((50, 3, bars_id, 1_759_759_200, 10.0, 10.5, 9.5, 10.2, 100, 10.0, 5))
        facts = await facts_until_the_time_is_answered(broker)
        assert [f.prices for f in facts if isinstance(f, PricesFact)] == [{"AAPL": 10.5}]
        (bar,) = [f.bar for f in facts if isinstance(f, BarFact)]
        assert math.isclose(bar.close, 10.2)


async def test_bars_that_a_bust_has_ended_are_requested_again() -> None:
    async with session() as (broker, tws):
        broker.subscribe("AAPL")
        await until(lambda: tws.of_kind(50))
        tws.send((4, 2, tws.of_kind(50)[0][2], 10225, "Bust event occurred", ""))
        await until(lambda: len(tws.of_kind(50)) == 2)
        assert tws.of_kind(51)[0][2] == tws.of_kind(50)[0][2]


# What is sent


async def test_i4_a_bracket_leaves_in_one_write() -> None:
    async with session() as (broker, tws):
        await broker.current_time()
        assert broker._client is not None
        written_before = broker._client.conn.numMsgSent
        broker.send([ticket(11, "entry-1", order_type="MKT", transmit=False), ticket(12, parent_id=11)])
        await until(lambda: len(tws.of_kind(3)) == 2)
        assert broker._client.conn.numMsgSent - written_before == 1  # the peer cannot tell one write from two
        entry, guard = tws.of_kind(3)
        assert len(entry) == len(guard) == 115
        assert "entry-1" in entry
        assert "stop-1" in guard


async def test_a_stop_overtakes_a_hundred_subscriptions() -> None:
    async with session() as (broker, tws):
        for number in range(100):
            broker.subscribe(f"S{number}")
        broker.send([ticket(11)])
        async with asyncio.timeout(0.5):
            await broker.current_time()
        assert len(tws.of_kind(3)) == 1
        assert len(tws.of_kind(1)) < 20
