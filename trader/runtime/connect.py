"""From the settings to a connected broker, the session's clock, and the account that may be traded."""

import msgspec

from trader.broker.port import Broker
from trader.clock import Clock
from trader.config.checks import check_account
from trader.config.sections import Config
from trader.errors import ConfigError
from trader.runtime.connection import CONNECT_TRIES, connect_with_patience, sync_clock


class Endpoint(msgspec.Struct):
    """Whom to connect to. `identity` is kept in the state: state of another gateway is never applied."""

    host: str
    port: int
    identity: str
    speed: float = 1.0
    embedded: bool = False
    started: bool = False


class Connected(msgspec.Struct):
    """A line that is up, and the account that may be traded over it."""

    endpoint: Endpoint
    broker: Broker
    account: str


async def find_endpoint(config: Config) -> Endpoint:
    """The gateway of the settings; the embedded one is started where it does not run. Raises BrokerError."""
    if not config.gateway.embedded:
        host, port = config.gateway.address
        return Endpoint(host, port, f"{host}:{port}")
    from trader.broker.embedded import ensure_embedded

    info = await ensure_embedded(config.gateway, config.files.logs_dir)
    identity = f"embedded:{info.port}:{info.instance}"
    return Endpoint(info.host, info.port, identity, info.speed, embedded=True, started=info.started)


def make_broker(config: Config, endpoint: Endpoint, clock: Clock) -> Broker:
    """The line, not yet connected. The client library is imported here, inside the running loop."""
    from trader.broker.ibkr.broker import IbkrBroker

    gateway = config.gateway
    return IbkrBroker(
        endpoint.host,
        endpoint.port,
        gateway.client_id,
        gateway.connect_timeout_s,
        gateway.answer_timeout_s,
        now=clock.now,
    )


async def connect(
    config: Config, endpoint: Endpoint, broker: Broker, clock: Clock, tries: int = CONNECT_TRIES
) -> str:
    """Connect, set the clock, and return the account after it was checked (invariant 15).

    Raises BrokerError where nobody answers, ConfigError where the account may not be traded.
    """
    await connect_with_patience(broker, tries)
    clock.restart()
    await sync_clock(broker, clock, endpoint.speed)
    return choose_account(config, broker.accounts)


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
