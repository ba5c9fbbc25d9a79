"""How a run ends: on a signal, at the end of the day, or because of an error."""

import asyncio
import logging
from typing import Any

from state.errors import TraderError

_log = logging.getLogger("trader.runtime.app")


class Stopping:
    """The request to end the run: an event, its reason, and the error that caused it, or None."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.reason = ""
        self.failure: TraderError | None = None

    def ask(self, reason: str) -> None:
        """End the run without an error. The first reason counts."""
        self.reason = self.reason or reason
        self.event.set()

    def fail(self, error: TraderError) -> None:
        """End the run because of an error; it has the exit code. The first error counts."""
        if self.failure is None:
            self.failure = error
            _log.critical("%s", error)
        self.ask(error.what)

    async def unless_asked(self, work: "asyncio.Future[Any]") -> bool:
        """Wait for the work, and raise its error. False if the run ends first; then the work is cancelled."""
        asked = asyncio.ensure_future(self.event.wait())
        try:
            await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
            return False
        work.result()
        return True
