"""Counts what the exposure log of a gateway shows as failures of a campaign."""

from __future__ import annotations

import time

from crashlab.exposure import UNDER_WAY_S, Bounds, Context, Judgement, Span, judge_log, read_log
from crashlab.report import Tally
from paper_gateway.testing import RunningGateway

RECONNECT_S = 3.0
"""After an outage: for a new connection and its first comparison."""
START_S = 5.0
"""After a start: until the new process has connected and guards what is held."""


def without_trader(
    since_s: float, started_s: float, agreed_s: float = float("inf"), under_way_s: float = UNDER_WAY_S
) -> Span:
    """The time from the end of a trader to the next one's agreement with IBKR, at most START_S after its start."""
    until_s = min(agreed_s, started_s + START_S)
    return Span(since_s, until_s, "no trader", open_only=True, under_way_s=under_way_s)


def judge_gateway(
    tally: Tally, gateway: RunningGateway, context: Context, where: str, bounds: Bounds | None = None
) -> Judgement:
    """Judge the whole log up to now. A naked window above its bound is `unprotected`, all else is `wrong`.

    where: begins each message. The longest naked time is kept, whether it broke its bound or not.
    """
    bounds = bounds or Bounds()
    found = judge_log(read_log(gateway.port), time.time(), context)
    tally.saw_naked(found.longest_naked_s)
    for message in found.unprotected(bounds):
        tally.fail("unprotected", f"{where}: {message}")
    for message in found.wrong(bounds):
        tally.fail("wrong", f"{where}: {message}")
    return found
