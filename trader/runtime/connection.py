"""The connection to IBKR: finds the gateway, connects with retries, checks by a heartbeat, and reconnects.

The client id never changes: the stops of an earlier run can be managed only under their own client id (f22).
"""

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from trader.broker.port import Broker, ConnectionFact, FactSink
from trader.clock import Clock
from trader.config.checks import check_account
from trader.config.sections import Config
from trader.core.messages import Message, Reconnected
from trader.errors import BrokerError, BrokerUnreachableError, ClientIdInUseError, ConfigError

_log = logging.getLogger("trader.connection")

CONNECT_TRIES = 3
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
CLIENT_ID_TRIES = 6  # the id of a crashed run may stay in use for some seconds
HEARTBEAT_S = 5.0
MISSED_BEATS = 2  # in a row, after which the connection counts as lost


class Endpoint(msgspec.Struct):
    """A gateway to connect to. identity: kept in the state, since state of another gateway is never applied."""

    host: str
    port: int
    identity: str
    speed: float = 1.0
    embedded: bool = False
    started: bool = False


class Connected(msgspec.Struct):
    """A connection that is up, and the account that may be traded over it."""

    endpoint: Endpoint
    broker: Broker
    account: str


async def find_endpoint(config: Config) -> Endpoint:
    """The configured gateway; the embedded one is started if it does not run. Raises BrokerError."""
    if not config.gateway.embedded:
        host, port = config.gateway.address
        return Endpoint(host, port, f"{host}:{port}")
    from trader.broker.embedded import ensure_embedded

    info = await ensure_embedded(config.gateway, config.files.logs_dir)
    identity = f"embedded:{info.port}:{info.instance}"
    return Endpoint(info.host, info.port, identity, info.speed, embedded=True, started=info.started)


def make_broker(config: Config, endpoint: Endpoint, clock: Clock, sink: FactSink) -> Broker:
    """The broker, not yet connected. sink: gets its facts. Imports the client library, inside the event loop."""
    from trader.broker.ibkr.broker import IbkrBroker

    gateway = config.gateway
    return IbkrBroker(
        endpoint.host,
        endpoint.port,
        gateway.client_id,
        sink,
        gateway.connect_timeout_s,
        gateway.answer_timeout_s,
    )


async def connect(
    config: Config, endpoint: Endpoint, broker: Broker, clock: Clock, tries: int = CONNECT_TRIES
) -> str:
    """Connect, set the clock, check the account (invariant 15) and return it.

    Raises BrokerError if there is no answer, ConfigError if the account may not be traded. Then nothing stays open.
    """
    await connect_with_patience(broker, clock, endpoint.speed, tries)
    try:
        return choose_account(config, broker.accounts)
    except ConfigError:
        await broker.disconnect()
        raise


def choose_account(config: Config, accounts: tuple[str, ...]) -> str:
    """The configured account, or the only one. Raises ConfigError."""
    wanted = config.gateway.account
    if not accounts:
        raise ConfigError("IBKR named no account.", "Log TWS or IB Gateway in, then start again.")
    if wanted and wanted not in accounts:
        raise ConfigError(
            f"The login manages {', '.join(accounts)}, not gateway.account {wanted}.",
            "Log in to that account, or correct gateway.account in trader.toml.",
        )
    if not wanted and len(accounts) > 1:
        raise ConfigError(
            f"The login manages several accounts: {', '.join(accounts)}.",
            "Name one as account under [gateway] in trader.toml.",
        )
    account = wanted or accounts[0]
    check_account(config, account)
    return account


async def connect_once(broker: Broker, clock: Clock, speed: float) -> None:
    """Connect and set the clock, in one try. Raises BrokerError.

    A try that fails closes what it opened: a connection without a clock would keep the client id in use (g04).
    """
    try:
        await broker.connect()
        clock.restart()
        await sync_clock(broker, clock, speed)
    except BaseException:
        await broker.disconnect()
        raise


async def connect_with_patience(broker: Broker, clock: Clock, speed: float, tries: int = CONNECT_TRIES) -> None:
    """Connect in `tries` tries with growing pauses; if the client id is in use, in CLIENT_ID_TRIES.

    A lost answer about the time is one failed try, and the next one uses a new connection.

    Raises BrokerUnreachableError or ClientIdInUseError of the last try.
    """
    wait_s, left, left_for_id = FIRST_WAIT_S, tries, CLIENT_ID_TRIES
    while True:
        try:
            await connect_once(broker, clock, speed)
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
    """Ask for the broker's time and set the session clock. Raises BrokerError if there is no answer."""
    broker_s = await broker.current_time()
    clock.sync(broker_s, time.monotonic(), speed)


class ConnectionKeeper:
    """Keeps the connection up while the session runs. put: takes messages for the engine."""

    def __init__(self, broker: Broker, clock: Clock, put: Callable[[Message], None], speed: float) -> None:
        self._broker = broker
        self._clock = clock
        self._put = put
        self._speed = speed
        self._lost = asyncio.Event()

    def lost(self) -> None:
        """The connection was lost: reconnect."""
        self._lost.set()

    async def heartbeat(self) -> None:
        """Ask for the time every HEARTBEAT_S: it sets the clock, and missing answers end the connection (p15)."""
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
                    self._put(ConnectionFact("down", "no answer to the heartbeat"))
                continue
            missed = 0

    async def keep_up(self) -> None:
        """Reconnect whenever the connection is lost, for as long as it takes."""
        while True:
            await self._lost.wait()
            await self._reconnect()
            if not self._broker.connected:  # lost again already; `_lost` is still set
                continue
            self._lost.clear()
            self._put(Reconnected())

    async def _reconnect(self) -> None:
        wait_s, lost_at_s = FIRST_WAIT_S, time.monotonic()
        while True:
            try:
                await connect_once(self._broker, self._clock, self._speed)
            except BrokerError as error:
                lost_s = time.monotonic() - lost_at_s
                _log.warning(
                    "Disconnected from IBKR for %.0f s: %s Trying again in %.0f s.", lost_s, error.what, wait_s
                )
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 1.5, LONGEST_WAIT_S)
            else:
                return
