"""Parses trading hours in the format of TWS: whether the market is open, when it opens next, when it closes."""

from __future__ import annotations

import bisect
from datetime import datetime
from functools import lru_cache

from paper_gateway.market import EASTERN


@lru_cache(maxsize=256)
def parse_hours(text: str) -> tuple[tuple[datetime, datetime], ...]:
    """`20251006:0930-20251006:1600;20251011:CLOSED` as (open, close) pairs in US/Eastern."""
    spans = []
    for day in text.split(";"):
        if day and not day.endswith("CLOSED"):
            opens, closes = day.split("-")
            spans.append((_moment(opens), _moment(closes)))
    return tuple(spans)


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%d:%H%M").replace(tzinfo=EASTERN)


def is_open(hours: str, now: datetime) -> bool:
    """Whether `now` is in one of the spans, from the open (included) to the close (excluded)."""
    spans = parse_hours(hours)
    index = bisect.bisect_right(spans, now, key=lambda span: span[0]) - 1
    return index >= 0 and now < spans[index][1]


def next_open(hours: str, now: datetime) -> datetime | None:
    """The next opening after `now`; None if `hours` has none."""
    return next((opens for opens, _ in parse_hours(hours) if opens > now), None)


def close_of(hours: str, now: datetime) -> datetime | None:
    """When the present or the next session closes; None if `hours` has none."""
    return next((closes for _, closes in parse_hours(hours) if closes > now), None)
