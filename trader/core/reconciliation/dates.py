"""Executions and completed orders of another trading date: IBKR may list them, and they never count (g26)."""

from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TypeVar, cast

from trader.broker.port import BrokerExecution, BrokerOrder
from trader.time_zones import EASTERN

Rows = TypeVar("Rows", bound=tuple[object, ...])


@lru_cache(maxsize=4)
def _bounds(trading_date: str) -> tuple[datetime, datetime]:
    """Midnight in New York at the beginning and at the end of a date."""
    day = datetime.combine(date.fromisoformat(trading_date), datetime.min.time())
    return EASTERN.localize(day), EASTERN.localize(day + timedelta(days=1))


def is_of_date(moment: datetime, trading_date: str) -> bool:
    """Whether a moment is on that date in New York."""
    start, end = _bounds(trading_date)
    return start <= moment < end


def rows_of_date(rows: Rows, trading_date: str) -> Rows:
    """An answer without its executions and completed orders of other dates. A row without a time is kept."""
    found = tuple(row for row in rows if (at := _time_of(row)) is None or is_of_date(at, trading_date))
    return rows if len(found) == len(rows) else cast("Rows", found)


def _time_of(row: object) -> datetime | None:
    if isinstance(row, BrokerExecution):
        return row.time
    return row.completed_at if isinstance(row, BrokerOrder) else None
