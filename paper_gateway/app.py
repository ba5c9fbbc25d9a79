"""Builds a gateway from its options and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from paper_gateway.brokerage import Brokerage
from paper_gateway.errors import PortInUseError, UsageError
from paper_gateway.feed import Feed
from paper_gateway.handlers import Services
from paper_gateway.history import Pacing
from paper_gateway.market import Market, MarketError, SessionClock, replay_day, synthetic_day
from paper_gateway.options import DEFAULT_START, Options
from paper_gateway.publisher import Publisher
from paper_gateway.server import Server

log = logging.getLogger(__name__)

LOG_BYTES = 5 << 20
LOG_FILES = 3


async def run(options: Options) -> None:
    """Listen, print the ready line, and serve until SIGTERM, Ctrl+C or the control command `stop`.

    Raises UsageError for a market that cannot be built and PortInUseError.
    """
    _log_to(options.log)
    services = build(options)
    server = Server(services)
    try:
        listener = await server.listen(options.port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortInUseError(
            f"Port {options.port} on 127.0.0.1 is already in use.",
            "Stop the process that listens there (python3 -m paper_gateway ctl stop) or choose another --port.",
        ) from None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stopping.set)
    _announce(services, listener.sockets[0].getsockname()[1])
    await _serve(server)
    listener.close()
    await server.close()


def build(options: Options) -> Services:
    """Build the services from the options. Raises UsageError."""
    try:
        market = _market(options)
        brokerage = Brokerage(
            market, options.accounts, options.cash, options.positions, options.quirks, options.symbols
        )
        clock = SessionClock(market.start, options.speed)
    except MarketError as error:
        raise UsageError(str(error)) from error
    publisher = Publisher(brokerage)
    brokerage.engine.publish = publisher.publish
    feed = Feed(brokerage, publisher, clock)
    pacing = Pacing() if options.pacing else None
    return Services(brokerage, clock, publisher, feed, pacing, options.executions_of, options.seed)


def _market(options: Options) -> Market:
    if options.replay is not None:
        return replay_day(options.replay, options.start)
    return synthetic_day(options.date, options.seed, options.start or DEFAULT_START)


async def _serve(server: Server) -> None:
    """Serve until told to stop. An error in the market loop ends the process."""
    market = asyncio.create_task(server.run_market())
    stopping = asyncio.create_task(server.stopping.wait())
    await asyncio.wait((market, stopping), return_when=asyncio.FIRST_COMPLETED)
    if market.done():
        market.result()
    market.cancel()
    await asyncio.sleep(0.05)  # time to send the answer to `stop`


def _announce(services: Services, port: int) -> None:
    market = services.brokerage.market
    sys.stdout.write(
        f"paper gateway ready on 127.0.0.1:{port} account {','.join(services.brokerage.account_ids)} "
        f"date {market.trading_date} speed {services.clock.speed:g} (this is not IBKR)\n"
    )
    sys.stdout.flush()


def _log_to(file: Path | None) -> None:
    """Log to a rotating file; without one, log warnings to stderr."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    if file is not None:
        try:
            handler = RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"the log file {file} cannot be written: {error}", "choose another --log") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
