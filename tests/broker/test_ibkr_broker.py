"""The broker port against a real gateway process: connecting, snapshots, market data."""

import asyncio
import math
from datetime import UTC, datetime, timedelta

import pytest
from ibkr_cases import (
    ACCOUNT,
    BOUND_S,
    CLIENT_ID,
    bought,
    complete,
    connected,
    fact,
    stop,
    ticket,
)
from queued_broker import QueuedBroker

from paper_gateway.testing import RunningGateway
from trader.broker.port import (
    BarFact,
    Broker,
    CommissionFact,
    ConnectionFact,
    ExecutionFact,
    PositionFact,
    PricesFact,
)
from trader.errors import BrokerError, BrokerUnreachableError, ClientIdInUseError


async def test_an_empty_account_is_a_complete_snapshot(gateway: RunningGateway) -> None:
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


async def test_a_bracket_is_one_write_and_comes_back_whole(gateway: RunningGateway) -> None:
    async with connected(gateway) as broker:
        await complete(broker)  # from here on position changes are reported
        tsla = await broker.instrument("TSLA")
        entry_id = broker.free_order_id(41)
        stop_id = broker.free_order_id(entry_id)
        assert (entry_id, stop_id) == (42, 43)
        broker.send(
            [
                ticket(entry_id, "entry-1", con_id=tsla.con_id, transmit=False),
                stop(stop_id, "stop-1", 300.0, con_id=tsla.con_id, parent_id=entry_id),
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
        assert (working.order_ref, working.parent_id, working.stop_price) == ("stop-1", entry_id, 300.0)
        (done,) = snapshot.completed_orders
        assert (done.order_ref, done.quantity, done.filled, done.order_id) == ("entry-1", 100, 100, 0)
        assert snapshot.executions[0].commission == 1.0


async def test_other_accounts_are_kept_apart() -> None:
    """f24: two accounts summed into one position."""
    with RunningGateway("--account", "DU0000001", "--account", "DU0000002", "--start", "10:00") as gateway:
        async with connected(gateway) as broker:
            await complete(broker, "DU0000001")
            gateway.ctl("trade", symbol="TSLA", side="BUY", shares=7, account="DU0000002")
            gateway.ctl("trade", symbol="TSLA", side="BUY", shares=5, account="DU0000001")
            assert (await fact(broker, PositionFact)).position.account == "DU0000001"
            first = await complete(broker, "DU0000001")
            assert first.quantity("TSLA") == 5
            assert {e.account for e in first.executions} == {"DU0000001"}
            with pytest.raises(BrokerError, match="DU9999999"):
                await broker.ask("positions", "DU9999999")


@pytest.mark.parametrize("executions_of", ["all", "own"])
async def test_own_executions_are_reported_for_either_meaning_of_client_0(executions_of: str) -> None:
    with RunningGateway("--start", "10:00", "--executions-of", executions_of) as gateway:
        async with connected(gateway) as broker:
            await bought(broker)
        async with connected(gateway) as broker:
            (execution,) = (await complete(broker)).executions
            assert execution.order_ref == "entry-1"


async def test_an_unknown_symbol_is_named(gateway: RunningGateway) -> None:
    async with connected(gateway) as broker:
        with pytest.raises(BrokerError, match="ZZTOP"):
            await broker.instrument("ZZTOP")
        assert (await broker.instrument("TSLA")).liquid_hours.startswith("20")


async def test_history_is_every_slot_up_to_the_end(gateway: RunningGateway) -> None:
    async with connected(gateway) as broker:
        end = datetime.fromtimestamp(await broker.current_time(), UTC).replace(second=0)
        bars = await broker.history("TSLA", end, 600)
        assert [bar.time for bar in bars] == [end - timedelta(seconds=5 * n) for n in range(120, 0, -1)]
        assert all(bar.low <= bar.close <= bar.high for bar in bars)


# Connecting


async def test_client_id_in_use_is_refused_at_once(gateway: RunningGateway) -> None:
    """f22: no other id is tried."""
    async with connected(gateway):
        second = QueuedBroker("127.0.0.1", gateway.port, CLIENT_ID, connect_timeout_s=30.0)
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(ClientIdInUseError, match="2001"):
                await second.connect()
        assert not second.connected


async def test_a_port_without_a_listener_is_refused_at_once(gateway: RunningGateway) -> None:
    gateway.stop()
    broker = QueuedBroker("127.0.0.1", gateway.port, CLIENT_ID)
    with pytest.raises(BrokerUnreachableError, match=r"Nothing accepts connections.*Start TWS"):
        await broker.connect()
    assert broker.accounts == ()


# Market data


async def test_prices_and_bars_flow_and_outlive_1101_and_a_reconnect() -> None:
    with RunningGateway("--start", "10:00", "--speed", "50") as gateway:
        async with connected(gateway) as broker:
            for symbol in ("TSLA", "NVDA", "TSLA"):
                broker.subscribe(symbol)
            for _ in range(3):
                prices = (await fact(broker, PricesFact)).prices
                assert all(price > 0 and math.isfinite(price) for price in prices.values())
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
