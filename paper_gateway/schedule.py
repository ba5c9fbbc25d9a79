"""Actions that take effect later, in real time: purged orders, slow cancels, late decisions of IBKR."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Schedule:
    """Runs actions when they are due. The market loop calls `run_due`; tests replace `now` and need not wait."""

    now: Callable[[], float] = time.monotonic
    _waiting: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Run `action` once, `delay_s` seconds from now. Those due together keep their order."""
        self._count += 1
        heapq.heappush(self._waiting, (self.now() + delay_s, self._count, action))

    def run_due(self) -> None:
        """Run every action whose time has come."""
        now = self.now()
        while self._waiting and self._waiting[0][0] <= now:
            heapq.heappop(self._waiting)[2]()
