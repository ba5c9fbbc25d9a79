"""Timeouts, limits and regular updates, with a gateway in this process, where they can be made short."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gateway_helpers import RawClient, connected, framed, stock, until

from paper_gateway import app, contract_lookup, data_requests, options, server
from paper_gateway.errors import GatewayError, RequestRefused, UsageError
from paper_gateway.orders import ContractRef
from paper_gateway.testing import RunningGateway


@asynccontextmanager
async def serving(*flags: str) -> AsyncIterator[Any]:
    """A gateway in this event loop, with `.port` and `.services`."""
    services = app.build(options.parse(flags))
    one = server.Server(services)
    listener = await one.listen(0)
    market = asyncio.create_task(one.run_market())
    try:
        yield SimpleNamespace(port=listener.sockets[0].getsockname()[1], services=services)
    finally:
        market.cancel()
        listener.close()
        await one.close()


@pytest.mark.parametrize("begun", [b"", b"AP", b"API\0", b"API\0\0\0\0\x09v1", b"CTL\0\0\0\0\x05{"])
async def test_a_connection_that_does_not_finish_its_handshake_is_closed(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_TIMEOUT_S", 0.1)
    async with serving() as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(begun)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_client_whose_frame_arrives_too_slowly_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_TIMEOUT_S", 0.1)
    async with serving() as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"API\0" + framed(b"v157..176") + framed(b"71\0002\0001\0\0"))
        await until(lambda: gateway.services.publisher.sessions)
        await asyncio.sleep(0.15)  # an idle client must not time out
        assert 1 in gateway.services.publisher.sessions
        writer.write(b"\0\0\0\x20half a fra")
        await until(lambda: not gateway.services.publisher.sessions)
        await asyncio.wait_for(reader.read(), 5)
        writer.close()


async def test_connections_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    async with serving() as gateway, connected(gateway, 1), connected(gateway, 2):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_accounts_are_refreshed_without_a_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ACCOUNT_REFRESH_S", 0.05)
    async with serving("--speed", "60") as gateway, connected(gateway) as ib:
        gateway.services.brokerage.order_entry.place_manual("TSLA", "BUY", 100, "", None, None)
        await ib.accountSummaryAsync()
        updates: dict[str, set[str]] = {"value": set(), "summary": set(), "portfolio": set()}
        ib.accountValueEvent += lambda one: updates["value"].add(f"{one.tag} {one.value}")
        ib.accountSummaryEvent += lambda one: updates["summary"].add(f"{one.tag} {one.value}")
        ib.updatePortfolioEvent += lambda one: updates["portfolio"].add(str(one.marketPrice))
        await until(lambda: all(len(seen) > 2 for seen in updates.values()))


async def test_ticks_share_so_many_market_data_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_requests, "MAX_LINES", 2)
    async with serving() as gateway, connected(gateway) as ib:
        codes: list[int] = []
        ib.errorEvent += lambda _, code, *__: codes.append(code)
        for symbol in ("TSLA", "NVDA", "AMD"):
            ib.reqMktData(stock(symbol), "", False, False)
        await until(lambda: 101 in codes)
        assert len(gateway.services.publisher.sessions[1].subscriptions.ticks) == 2


def test_a_client_may_ask_for_so_many_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract_lookup, "MAX_SYMBOLS", 10)
    found = app.build(options.parse([])).brokerage.contracts
    found.resolve(ContractRef(symbol="AAPL", exchange="SMART"))
    found.resolve(ContractRef(symbol="MSFT", exchange="SMART"))
    with pytest.raises(RequestRefused, match="at most 10 stocks"):
        found.resolve(ContractRef(symbol="AMZN", exchange="SMART"))
    assert found.resolve(ContractRef(symbol="AAPL", exchange="SMART")).symbol == "AAPL"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--date", "2025-12-25"), "not a trading day"),
        (("--replay", "nowhere"), "nowhere"),
        (("--log", "/"), "log file"),
    ],
)
def test_wrong_flags_are_named(flags: tuple[str, str], complaint: str) -> None:
    with pytest.raises(GatewayError, match=complaint):
        RunningGateway(*flags)


@pytest.mark.parametrize(
    "flag", ["--port=70000", "--speed=0", "--start=25:00", "--date=x", "--cash=nan", "--account=U1"]
)
def test_wrong_values_are_usage_errors(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options.parse([flag])
    assert ended.value.code == 2
    assert flag.split("=")[0] in capsys.readouterr().err


def test_a_recorded_day_is_replayed_from_its_own_start(tmp_path: Path) -> None:
    lines = ["time,open,high,low,close,volume"]
    for minute in range(30, 34):
        lines.append(f"2025-10-21T09:{minute}:00-04:00,100.0,101.0,99.0,100.5,1200")
    (tmp_path / "ABC.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    flags = ("--replay", str(tmp_path), "--start", "09:32", "--speed", "30")
    with RunningGateway(*flags) as gateway, RawClient(gateway.port) as client:
        info = gateway.ctl("info")
        assert (info["trading_date"], info["start"]) == ("2025-10-21", "2025-10-21T09:32:00-04:00")
        end = "20251021 09:32:00 US/Eastern"
        contract = ["0", "ABC", "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]
        client.send("20", "1", *contract, "0", end, "1 min", "120 S", "1", "TRADES", "2", "0", "")
        bars = client.read_until("17", "1")[-1]
        first = int(datetime.fromisoformat("2025-10-21T09:30:00-04:00").timestamp())
        assert bars[4] == "2"
        assert bars[5:11] == [str(first), "100.0", "101.0", "99.0", "100.5", "1200"]


def test_day_orders_end_with_the_session_and_market_orders_then_rest() -> None:
    with RunningGateway("--start", "15:59:58", "--speed", "10") as gateway, RawClient(gateway.port) as client:
        contract = ["0", "TSLA", "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]
        client.send("50", "3", "9", *contract, "5", "TRADES", "1", "")
        gateway.ctl("trade", symbol="TSLA", side="BUY", shares=1, limit=1.0)
        client.read_until("50", "3", "9")
        gateway.ctl("speed", speed=100.0)
        deadline = time.monotonic() + 10
        while gateway.truth()["open_orders"]:
            assert time.monotonic() < deadline
        assert [one["status"] for one in gateway.truth()["completed_orders"]] == ["Cancelled"]
        assert gateway.ctl("trade", symbol="TSLA", side="BUY", shares=1)["status"] == "PreSubmitted"
        assert gateway.errors() == ""


def test_errors_of_the_market_are_usage_errors() -> None:
    with pytest.raises(UsageError):
        app.build(options.parse(["--date", "2025-10-05"]))
