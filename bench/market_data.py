"""Market data of 100 symbols: the trader's connection against ib_insync alone, with the same bytes.

The bytes are the paper gateway's messages for its trades (time, last, volume, bid, ask), in pieces as read from a
socket.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Any

from bench.measure import Row, spread
from paper_gateway import replies

SYMBOLS = 100
PIECE_BYTES = 1 << 16
MESSAGES_A_TRADE = 5


def rows(rounds: int, trades: int) -> list[Row]:
    """Messages a second, and the ratio of the trader to ib_insync."""
    stream = _stream(trades)
    trader, library = [], []
    for _ in range(rounds):
        library.append(trades * MESSAGES_A_TRADE / asyncio.run(_library(stream)))
        trader.append(trades * MESSAGES_A_TRADE / asyncio.run(_connection(stream)))
    group, peer = f"market data of {SYMBOLS} symbols, messages a second", "ib_insync alone"
    ratio = spread([a / b for a, b in zip(trader, library, strict=True)])
    return [
        Row(group, peer, median(library), "a second"),
        Row(group, "the trader's connection, to its queue", median(trader), "a second", peer, ratio, 0.8, "high"),
    ]


def _stream(trades: int) -> list[bytes]:
    rng = random.Random(1)
    frames: list[bytes] = []
    for number in range(trades):
        request, price = 1 + rng.randrange(SYMBOLS), round(rng.uniform(20, 400), 2)
        frames += [
            replies.tick_string(request, 45, str(1_759_759_200 + number // 1000)),
            replies.tick_price(request, 4, price, 100),
            replies.tick_size(request, 8, 1_000_000 + number),
            replies.tick_price(request, 1, price - 0.01, 300, 1),
            replies.tick_price(request, 2, price + 0.01, 400, 1),
        ]
    data = b"".join(frames)
    return [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]


def _opened(client: Any) -> None:
    """Put the client in its state after the handshake, without a socket."""
    client._serverVersion = client.decoder.serverVersion = 176
    client._apiReady = True


async def _library(stream: list[bytes]) -> float:
    import ib_insync

    untyped: Any = ib_insync
    ib = untyped.IB()
    _opened(ib.client)
    for number in range(SYMBOLS):
        ib.wrapper.startTicker(
            number + 1, untyped.Stock(f"SYM{number}", "SMART", "USD", conId=number + 1), "mktData"
        )
    taken = _feed(ib.client._onSocketHasData, stream, lambda: None)
    assert all(ticker.last > 0 for ticker in ib.tickers()), "not every symbol was decoded"
    return taken


async def _connection(stream: list[bytes]) -> float:
    from trader.broker.ibkr.client import PacedClient
    from trader.broker.ibkr.listener import Listener
    from trader.broker.ibkr.subscriptions import Subscriptions
    from trader.broker.port import Fact, PricesFact

    facts: deque[Fact] = deque()
    listener = Listener(1, facts.append, Subscriptions(facts.append, lambda: 0))
    client = PacedClient(listener)
    _opened(client)
    listener.symbols = {number + 1: f"SYM{number}" for number in range(SYMBOLS)}
    symbols_seen: set[str] = set()

    def take() -> None:
        while facts:
            fact = facts.popleft()
            assert isinstance(fact, PricesFact)
            symbols_seen.update(fact.prices)

    taken = _feed(client._onSocketHasData, stream, take)
    assert len(symbols_seen) == SYMBOLS, "not every symbol was decoded"
    return taken


def _feed(deliver: Callable[[bytes], object], stream: list[bytes], take: Callable[[], None]) -> float:
    began = time.perf_counter()
    for piece in stream:
        deliver(piece)
        take()
    return time.perf_counter() - began
