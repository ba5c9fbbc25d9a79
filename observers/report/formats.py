"""Times, durations, settings and table rows, as commands and reports show them. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from state.history.trades import Block, Trade
from trader.time_zones import EASTERN


def clock_time(moment: datetime | None) -> str:
    """US Eastern time of day, or a dash for None."""
    return f"{moment.astimezone(EASTERN):%H:%M:%S}" if moment is not None else "-"


def real_time(moment: datetime | None) -> str:
    """Date and time in this computer's zone, or a dash for None."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}" if moment is not None else "-"


def duration(seconds: float) -> str:
    """Seconds as 1h02m, 3m20s or 12s."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def settings_lines(values: Mapping[str, object]) -> list[str]:
    """One line for each section: `risk  breaker_losses 4, max_trades_per_day 0`."""
    lines = []
    for name, value in values.items():
        nested = value.items() if isinstance(value, Mapping) else ()
        lines.append(f"  {name:<12}" + (", ".join(f"{key} {one}" for key, one in nested) or str(value)))
    return lines


def trade_row(trade: Trade, exits: object, pnl: object) -> list[object]:
    """The cells of a trade from its entry to its path; `exits` and `pnl` as the caller shows them."""
    return [
        clock_time(trade.entry_time),
        clock_time(trade.exit_time),
        trade.symbol,
        trade.side,
        trade.shares,
        trade.entry_price,
        trade.exit_price,
        exits,
        pnl,
        trade.pnl_pct,
        trade.r_multiple,
        duration(trade.duration_s),
        trade.path,
    ]


def blocks_by_filter(blocks: Sequence[Block]) -> list[tuple[str, int, str]]:
    """Filter, how often it blocked an entry, and the symbols; the most frequent first."""
    counts = Counter(block.filter for block in blocks)
    return [
        (name, count, ", ".join(sorted({block.symbol for block in blocks if block.filter == name})))
        for name, count in counts.most_common()
    ]
