"""The filters that a signal must pass before an order is sent, in a fixed order. The first that blocks is counted.

The names are those of `filter_blocks` in the state:

`duplicate_signal`, `avoid_symbol`, `paused`, `circuit_breaker`, `daily_loss_limit`, `no_live_data`,
`not_warm`, `entry_window`, `already_held`, `max_attempts`, `max_positions`, `low_volume`, `choppy_market`,
`room_to_target`.

A value that is NaN or unknown blocks the entry (f20). Only entries pass through filters; stops and exits do not
(f19).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Literal, get_args

import msgspec

from state.domain.model import sign
from trader.config.sections import EntryRules, RiskRules
from trader.core.numbers import at_least, is_price
from trader.core.strategy.ps60.breakout import Signal

FilterName = Literal[
    "duplicate_signal",
    "avoid_symbol",
    "paused",
    "circuit_breaker",
    "daily_loss_limit",
    "no_live_data",
    "not_warm",
    "entry_window",
    "already_held",
    "max_attempts",
    "max_positions",
    "low_volume",
    "choppy_market",
    "room_to_target",
]
FILTER_NAMES: tuple[FilterName, ...] = get_args(FilterName)


class EntryContext(msgspec.Struct, frozen=True, kw_only=True):
    """Trader, account and market at the moment of a signal."""

    now: datetime
    window: tuple[datetime, datetime] | None  # MarketHours.entry_window; None: no entries today
    live_data: bool  # real-time bars come, and the price is fresh
    price: float  # the last trade, dollars
    target1: float  # Setup.target1_of(side)
    warm: bool
    atr: float | None  # of 1-minute candles, dollars
    range_5m: float | None  # dollars
    attempts: int  # filled entries of this symbol, side and pivot today
    open_positions: int  # managed positions, and pending entries in other symbols
    held: bool  # the account holds the symbol, own or foreign, or an entry in it is pending
    equity: float  # at the start of the day, dollars
    daily_pnl: float  # today's, dollars
    trades_today: int
    consecutive_losses: int
    consecutive_errors: int
    breaker_tripped: bool = False  # or the loss limit is reached; both stay in force for the day
    paused: bool = False  # by the operator, or entries are closed for another reason, or the symbol is halted
    avoided: bool = False  # the symbol is one of universe.avoid_symbols
    last_break: datetime | None = None  # break_time of the latest signal acted upon, same symbol and side


def first_block(signal: Signal, context: EntryContext, entry: EntryRules, risk: RiskRules) -> FilterName | None:
    """The name of the first filter, in the order above, that blocks the entry; None lets it pass."""
    for name in FILTER_NAMES:
        if _BLOCKS[name](signal, context, entry, risk):
            return name
    return None


def breaker_trips(consecutive_losses: int, consecutive_errors: int, risk: RiskRules) -> bool:
    """Whether so many losses, or broker errors, in a row close entries for the day."""
    return consecutive_losses >= risk.breaker_losses or consecutive_errors >= risk.breaker_errors


def daily_loss_reached(daily_pnl: float, equity: float, risk: RiskRules) -> bool:
    """Whether the day's loss has reached `max_daily_loss_pct` of the equity, or is unknown."""
    if not math.isfinite(daily_pnl) or not math.isfinite(equity) or equity <= 0:
        return True
    return daily_pnl <= -equity * risk.max_daily_loss_pct / 100


def _duplicate(signal: Signal, c: EntryContext, _e: EntryRules, _r: RiskRules) -> bool:
    return c.last_break is not None and signal.break_time <= c.last_break


def _breaker(_s: Signal, c: EntryContext, _e: EntryRules, risk: RiskRules) -> bool:
    full = 0 < risk.max_trades_per_day <= c.trades_today
    return c.breaker_tripped or full or breaker_trips(c.consecutive_losses, c.consecutive_errors, risk)


def _not_warm(_s: Signal, c: EntryContext, _e: EntryRules, _r: RiskRules) -> bool:
    return not c.warm or not is_price(c.price) or not _finite(c.atr) or not _finite(c.range_5m)


def _outside_window(_s: Signal, c: EntryContext, _e: EntryRules, _r: RiskRules) -> bool:
    return c.window is None or not c.window[0] <= c.now < c.window[1]


def _low_volume(signal: Signal, _c: EntryContext, entry: EntryRules, _r: RiskRules) -> bool:
    return not at_least(signal.volume_ratio, entry.min_volume_ratio)


def _choppy(_s: Signal, c: EntryContext, entry: EntryRules, _r: RiskRules) -> bool:
    if c.atr is None or c.range_5m is None:
        return True
    return not at_least(c.range_5m, entry.choppy_atr_ratio * c.atr)


def _no_room(signal: Signal, c: EntryContext, entry: EntryRules, _r: RiskRules) -> bool:
    room = (c.target1 - c.price) * sign(signal.side)
    return not at_least(room, c.price * entry.room_to_target_pct / 100)


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value >= 0


_BLOCKS: dict[FilterName, Callable[[Signal, EntryContext, EntryRules, RiskRules], bool]] = {
    "duplicate_signal": _duplicate,
    "avoid_symbol": lambda _s, c, _e, _r: c.avoided,
    "paused": lambda _s, c, _e, _r: c.paused,
    "circuit_breaker": _breaker,
    "daily_loss_limit": lambda _s, c, _e, r: daily_loss_reached(c.daily_pnl, c.equity, r),
    "no_live_data": lambda _s, c, _e, _r: not c.live_data,
    "not_warm": _not_warm,
    "entry_window": _outside_window,
    "already_held": lambda _s, c, _e, _r: c.held,
    "max_attempts": lambda _s, c, e, _r: c.attempts >= e.max_attempts,
    "max_positions": lambda _s, c, e, _r: c.open_positions >= e.max_positions,
    "low_volume": _low_volume,
    "choppy_market": _choppy,
    "room_to_target": _no_room,
}
