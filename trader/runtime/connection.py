"""The line to IBKR: connected with patience, watched by a heartbeat, brought back without a person.

The client id never changes: only under it can the stops of an earlier run be managed (f22).
"""

import asyncio
import logging
import time

from trader.broker.port import Broker, ConnectionFact
from trader.clock import Clock
from trader.core.engine import Engine
from trader.core.messages import Reconnected
from trader.errors import BrokerError, BrokerUnreachableError, ClientIdInUseError

_log = logging.getLogger("trader.runtime.connection")

CONNECT_TRIES = 3
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
CLIENT_ID_TRIES = 6  # a crashed run's id may stay taken for some seconds
HEARTBEAT_S = 5.0
MISSED_BEATS = 2


async def connect_with_patience(broker: Broker, tries: int = CONNECT_TRIES) -> None:
    """Connect in `tries` tries with growing waits; a client id in use gets a few more.

    Raises BrokerUnreachableError or ClientIdInUseError, the last one met.
    """
    wait_s, left, left_for_id = FIRST_WAIT_S, tries, CLIENT_ID_TRIES
    while True:
        try:
            await broker.connect()
        except ClientIdInUseError as error:
            left_for_id -= 1
            if left_for_id <= 0:
                raise
            _log.warning("%s Trying again in %.0f s.", error.what, wait_s)
        except BrokerUnreachableError as error:
            left -= 1
            if left <= 0:
                raise
            _log.warning("%s Trying again in %.0f s.", error.what, wait_s)
        else:
            return
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, LONGEST_WAIT_S)


async def sync_clock(broker: Broker, clock: Clock, speed: float) -> None:
    """Ask the broker's time and follow it. Raises BrokerError if it does not answer."""
    broker_s = await broker.current_time()
    clock.sync(broker_s, time.monotonic(), speed)


class Line:
    """Keeps the line up while the engine runs."""

    def __init__(self, broker: Broker, clock: Clock, engine: Engine, speed: float) -> None:
        self._broker = broker
        self._clock = clock
        self._engine = engine
        self._speed = speed

    async def heartbeat(self) -> None:
        """Ask the time every few seconds: it keeps the clock, and silence means a dead line (p15)."""
        missed = 0
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            if not self._broker.connected:
                continue
            try:
                await sync_clock(self._broker, self._clock, self._speed)
            except BrokerError as error:
                missed += 1
                _log.warning("Heartbeat %d of %d missed: %s", missed, MISSED_BEATS, error.what)
                if missed >= MISSED_BEATS:
                    missed = 0
                    await self._broker.disconnect()
                    self._engine.inbox.put_nowait(ConnectionFact("down", "no answer to the heartbeat"))
                continue
            missed = 0

    async def keep_up(self) -> None:
        """Reconnect whenever the line is lost, for as long as it takes."""
        while True:
            await self._engine.line_lost.wait()
            await self._reconnect()
            if not self._broker.connected:  # lost again at once, and told before the first loss was done with
                continue
            self._engine.line_lost.clear()
            self._engine.inbox.put_nowait(Reconnected())

    async def _reconnect(self) -> None:
        wait_s, since = FIRST_WAIT_S, time.monotonic()
        while True:
            try:
                await self._broker.connect()
                self._clock.restart()
                await sync_clock(self._broker, self._clock, self._speed)
            except BrokerError as error:
                away_s = time.monotonic() - since
                _log.warning("IBKR is away since %.0f s: %s Trying again in %.0f s.", away_s, error.what, wait_s)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 1.5, LONGEST_WAIT_S)
            else:
                return
