"""How a run ends: asked to by a signal or the day's end, or because nothing more may be written."""

import asyncio
import logging
from typing import Any

from state.errors import TraderError

_log = logging.getLogger("trader.runtime.app")


class Stopping:
    """One event, its reason, and the error that caused it, if one did."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.reason = ""
        self.failure: TraderError | None = None

    def ask(self, reason: str) -> None:
        """End the run in good order; a second call changes nothing."""
        self.reason = self.reason or reason
        self.event.set()

    def fail(self, error: TraderError) -> None:
        """End the run because of an error that carries the exit code."""
        if self.failure is None:
            self.failure = error
            _log.critical("%s", error)
        self.ask(error.what)

    async def unless_asked(self, work: "asyncio.Future[Any]") -> bool:
        """Wait for work; False if the end came first, and the work was cancelled. Its error is raised."""
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
