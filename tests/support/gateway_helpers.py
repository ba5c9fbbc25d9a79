"""Helpers of the gateway's tests: a raw socket client, ib_insync's encoder, and bounded waits."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import ib_insync
from ib_insync import Contract, Order, Stock
from ib_insync.client import Client
from ib_insync.decoder import Decoder

from paper_gateway.testing import RunningGateway

WAIT_S = 10.0
UNTYPED: Any = ib_insync
"""The library, for calls that have no type annotations."""


def stock(symbol: str = "TSLA") -> Stock:
    return Stock(symbol, "SMART", "USD")


class Recorder:
    """Replaces ib_insync's wrapper and keeps the callbacks of its decoder."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, arguments))


def decoded(fields: list[str], version: int = 176) -> tuple[str, tuple[Any, ...]]:
    """The callback that ib_insync's decoder makes for a message. Its errors are raised, not logged."""
    recorder = Recorder()
    untyped_decoder: Any = Decoder
    untyped_decoder(recorder, version).handlers[int(fields[0])](fields)
    assert len(recorder.calls) == 1
    return recorder.calls[0]


class CapturingClient(Client):
    """ib_insync's encoder without a socket: keeps the messages instead of sending them."""

    def __init__(self, version: int = 176) -> None:
        super().__init__(None)  # type: ignore[no-untyped-call] # the library's own
        self.version = version
        self.sent: list[str] = []

    def isConnected(self) -> bool:  # noqa: N802 - ib_insync's name
        return True

    def serverVersion(self) -> int:  # noqa: N802 - ib_insync's name
        return self.version

    def sendMsg(self, msg: str) -> None:  # noqa: N802 - ib_insync's name
        self.sent.append(msg)


def order_fields(order_id: int, contract: Contract, order: Order, version: int = 176) -> list[str]:
    """The fields of placeOrder as ib_insync encodes them."""
    client: Any = CapturingClient(version)
    client.placeOrder(order_id, contract, order)
    fields: list[str] = client.sent[0][:-1].split("\0")
    return fields


class RawClient:
    """An API client that reads every message as a list of fields."""

    def __init__(self, port: int, client_id: int = 1, offer: str = "v157..176", *, start: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
        self.send_bytes(b"API\0" + framed(offer.encode()))
        self.version = 0
        if start:
            try:
                self.version = int(self.read()[0])
                self.send("71", "2", client_id, "")
                self.start_messages = [self.read() for _ in range(5)]
            except (EOFError, OSError):
                self.close()
                raise

    def send_bytes(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, *fields: object) -> None:
        self.send_bytes(framed("".join(f"{field}\0" for field in fields).encode()))

    def read(self) -> list[str]:
        """The next message. Raises EOFError if the gateway closed the connection."""
        (length,) = struct.unpack(">I", self._exactly(4))
        return self._exactly(length).decode()[:-1].split("\0")

    def read_until(self, *last: str) -> list[list[str]]:
        """Messages up to the first that begins with the given fields; TimeoutError after WAIT_S."""
        deadline = time.monotonic() + WAIT_S
        messages: list[list[str]] = []
        while time.monotonic() < deadline:
            messages.append(self.read())
            if messages[-1][: len(last)] == list(last):
                return messages
        raise TimeoutError(f"no message {last} among {messages}")

    def place(self, order_id: int, order: Order, contract: Contract | None = None) -> None:
        self.send(*order_fields(order_id, contract or stock(), order))

    def closed_by_peer(self) -> bool:
        """Whether the gateway closes the connection within WAIT_S, after any messages."""
        try:
            while True:
                self.read()
        except (EOFError, ConnectionError):
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        self.socket.close()

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            chunk = self.socket.recv(count - len(data))
            if not chunk:
                raise EOFError("the gateway closed the connection")
            data += chunk
        return bytes(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


async def until(condition: Callable[[], Any], timeout_s: float = WAIT_S) -> None:
    """Wait until the condition holds; AssertionError after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def connected(gateway: RunningGateway, client_id: int = 1, **options: Any) -> AsyncIterator[Any]:
    """An ib_insync client, disconnected at the end."""
    ib = UNTYPED.IB()
    await ib.connectAsync("127.0.0.1", gateway.port, clientId=client_id, **options)
    try:
        yield ib
    finally:
        ib.disconnect()


def running(*flags: str) -> Iterator[RunningGateway]:
    """The body of a fixture: a gateway process until the end of the fixture."""
    with RunningGateway(*flags) as gateway:
        yield gateway
