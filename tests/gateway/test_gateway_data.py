"""Market data over the socket: contract details, ticks, real-time bars, history, time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from gateway_helpers import RawClient, connected, decoded, running, stock, until

from paper_gateway.errors import RequestRefused
from paper_gateway.history import Pacing, parse_query, parse_time
from paper_gateway.market import EASTERN
from paper_gateway.testing import RunningGateway

NOW = datetime(2025, 10, 6, 10, 15, 7, tzinfo=EASTERN)


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    yield from running("--speed", "60")


async def test_contract_details_have_hours_of_several_days(gateway: RunningGateway) -> None:
    async with connected(gateway) as ib:
        details = await ib.reqContractDetailsAsync(stock())
        assert len(details) == 1
        assert details[0].contract.conId > 0
        assert details[0].timeZoneId == "US/Eastern"
        assert details[0].liquidHours.split(";")[0] == "20251006:0930-20251006:1600"
        assert len(details[0].tradingHours.split(";")) > 2
        assert details[0].minTick == 0.01
        by_id = await ib.reqContractDetailsAsync(details[0].contract)
        assert by_id == details
        assert await ib.reqContractDetailsAsync(stock("ZZTOP")) == []


@pytest.mark.parametrize("version", [157, 163, 164, 176])
def test_contract_details_at_older_versions(gateway: RunningGateway, version: int) -> None:
    with RawClient(gateway.port, 3, f"v100..{version}") as client:
        issuer = [""] if version >= 176 else []
        client.send("9", "8", "4", *contract(), "0", "", "", *issuer)
        name, (request_id, details) = decoded(client.read_until("52", "1", "4")[0], version)
        assert (name, request_id, details.contract.symbol) == ("contractDetails", 4, "TSLA")
        assert (details.minTick, details.stockType) == (0.01, "COMMON")
        assert details.suggestedSizeIncrement == {157: 0, 163: 1, 164: 100, 176: 100}[version]


def contract(symbol: str = "TSLA") -> list[str]:
    return ["0", symbol, "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]


async def test_ticks_come_with_every_price_that_is_known(gateway: RunningGateway) -> None:
    async with connected(gateway) as ib:
        ticker = ib.reqMktData(stock(), "", False, False)
        updates: list[float] = []
        ticker.updateEvent += lambda one: updates.append(one.last)
        await until(lambda: len(updates) > 5)
        assert ticker.bid < ticker.ask
        assert ticker.low <= ticker.last <= ticker.high
        assert min(ticker.open, ticker.close, ticker.volume, ticker.bidSize) > 0
        assert ticker.halted == 0
        ib.cancelMktData(stock())
        snapshot = await asyncio.wait_for(ib.reqTickersAsync(stock("NVDA")), 5)
        assert snapshot[0].last > 0


async def test_real_time_bars_have_no_gap_and_no_repeat(gateway: RunningGateway) -> None:
    async with connected(gateway) as ib:
        series = [ib.reqRealTimeBars(stock(symbol), 5, "TRADES", True) for symbol in ("TSLA", "SOFI")]
        await until(lambda: all(len(bars) > 30 for bars in series))
        for bars in series:
            steps = {later.time - earlier.time for earlier, later in pairwise(bars)}
            assert steps == {timedelta(seconds=5)}
            assert all(bar.low <= min(bar.open_, bar.close) for bar in bars)
            assert all(bar.high >= max(bar.open_, bar.close) for bar in bars)


async def test_real_time_bars_equal_the_history_of_the_same_time(gateway: RunningGateway) -> None:
    async with connected(gateway) as ib:
        live = ib.reqRealTimeBars(stock("AMD"), 5, "TRADES", True)
        await until(lambda: len(live) > 12)
        history = await ib.reqHistoricalDataAsync(stock("AMD"), "", "600 S", "5 secs", "TRADES", True, 2)
        known = {bar.date: bar for bar in history}
        for bar in live[:12]:
            same = known[bar.time]
            assert (same.open, same.high, same.low, same.close) == (bar.open_, bar.high, bar.low, bar.close)
            assert same.volume == bar.volume


async def test_history_in_both_date_formats_and_by_day(gateway: RunningGateway) -> None:
    async def ask(ib: Any, *query: Any, **more: Any) -> Any:
        return await asyncio.wait_for(ib.reqHistoricalDataAsync(stock(), *query, "TRADES", True, **more), 5)

    async with connected(gateway) as ib:
        end = "20251006 09:40:00 US/Eastern"
        bars = await ask(ib, end, "300 S", "1 min")
        assert [bar.date.strftime("%H:%M") for bar in bars] == ["09:35", "09:36", "09:37", "09:38", "09:39"]
        epoch = await ask(ib, end, "300 S", "1 min", formatDate=2)
        assert [bar.close for bar in epoch] == [bar.close for bar in bars]
        assert epoch[0].date == bars[0].date
        same_in_utc = await ask(ib, "20251006-13:40:00", "300 S", "1 min")
        assert list(same_in_utc) == list(bars)
        assert (await ask(ib, end, "1 D", "1 min"))[0].date.strftime("%H:%M") == "09:30"
        days = await ask(ib, "20251006 00:00:00 US/Eastern", "5 D", "1 day")
        assert len(days) >= 3


async def test_kept_up_to_date_bars_grow_and_follow(gateway: RunningGateway) -> None:
    async with connected(gateway) as ib:
        bars = await ib.reqHistoricalDataAsync(stock(), "", "300 S", "30 secs", "TRADES", True, 2, True)
        begun = len(bars)
        await until(lambda: len(bars) > begun + 2)
        times = [bar.date for bar in bars]
        assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(seconds=30)}
        finished = bars[-2]
        exact = await ib.reqHistoricalDataAsync(stock(), "", "300 S", "30 secs", "TRADES", True, 2)
        same = next(bar for bar in exact if bar.date == finished.date)
        assert (same.open, same.high, same.low, same.close) == (
            finished.open,
            finished.high,
            finished.low,
            finished.close,
        )
        assert same.volume == finished.volume


async def test_the_current_time_is_the_session_time(gateway: RunningGateway) -> None:
    async with connected(gateway) as ib:
        found = await ib.reqCurrentTimeAsync()
        assert found.astimezone(EASTERN).date().isoformat() == "2025-10-06"
        known = datetime.fromisoformat(gateway.ctl("info")["time"])
        assert timedelta(0) <= known - found < timedelta(minutes=5)


def test_no_trade_is_skipped_at_high_speed_when_stops_trigger() -> None:
    """At speed 600 several trades lie between two steps. None of them may be skipped."""
    with RunningGateway("--speed", "600", "--start", "09:45") as gateway, RawClient(gateway.port) as client:
        gateway.ctl("speed", speed=0.001)
        client.send("50", "3", "1", *contract(), "5", "TRADES", "1", "")
        gateway.ctl("trade", symbol="TSLA", side="BUY", shares=1)
        last = gateway.truth()["executions"][0]["price"]
        for index in range(8):
            gateway.ctl("trade", symbol="TSLA", side="SELL", shares=1, stop=round(last - 0.05 * (index + 1), 2))
        gateway.ctl("speed", speed=600.0)
        lows: dict[datetime, float] = {}
        while len(lows) < 240:
            bar = client.read_until("50")[-1]
            lows[datetime.fromtimestamp(int(bar[3]), EASTERN)] = float(bar[6])
        truth = gateway.truth()
    placed = datetime.fromisoformat(truth["executions"][0]["time"])
    whole = {
        start: low for start, low in lows.items() if start > placed
    }  # the first bar began before the orders were placed
    stops = [one for one in truth["completed_orders"] + truth["open_orders"] if one["order_type"] == "STP"]
    assert len(stops) == 8
    for order in stops:
        reached = min((start for start, low in whole.items() if low <= order["aux_price"]), default=None)
        done = datetime.fromisoformat(order["completed_time"]) if order["completed_time"] else None
        if done is None:
            assert reached is None
        elif min(whole) <= done < max(whole):
            assert reached is not None
            assert reached <= done <= reached + timedelta(seconds=5)


@pytest.mark.parametrize(
    "text", ["20251006 09:40:00 US/Eastern", "20251006 09:40:00", "20251006  09:40:00", "20251006-13:40:00"]
)
def test_times_are_parsed_in_every_format(text: str) -> None:
    assert parse_time(text) == datetime(2025, 10, 6, 9, 40, tzinfo=EASTERN)


@pytest.mark.parametrize(
    ("end", "size", "duration", "show"),
    [
        ("yesterday", "1 min", "1 D", "TRADES"),
        ("20251006 09:40:00 Mars/Base", "1 min", "1 D", "TRADES"),
        ("", "7 mins", "1 D", "TRADES"),
        ("", "1 min", "0 D", "TRADES"),
        ("", "1 min", "1 X", "TRADES"),
        ("", "1 min", "99999 Y", "TRADES"),
        ("", "5 secs", "1 Y", "TRADES"),
        ("", "1 min", "1 D", "WISHES"),
    ],
)
def test_history_requests_that_make_no_sense_are_refused(end: str, size: str, duration: str, show: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_query(end, size, duration, show, 1, NOW, keep=False)
    assert caught.value.code == 320


def test_pacing_limits_are_the_documented_ones() -> None:
    identical = Pacing()
    assert [identical.admits(("TSLA", "1 D"), now) for now in (0.0, 14.0, 29.5)] == [True, False, True]
    burst = Pacing()
    assert [burst.admits(("TSLA", str(n)), n * 0.1) for n in range(6)] == [True] * 5 + [False]
    steady = Pacing()
    served = [steady.admits((f"S{n}", "1 D"), n * 1.0) for n in range(61)]
    assert (all(served[:60]), served[60]) == (True, False)


def test_pacing_is_enforced_when_asked_for() -> None:
    with RunningGateway("--pacing") as gateway, RawClient(gateway.port) as client:
        for request_id in ("1", "2"):
            client.send("20", request_id, *contract(), "0", "", "1 min", "1 D", "1", "TRADES", "1", "0", "")
        client.read_until("17", "1")
        assert client.read()[:4] == ["4", "2", "2", "162"]
