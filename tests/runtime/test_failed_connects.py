"""A try to connect that fails, or is given up, closes what it opened: else its client id stays in use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from gateway_helpers import until
from queued_broker import QueuedBroker
from scripted_tws import TWS_GREETING, ScriptedTws, complete_answers

from trader.clock import Clock
from trader.errors import BrokerUnreachableError
from trader.runtime.connection import connect_once

ANSWER_TIMEOUT_S = 0.2


class CountingTws(ScriptedTws):
    """Counts its connections. accepted: all of them; open_now: those that the client has not closed."""

    accepted = open_now = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.open_now += 1
        try:
            await super().serve(reader, writer)
        finally:
            self.open_now -= 1

    async def reaches(self, accepted: int, open_now: int) -> None:
        """Wait for these counts."""
        await until(lambda: (self.accepted, self.open_now) == (accepted, open_now))


@asynccontextmanager
async def without_a_clock(greeting: bytes | None = TWS_GREETING) -> AsyncIterator[CountingTws]:
    """A peer that answers everything but the time."""
    answers = {number: answer for number, answer in complete_answers().items() if number != 49}
    tws = CountingTws(answers, greeting)
    server = await asyncio.start_server(tws.serve, "127.0.0.1", 0)
    tws.port = server.sockets[0].getsockname()[1]
    try:
        yield tws
    finally:
        server.close()
        tws.hang_up()


async def test_g04_a_try_without_an_answer_about_the_time_is_closed() -> None:
    async with without_a_clock() as tws:
        broker = QueuedBroker("127.0.0.1", tws.port, 2001, answer_timeout_s=ANSWER_TIMEOUT_S)
        with pytest.raises(BrokerUnreachableError, match="the time"):
            await connect_once(broker, Clock(), 1.0)
        await tws.reaches(accepted=1, open_now=0)
        assert not broker.connected


@pytest.mark.parametrize("greeting", [TWS_GREETING, None], ids=["at the clock", "at the handshake"])
async def test_g04_a_try_that_is_given_up_is_closed(greeting: bytes | None) -> None:
    """As by Ctrl+C during a start."""
    async with without_a_clock(greeting) as tws:
        broker = QueuedBroker("127.0.0.1", tws.port, 2001)
        trying = asyncio.create_task(connect_once(broker, Clock(), 1.0))
        await tws.reaches(accepted=1, open_now=1)
        await asyncio.sleep(0.05)
        trying.cancel()
        await tws.reaches(accepted=1, open_now=0)
        with pytest.raises(asyncio.CancelledError):
            await trying
