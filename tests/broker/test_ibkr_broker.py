"""The broker port against the real gateway process over a real socket."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from queued_broker import QueuedBroker

from paper_gateway.testing import RunningGateway
from trader.broker.port import (
    BarFact,
    Broker,
    BrokerOrder,
    BrokerSnapshot,
    CommissionFact,
    ConnectionFact,
    ExecutionFact,
    MessageFact,
    OrderFact,
    OrderTicket,
    PositionFact,
    PricesFact,
    Unknown,
)
from trader.errors import BrokerError, BrokerUnreachableError, ClientIdInUseError

CLIENT_ID = 2001
ACCOUNT = "DU1234567"
BOUND_S = 5.0
F = TypeVar("F")


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    with RunningGateway("--start", "10:00") as running:
        yield running


@asynccontextmanager
async def connected(
    gateway: RunningGateway, client_id: int = CLIENT_ID, answer_timeout_s: float = 4.0
) -> AsyncIterator[QueuedBroker]:
    broker = QueuedBroker("127.0.0.1", gateway.port, client_id, answer_timeout_s=answer_timeout_s)
    await broker.connect()
    try:
        yield broker
    finally:
        await broker.disconnect()


async def fact(broker: QueuedBroker, kind: type[F], wanted: Callable[[F], bool] = lambda _: True) -> F:
    """The next fact of this kind that is wanted; those before it are passed over."""
    async with asyncio.timeout(BOUND_S):
        while True:
            found = await broker.queue.get()
            if isinstance(found, kind) and wanted(found):
                return found


async def order_fact(broker: QueuedBroker, order_ref: str, *statuses: str) -> BrokerOrder:
    """The next fact of this order with one of the statuses."""
    found = await fact(broker, OrderFact, lambda f: f.order.order_ref == order_ref and f.order.status in statuses)
    return found.order


async def complete(broker: QueuedBroker) -> BrokerSnapshot:
    answer = await broker.snapshot(ACCOUNT)
    assert isinstance(answer, BrokerSnapshot), answer
    return answer


def ticket(order_id: int, ref: str, action: str = "BUY", **given: object) -> OrderTicket:
    values = {"symbol": "TSLA", "con_id": 0, "quantity": 100, "order_type": "MKT"} | given
    return OrderTicket(order_id=order_id, order_ref=ref, account=ACCOUNT, action=action, **values)  # type: ignore[arg-type]


def stop(order_id: int, ref: str, price: float, **given: object) -> OrderTicket:
    return ticket(order_id, ref, "SELL", order_type="STP", stop_price=price, tif="GTC", **given)


async def resting_stop(broker: QueuedBroker, ref: str = "stop-1") -> BrokerOrder:
    order_id = broker.free_order_id()
    broker.send([stop(order_id, ref, 300.0)])
    return await order_fact(broker, ref, "PreSubmitted")


async def bought(broker: QueuedBroker, ref: str = "entry-1") -> ExecutionFact:
    broker.send([ticket(broker.free_order_id(), ref)])
    execution = await fact(broker, ExecutionFact)
    await fact(broker, CommissionFact)
    return execution


# What it asks


def test_an_empty_account_is_a_complete_snapshot(gateway: RunningGateway) -> None:
    async def run() -> None:
        async with connected(gateway) as broker:
            port: Broker = broker  # the type checker holds it to the port
            assert port.accounts == (ACCOUNT,)
            snapshot = await complete(broker)
            assert not snapshot.positions
            assert not snapshot.open_orders
            assert not snapshot.completed_orders
            assert not snapshot.executions
            assert snapshot.values.net_liquidation == snapshot.values.cash == 100_000.0
            assert snapshot.values.buying_power == 400_000.0
            assert await broker.current_time() > 1_700_000_000

    asyncio.run(run())


def test_a_bracket_is_one_write_and_comes_back_whole(gateway: RunningGateway) -> None:
    async def run() -> None:
        async with connected(gateway) as broker:
            await complete(broker)  # from here on positions are told
            tsla = await broker.instrument("TSLA")
            entry = broker.free_order_id(41)
            guard = broker.free_order_id(entry)
            assert (entry, guard) == (42, 43)
            broker.send(
                [
                    ticket(entry, "entry-1", con_id=tsla.con_id, transmit=False),
                    stop(guard, "stop-1", 300.0, con_id=tsla.con_id, parent_id=entry),
                ]
            )
            execution = (await fact(broker, ExecutionFact)).execution
            assert (execution.order_ref, execution.side, execution.shares) == ("entry-1", "BOT", 100)
            assert execution.time.tzinfo is not None
            assert (await fact(broker, CommissionFact)).exec_id == execution.exec_id
            assert (await fact(broker, PositionFact)).position.quantity == 100
            snapshot = await complete(broker)
            assert snapshot.quantity("TSLA") == 100
            (working,) = snapshot.open_orders
            assert (working.order_ref, working.parent_id, working.stop_price) == ("stop-1", entry, 300.0)
            (done,) = snapshot.completed_orders
            assert (done.order_ref, done.quantity, done.filled, done.order_id) == ("entry-1", 100, 100, 0)
            assert snapshot.executions[0].commission == 1.0

    asyncio.run(run())


def test_other_accounts_are_kept_apart() -> None:
    """f24: two accounts summed into one position."""

    async def run(gateway: RunningGateway) -> None:
        async with connected(gateway) as broker:
            assert isinstance(await broker.snapshot("DU0000001"), BrokerSnapshot)
            gateway.ctl("trade", symbol="TSLA", side="BUY", shares=7, account="DU0000002")
            gateway.ctl("trade", symbol="TSLA", side="BUY", shares=5, account="DU0000001")
            assert (await fact(broker, PositionFact)).position.account == "DU0000001"
            first = await broker.snapshot("DU0000001")
            assert isinstance(first, BrokerSnapshot)
            assert first.quantity("TSLA") == 5
            assert {e.account for e in first.executions} == {"DU0000001"}
            answer = await broker.snapshot("DU9999999")
            assert isinstance(answer, Unknown)
            assert "DU9999999" in answer.reason

    with RunningGateway("--account", "DU0000001", "--account", "DU0000002", "--start", "10:00") as running:
        asyncio.run(run(running))


@pytest.mark.parametrize("executions_of", ["all", "own"])
def test_executions_of_our_client_come_back_however_client_0_is_understood(executions_of: str) -> None:
    async def run(gateway: RunningGateway) -> None:
        async with connected(gateway) as broker:
            await bought(broker)
        async with connected(gateway) as broker:
            (execution,) = (await complete(broker)).executions
            assert execution.order_ref == "entry-1"

    with RunningGateway("--start", "10:00", "--executions-of", executions_of) as running:
        asyncio.run(run(running))


def test_an_unknown_symbol_is_named(gateway: RunningGateway) -> None:
    async def run() -> None:
        async with connected(gateway) as broker:
            with pytest.raises(BrokerError, match="ZZTOP"):
                await broker.instrument("ZZTOP")
            assert (await broker.instrument("TSLA")).liquid_hours.startswith("20")

    asyncio.run(run())


def test_history_is_every_slot_up_to_the_end(gateway: RunningGateway) -> None:
    async def run() -> None:
        async with connected(gateway) as broker:
            end = datetime.fromtimestamp(await broker.current_time(), UTC).replace(second=0)
            bars = await broker.history("TSLA", end, 600)
            assert [bar.time for bar in bars] == [end - timedelta(seconds=5 * n) for n in range(120, 0, -1)]
            assert all(bar.low <= bar.close <= bar.high for bar in bars)

    asyncio.run(run())


# Answers that do not come


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
def test_a_lost_answer_is_unknown_and_the_next_is_asked_on_a_new_line(
    gateway: RunningGateway, kind: str, name: str
) -> None:
    """f08, p01: connected, with the one answer missing, is not an empty account."""

    async def run() -> None:
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

    asyncio.run(run())


def test_a_late_end_marker_is_not_taken_for_the_next_answer(gateway: RunningGateway) -> None:
    async def run() -> None:
        async with connected(gateway, answer_timeout_s=0.4) as broker:
            gateway.ctl("delay", kind="positions", ms=700)
            assert isinstance(await broker.snapshot(ACCOUNT), Unknown)  # its answer, "none", is on its way
            gateway.ctl("delay", kind="positions", off=True)
            await bought(broker)
            assert (await complete(broker)).quantity("TSLA") == 100

    asyncio.run(run())


def test_a_line_dropped_in_the_middle_of_a_snapshot_is_unknown(gateway: RunningGateway) -> None:
    async def run() -> None:
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

    asyncio.run(run())


def test_a_line_that_cannot_be_renewed_is_down(gateway: RunningGateway) -> None:
    """The client id may stay taken for a while; then it is the reconnect's turn, not the snapshot's."""

    async def run() -> None:
        async with connected(gateway, answer_timeout_s=0.3) as broker:
            gateway.ctl("silence", kind="positions", **{"for": 0.3})
            gateway.ctl("stick", client=CLIENT_ID, **{"for": 60})
            assert isinstance(await broker.snapshot(ACCOUNT), Unknown)
            answer = await broker.snapshot(ACCOUNT)
            assert isinstance(answer, Unknown)
            assert str(CLIENT_ID) in answer.reason
            assert (await fact(broker, ConnectionFact)).state == "down"
            assert not broker.connected

    asyncio.run(run())


def test_what_happens_to_an_order_during_a_lost_answer_is_told(gateway: RunningGateway) -> None:
    async def run() -> None:
        async with connected(gateway, answer_timeout_s=0.4) as broker:
            await complete(broker)
            gateway.ctl("silence", kind="completed_orders")
            asking = asyncio.create_task(broker.snapshot(ACCOUNT))
            await broker.current_time()
            placed = await resting_stop(broker)
            assert isinstance(await asking, Unknown)
            broker.send([stop(placed.order_id, "stop-1", 305.0)])
            await fact(broker, OrderFact, lambda f: f.order.stop_price == 305.0)

    asyncio.run(run())


def test_snapshots_asked_at_once_are_answered_one_after_the_other(gateway: RunningGateway) -> None:
    async def run() -> None:
        async with connected(gateway) as broker:
            await bought(broker)
            answers = await asyncio.gather(*(broker.snapshot(ACCOUNT) for _ in range(4)))
            assert all(isinstance(a, BrokerSnapshot) and a.quantity("TSLA") == 100 for a in answers)

    asyncio.run(run())


def test_a_silent_clock_fails_the_heartbeat_and_recovers(gateway: RunningGateway) -> None:
    """p15: a connection that is dead without being closed is noticed."""

    async def run() -> None:
        async with connected(gateway, answer_timeout_s=0.2) as broker:
            gateway.ctl("silence", kind="time")
            with pytest.raises(BrokerUnreachableError):
                await broker.current_time()
            gateway.ctl("silence", kind="time", off=True)
            with pytest.raises(BrokerUnreachableError):  # this answer may be the older question's
                await broker.current_time()
            assert await broker.current_time() > 0

    asyncio.run(run())


def test_nothing_is_concluded_while_tws_has_lost_ibkr(gateway: RunningGateway) -> None:
    async def run() -> None:
        async with connected(gateway) as broker:
            gateway.ctl("code", code=1100)
            assert (await fact(broker, ConnectionFact)).state == "broken"
            assert isinstance(await broker.snapshot(ACCOUNT), Unknown)
            gateway.ctl("code", code=1102)
            restored = await fact(broker, ConnectionFact)
            assert (restored.state, restored.data_lost) == ("restored", False)
            assert isinstance(await broker.snapshot(ACCOUNT), BrokerSnapshot)

    asyncio.run(run())


# Connecting


def test_client_id_in_use_is_refused_at_once(gateway: RunningGateway) -> None:
    """f22: no other id is tried."""

    async def run() -> None:
        async with connected(gateway):
            second = QueuedBroker("127.0.0.1", gateway.port, CLIENT_ID, connect_timeout_s=30.0)
            async with asyncio.timeout(BOUND_S):
                with pytest.raises(ClientIdInUseError, match="2001"):
                    await second.connect()
            assert not second.connected

    asyncio.run(run())


def test_nobody_listening_is_refused_at_once(gateway: RunningGateway) -> None:
    gateway.stop()

    async def run() -> None:
        broker = QueuedBroker("127.0.0.1", gateway.port, CLIENT_ID)
        with pytest.raises(BrokerUnreachableError, match=r"Nothing accepts connections.*Start TWS"):
            await broker.connect()
        assert broker.accounts == ()

    asyncio.run(run())


# Orders


def test_a_stop_of_the_last_connection_is_modified_and_cancelled(gateway: RunningGateway) -> None:
    """p06: orders of the run before can be managed under the same client id."""

    async def run() -> None:
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

    asyncio.run(run())


def test_another_clients_order_is_shown_and_its_cancel_refused(gateway: RunningGateway) -> None:
    async def run() -> None:
        async with connected(gateway, client_id=7) as other, connected(gateway) as broker:
            foreign = await resting_stop(other, "foreign")
            (shown,) = (await complete(broker)).open_orders
            assert (shown.client_id, shown.order_ref, shown.perm_id) == (7, "foreign", foreign.perm_id)
            broker.cancel(foreign.order_id)
            refused = await fact(broker, MessageFact, lambda f: f.order_id == foreign.order_id)
            assert refused.code == 10147
            assert len((await complete(broker)).open_orders) == 1

    asyncio.run(run())


def test_a_rejected_order_is_told_with_its_reference(gateway: RunningGateway) -> None:
    async def run() -> None:
        async with connected(gateway) as broker:
            gateway.ctl("reject", symbol="TSLA")
            broker.send([ticket(broker.free_order_id(), "entry-1")])
            refused = await fact(broker, MessageFact, lambda f: f.code == 201)
            assert (refused.order_ref, refused.symbol) == ("entry-1", "TSLA")
            assert (await complete(broker)).quantity("TSLA") == 0

    asyncio.run(run())


def test_a_corrected_execution_is_an_execution_of_its_own(gateway: RunningGateway) -> None:
    """p12: the adapter tells both; which one counts is decided where executions are booked."""

    async def run() -> None:
        async with connected(gateway) as broker:
            first = (await bought(broker)).execution
            gateway.ctl("correct", exec_id=first.exec_id, price=first.price + 1)
            second = (await fact(broker, ExecutionFact)).execution
            assert second.exec_id == first.exec_id.removesuffix("01") + "02"
            assert second.shares == first.shares
            assert second.price == pytest.approx(first.price + 1)

    asyncio.run(run())


def test_order_ids_stay_above_the_high_water_mark_after_a_roll_back(gateway: RunningGateway) -> None:
    """p03: TWS reissues order ids after its own restart."""

    async def run() -> None:
        async with connected(gateway) as broker:
            broker.send([ticket(broker.free_order_id(500), "entry-1")])
            await fact(broker, ExecutionFact)
            gateway.ctl("restart", roll_back=100)
            await fact(broker, ConnectionFact)
        async with connected(gateway) as broker:  # a new process: only the journal's mark is left
            assert broker.free_order_id(501) == 502
            assert broker.free_order_id(502) == 503
            with pytest.raises(BrokerError, match="Reset"):
                broker.free_order_id(2_100_000_000)

    asyncio.run(run())


def test_a_trade_by_hand_is_a_position_fact(gateway: RunningGateway) -> None:
    """p10: closed by hand in TWS, seen while running."""

    async def run() -> None:
        async with connected(gateway) as broker:
            await bought(broker)
            await complete(broker)
            gateway.ctl("trade", symbol="TSLA", side="SELL", shares=100)
            assert (await fact(broker, PositionFact)).position.quantity == 0
            snapshot = await complete(broker)
            assert snapshot.positions == ()
            assert {e.order_ref for e in snapshot.executions} == {"entry-1", ""}

    asyncio.run(run())


# Market data


def test_prices_and_bars_flow_and_outlive_1101_and_a_reconnect() -> None:
    async def run(gateway: RunningGateway) -> None:
        async with connected(gateway) as broker:
            for symbol in ("TSLA", "NVDA", "TSLA"):
                broker.subscribe(symbol)
            for _ in range(3):
                told = await fact(broker, PricesFact)
                assert all(price > 0 and math.isfinite(price) for price in told.prices.values())
                bar = await fact(broker, BarFact)
                assert bar.bar.time.timestamp() % 5 == 0
            gateway.ctl("code", code=1101)
            assert (await fact(broker, ConnectionFact)).data_lost
            await fact(broker, BarFact)
            gateway.ctl("drop")
            await fact(broker, ConnectionFact)
            await broker.connect()
            seen = {(await fact(broker, BarFact)).symbol for _ in range(4)}
            assert seen == {"TSLA", "NVDA"}

    with RunningGateway("--start", "10:00", "--speed", "50") as running:
        asyncio.run(run(running))
