"""Helpers of the gateway's tests of queries and data: quirks for a while, requests, and what comes in a time."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gateway_helpers import RawClient

from paper_gateway.testing import RunningGateway

POSITION, POSITION_END = "61", "62"
EXECUTION, EXECUTION_END, COMMISSION = "11", "55", "59"
COMPLETED, COMPLETED_END = "101", "102"
OPEN_ORDER, OPEN_ORDER_END = "5", "53"
ACCOUNT_VALUE, PORTFOLIO, ACCOUNT_TIME, ACCOUNT_END = "6", "7", "8", "54"
SUMMARY, SUMMARY_END = "63", "64"
TICK_PRICE, TICK_SIZE, TICK_STRING, DATA_TYPE, BAR = "1", "2", "46", "58", "50"
ERROR, TIME = "4", "49"

SYMBOL, POSITION_SHARES = 4, 14
EXEC_ID, EXEC_TIME, EXEC_PERM_ID = 14, 15, 21
Message = list[str]


@contextmanager
def quirk(gateway: RunningGateway, name: str, value: object = "") -> Iterator[None]:
    """The quirk is on inside the block."""
    gateway.ctl("quirk", name=name, value=str(value))
    try:
        yield
    finally:
        gateway.ctl("quirk", name=name, off=True)


def contract(symbol: str = "TSLA", exchange: str = "SMART") -> Message:
    """The twelve fields of a stock in a data request."""
    return ["0", symbol, "STK", "", "0.0", "", "", exchange, "", "USD", "", ""]


def within(client: RawClient, seconds: float, *kinds: str) -> list[Message]:
    """The messages of these kinds (of all, if none is named) that come within so many seconds."""
    deadline = time.monotonic() + seconds
    found: list[Message] = []
    while (left := deadline - time.monotonic()) > 0:
        if select.select([client.socket], [], [], left)[0]:
            found.append(client.read())
    return of_kind(found, *kinds) if kinds else found


def of_kind(messages: list[Message], *kinds: str) -> list[Message]:
    return [message for message in messages if message[0] in kinds]


def ask_positions(client: RawClient) -> list[Message]:
    client.send("61", "1")
    return of_kind(client.read_until(POSITION_END), POSITION)


def shares_of(rows: list[Message], symbol: str) -> list[int]:
    """The shares of each position row of a symbol."""
    return [int(row[POSITION_SHARES]) for row in rows if row[SYMBOL] == symbol]


def request_executions(client: RawClient, request_id: int, **wanted: str) -> None:
    """Send a request. wanted: the filter's fields by name."""
    names = ("account", "time", "symbol", "sec_type", "exchange", "side")
    client.send("7", "3", request_id, "0", *(wanted.get(name, "") for name in names))


def ask_executions(client: RawClient, request_id: int, **wanted: str) -> list[Message]:
    """The rows of an answer, and its commission reports."""
    request_executions(client, request_id, **wanted)
    return of_kind(client.read_until(EXECUTION_END, "1", str(request_id)), EXECUTION, COMMISSION)


def request_ticks(client: RawClient, request_id: int, symbol: str = "TSLA") -> None:
    client.send("1", "11", request_id, *contract(symbol), "0", "", "0", "0", "")


def request_bars(client: RawClient, request_id: int, symbol: str = "TSLA") -> None:
    client.send("50", "3", request_id, *contract(symbol), "5", "TRADES", "1", "")


def next_error(client: RawClient) -> tuple[str, int]:
    """The id and the code of the next error."""
    message = client.read_until(ERROR)[-1]
    return message[2], int(message[3])


def errors_of(messages: list[Message]) -> list[tuple[str, int]]:
    return [(message[2], int(message[3])) for message in of_kind(messages, ERROR)]
