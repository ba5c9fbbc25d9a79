"""One process of the trader: the lock, the log, the signals, the connection to IBKR, and then the session.

    lock, read the disk, mark crashed sessions -> connect -> trade -> stop

However the run ends, the stops stay at IBKR (invariant 12).
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from datetime import UTC, datetime
from typing import NoReturn

from state.errors import DiskSilentError, TraderError
from state.manager import StateManager
from state.storage.sessions import SessionStore, make_session_id
from trader.clock import Clock
from trader.config.sections import Config, RunOptions
from trader.errors import BrokerError, BrokerUnreachableError
from trader.log import start_logging
from trader.output import say, say_block, say_error
from trader.runtime import recovery_report as report
from trader.runtime.connection import Connected, connect, find_endpoint, make_broker
from trader.runtime.loop import Queue
from trader.runtime.session import TradingSession
from trader.runtime.stopping import Stopping

_log = logging.getLogger("trader.runtime.app")

RETRY_S = 10.0  # between tries to reach IBKR after the first three


class App:
    """Owns what lasts as long as the process: clock, queue, signals."""

    def __init__(self, config: Config, options: RunOptions) -> None:
        self.config = config
        self.options = options
        self.clock = Clock(real_gateway=not config.gateway.embedded)
        self.stopping = Stopping()
        self.timings_ms: dict[str, float] = {}
        self._queue: Queue = asyncio.Queue()
        self._began = time.perf_counter()

    async def run(self) -> int:
        """The exit code; errors that carry one are raised."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stopping.ask, signal.Signals(number).name)
        gateway = self.config.gateway
        for line in report.banner(live=gateway.live and not gateway.embedded):
            say(line)
        files = self.config.files
        with StateManager.open(files.logs_dir, make_session_id(datetime.now(UTC))) as manager:
            manager.on_failure = self.stopping.fail
            end_logging = start_logging(
                files.logs_dir, files.log_level, self.clock.now, files.log_max_mb, files.log_files
            )
            try:
                return await self._run_with(manager)
            except DiskSilentError as error:
                _exit_at_once(error)
            finally:
                # A worker thread of a cancelled task may still be writing into the folder.
                await asyncio.get_running_loop().shutdown_default_executor()
                end_logging()

    async def _run_with(self, manager: StateManager) -> int:
        self.mark("load")
        sessions = SessionStore(manager.folder)
        reporting = asyncio.create_task(_report_crashed(sessions))  # reads the disk while the connection is made
        connecting = asyncio.ensure_future(self._connect(manager))
        connected_in_time = await self.stopping.unless_asked(connecting)
        await reporting
        if not connected_in_time:
            return 0
        connected = connecting.result()
        try:
            session = TradingSession(
                self.config, self.options, self.clock, manager, sessions, connected, self._queue, self.stopping
            )
            session.timings_ms = self.timings_ms
            return await session.run(self.mark)
        finally:
            with contextlib.suppress(BrokerError):  # the connection may be lost already
                await connected.broker.disconnect()

    async def _connect(self, manager: StateManager) -> Connected:
        """Try three times. Then show the state file, without acting on it, and keep trying."""
        reported = False
        while True:
            try:
                endpoint = await find_endpoint(self.config)
                broker = make_broker(self.config, endpoint, self.clock, self._queue.put_nowait)
                account = await connect(self.config, endpoint, broker, self.clock, tries=1 if reported else 3)
            except BrokerUnreachableError as error:
                if not reported:
                    self._report_unreachable(manager, error)
                    reported = True
                await asyncio.sleep(RETRY_S)
                continue
            self.mark("connect")
            self._report_connected(Connected(endpoint, broker, account))
            return Connected(endpoint, broker, account)

    def _report_connected(self, connected: Connected) -> None:
        client_id, endpoint = self.config.gateway.client_id, connected.endpoint
        where = f"Port {endpoint.port}, Client ID: {client_id}, Account: {connected.account}"
        if endpoint.embedded:
            say(f"✓ Connected to the EMBEDDED PAPER GATEWAY - THIS IS NOT IBKR ({where}, speed {endpoint.speed:g})")
        else:
            say(f"✓ Connected to IBKR ({'Paper' if connected.account.startswith('D') else 'LIVE'}: {where})")
        warning = self.clock.warning()
        if warning:
            _log.warning("%s", warning)

    def _report_unreachable(self, manager: StateManager, error: TraderError) -> None:
        """Show the state file. It is kept and not acted upon."""
        say(f"✗ {error.what}")
        say(f"  {error.hint}")
        state = manager.loaded.state
        if state is not None:
            say(
                f"⚠️  IBKR is not reachable: the state of {state.trading_date} is all there is, and it may have "
                "drifted from what the account holds. Entries are closed; stops at IBKR stay in force."
            )
            if state.positions:
                say_block(report.position_table(state))
        say(f"  Trying again every {RETRY_S:.0f} s. Stop with Ctrl+C.")

    def mark(self, name: str) -> None:
        """Note when a step of the start was done, for the report; milliseconds since the process began."""
        self.timings_ms[name] = round((time.perf_counter() - self._began) * 1000, 1)


async def _report_crashed(sessions: SessionStore) -> None:
    """Mark sessions that have no end as crashed, and print them."""
    for crashed in await asyncio.to_thread(sessions.mark_crashed, datetime.now(UTC)):
        say(f"⚠️  Session {crashed.session_id}, started {crashed.started_at:%Y-%m-%d %H:%M:%S} UTC, had crashed.")


def _exit_at_once(error: DiskSilentError) -> NoReturn:
    """End the process at once: at its normal end Python would wait for threads that the kernel may never resume."""
    say_error(error)
    sys.stderr.flush()
    os._exit(error.exit_code)
