"""Requests that are refused, or that are not served, end in every client; symbols; filters of executions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from gateway_data import (
    EXEC_TIME,
    EXECUTION,
    TIME,
    ask_executions,
    contract,
    next_error,
    of_kind,
)
from gateway_helpers import RawClient, connected, running, stock
from ib_insync import MarketOrder

from paper_gateway.errors import GatewayError
from paper_gateway.market import EASTERN
from paper_gateway.market.symbols import SYMBOL, SYMBOLS
from paper_gateway.testing import RunningGateway

CLIENT_IDS = itertools.count(600)
WARNINGS = {105, 110, 165, 202, 321, 329, 399, 404, 434, 492, 10167, *range(2100, 2200)}
"""Codes that ib_insync 0.9.86 or ib_async 2.1.0 take as a warning: a request that gets one waits for ever."""


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    yield from running("--start", "10:00")


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[RawClient]:
    with RawClient(gateway.port, next(CLIENT_IDS)) as one:
        yield one


def history(**changed: str) -> list[str]:
    query = {"end": "", "size": "1 min", "duration": "900 S", "show": "TRADES", "format": "1", "exchange": "SMART"}
    query |= changed
    fields = [query["end"], query["size"], query["duration"], "1", query["show"], query["format"], "0", ""]
    return ["20", "7", *contract(exchange=query["exchange"]), "0", *fields]


@pytest.mark.parametrize(
    "request_fields",
    [
        history(size="7 mins"),
        history(duration="5 X"),
        history(duration="9 Y"),
        history(show="WISHES"),
        history(end="noon"),
        history(format="3"),
        history(exchange=""),
        ["87", "7", *contract(), "0", "1", "TRADES", "5"],
        ["88", "7", *contract(), "0", "1", "1 week"],
        ["52", "2", "7", *contract()[:9], "", "ReportSnapshot", ""],
        ["22", "7"],
        ["81", "7", "TSLA"],
        ["78", "7", "TSLA", "", "STK", "76792991"],
        ["92", "7", "", ""],
        ["62", "1", "7", "All", ""],
        ["76", "1", "7", "DU0000000", "", "0"],
        ["7", "3", "7", "0", "", "", "", "", "", "SIDEWAYS"],
        ["7", "3", "7", "0", "", "noon", "", "", "", ""],
        ["9", "8", "7", *contract("NOSUCH"), "0", "", "", "", ""],
    ],
    ids=lambda fields: " ".join(field for field in fields if field)[:40],
)
def test_the_code_of_a_refusal_ends_the_request_in_every_client(
    client: RawClient, request_fields: list[str]
) -> None:
    client.send(*request_fields)
    request_id, code = next_error(client)
    assert request_id == "7"
    assert code not in WARNINGS


@pytest.mark.parametrize(
    ("request_fields", "answer"),
    [
        (["24", "1"], ["19", "1"]),
        (["80"], ["78", "0"]),
        (["82"], ["80", "0"]),
        (["85"], ["85", "0"]),
        (["91", "26"], ["93", "26", "1", "0.0", "0.01"]),
        (["91", "4711"], ["93", "4711", "0"]),
        (["18", "1", "1"], ["16", "1", "1"]),
    ],
)
def test_requests_without_an_id_get_an_answer(
    client: RawClient, request_fields: list[str], answer: list[str]
) -> None:
    client.send(*request_fields)
    assert client.read()[: len(answer)] == answer


def test_news_bulletins_are_none(client: RawClient) -> None:
    client.send("12", "1", "1")
    client.send("13", "1")
    client.send("49", "1")
    assert client.read()[0] == TIME


async def test_the_library_gets_its_answers(gateway: RunningGateway) -> None:
    async with connected(gateway, next(CLIENT_IDS)) as ib:
        assert await ib.reqMktDepthExchangesAsync() == []
        assert await ib.reqNewsProvidersAsync() == []
        assert "ScanParameterResponse" in await ib.reqScannerParametersAsync()
        assert [(one.lowEdge, one.increment) for one in await ib.reqMarketRuleAsync(26)] == [(0.0, 0.01)]
        head = await ib.reqHeadTimeStampAsync(stock(), "TRADES", True, 2)
        assert head.year == 2025
        assert await ib.reqHistogramDataAsync(stock(), True, "1 week") == []


# Symbols


def test_the_list_of_symbols_is_closed(gateway: RunningGateway, client: RawClient) -> None:
    for symbol in ("NOSUCH", "BRK.B", "ZZZZZ"):
        client.send("9", "8", "1", *contract(symbol), "0", "", "", "", "")
        assert next_error(client) == ("1", 200)
    for symbol in ("BRK B", "AAPL", "SPY", "TSLA"):
        client.send("9", "8", "2", *contract(symbol), "0", "", "", "", "")
        details = client.read_until("52", "1", "2")[0]
        assert details[2] == details[9] == symbol
    gateway.ctl("trade", symbol="BRK B", side="BUY", shares=1)
    assert any(one["symbol"] == "BRK B" for one in gateway.truth()["positions"])


def test_more_symbols_can_be_added() -> None:
    flags = ("--symbols", "NOSUC,OTHER", "--symbols", "ZZ TOP")
    with RunningGateway(*flags) as own, RawClient(own.port) as client:
        for symbol in ("NOSUC", "OTHER", "ZZ TOP"):
            client.send("9", "8", "2", *contract(symbol), "0", "", "", "", "")
            assert client.read_until("52", "1", "2")
    with pytest.raises(GatewayError, match="is not a stock symbol"):
        RunningGateway("--symbols", "nosuch")


def test_the_listed_symbols_are_real_names() -> None:
    assert len(SYMBOLS) > 600
    assert all(SYMBOL.fullmatch(symbol) for symbol in SYMBOLS)
    wanted = {"AAPL", "TSLA", "NVDA", "AMD", "PLTR", "PATH", "SMCI", "SOFI", "HOOD", "QQQ", "SPY", "COIN", "HIMS"}
    assert wanted <= SYMBOLS


# Filters of executions


def test_executions_by_exchange(client: RawClient) -> None:
    for order_id, symbol in enumerate(("PATH", "SOFI"), 1):  # NYSE and NASDAQ
        client.place(order_id, MarketOrder("BUY", 1), stock(symbol))
        client.read_until("59")
    own = {"PATH", "SOFI"}

    def symbols(request_id: int, exchange: str) -> set[str]:
        rows = of_kind(ask_executions(client, request_id, exchange=exchange), EXECUTION)
        return {row[4] for row in rows} & own

    assert symbols(1, "") == own
    assert symbols(2, "NYSE") == {"PATH"}
    assert symbols(3, "nasdaq") == symbols(4, "ISLAND") == {"SOFI"}
    assert symbols(5, "ARCA") == set()


@pytest.mark.parametrize(
    "form",
    ["%Y%m%d %H:%M:%S", "%Y%m%d  %H:%M:%S", "%Y%m%d %H:%M:%S US/Eastern", "%Y%m%d %H:%M:%S America/New_York"],
)
def test_executions_since_a_time_of_the_instrument(client: RawClient, form: str) -> None:
    check_since(client, lambda moment: moment.strftime(form))


def test_executions_since_a_time_in_utc_or_elsewhere(client: RawClient) -> None:
    check_since(client, lambda moment: f"{moment.astimezone(UTC):%Y%m%d-%H:%M:%S}")
    check_since(client, lambda moment: f"{moment.astimezone(UTC):%Y%m%d %H:%M:%S} UTC")


def check_since(client: RawClient, written: Callable[[datetime], str]) -> None:
    """The execution is within the answer up to its own second, and not after."""
    client.place(next(CLIENT_IDS), MarketOrder("BUY", 1), stock("KO"))
    row = of_kind(client.read_until("59"), EXECUTION)[0]
    made = datetime.strptime(row[EXEC_TIME], "%Y%m%d %H:%M:%S US/Eastern").replace(tzinfo=EASTERN)
    for seconds, expected in ((-1, True), (0, True), (1, False)):
        rows = ask_executions(client, 9, time=written(made + timedelta(seconds=seconds)))
        assert (row[14] in {one[14] for one in of_kind(rows, EXECUTION)}) is expected
