"""Filters: each blocks under its own name, in the documented order; an unknown value blocks."""

import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

import trader.core.strategy.ps60.filters as module
from trader.config.sections import EntryRules, RiskRules
from trader.core.strategy.ps60.breakout import Signal
from trader.core.strategy.ps60.filters import FILTER_NAMES, EntryContext, first_block
from trader.time_zones import EASTERN

NOW = EASTERN.localize(datetime.fromisoformat("2025-10-06T10:00:00"))
MINUTE = timedelta(minutes=1)
SIGNAL = Signal("TSLA", "LONG", "momentum", 100.0, 100.4, NOW - MINUTE, NOW - MINUTE, 1.6)
CONTEXT = EntryContext(
    now=NOW,
    window=(NOW - 15 * MINUTE, NOW + 300 * MINUTE),
    live_data=True,
    price=100.4,
    target1=105.0,
    warm=True,
    atr=0.2,
    range_5m=0.5,
    attempts=0,
    open_positions=0,
    held=False,
    equity=100_000.0,
    daily_pnl=0.0,
    trades_today=0,
    consecutive_losses=0,
    consecutive_errors=0,
)
ENTRY, RISK = EntryRules(), RiskRules()

BLOCKING: dict[str, dict[str, Any]] = {
    "duplicate_signal": {"last_break": NOW - MINUTE},
    "avoid_symbol": {"avoided": True},
    "paused": {"paused": True},
    "circuit_breaker": {"breaker_tripped": True},
    "daily_loss_limit": {"daily_pnl": -3000.0},
    "no_live_data": {"live_data": False},
    "not_warm": {"warm": False},
    "entry_window": {"now": NOW - 16 * MINUTE},
    "already_held": {"held": True},
    "max_attempts": {"attempts": 2},
    "max_positions": {"open_positions": 5},
    "choppy_market": {"range_5m": 0.099},
    "room_to_target": {"target1": 101.9},
}


def test_a_clean_signal_passes() -> None:
    assert first_block(SIGNAL, CONTEXT, ENTRY, RISK) is None


@pytest.mark.parametrize(("name", "facts"), BLOCKING.items())
def test_each_filter_blocks_under_its_name(name: str, facts: dict[str, Any]) -> None:
    assert first_block(SIGNAL, replace(CONTEXT, **facts), ENTRY, RISK) == name


def test_low_volume_blocks() -> None:
    assert first_block(replace(SIGNAL, volume_ratio=0.69), CONTEXT, ENTRY, RISK) == "low_volume"
    assert first_block(replace(SIGNAL, volume_ratio=0.7), CONTEXT, ENTRY, RISK) is None


def test_the_first_in_order_is_the_one_that_counts() -> None:
    facts = {key: value for block in BLOCKING.values() for key, value in block.items()}
    signal = replace(SIGNAL, volume_ratio=0.1)
    blocked_by = []
    for _ in FILTER_NAMES:
        blocked = first_block(signal, replace(CONTEXT, **facts), ENTRY, RISK)
        assert blocked is not None
        blocked_by.append(blocked)
        if blocked == "low_volume":
            signal = SIGNAL
        for key in BLOCKING.get(blocked, {}):
            del facts[key]
    assert tuple(blocked_by) == FILTER_NAMES
    assert module.__doc__ is not None
    at = [module.__doc__.index(f"`{name}`") for name in FILTER_NAMES]
    assert at == sorted(at)


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"price": math.nan}, "not_warm"),
        ({"atr": None}, "not_warm"),
        ({"atr": math.nan}, "not_warm"),
        ({"range_5m": None}, "not_warm"),
        ({"target1": math.nan}, "room_to_target"),
        ({"daily_pnl": math.nan}, "daily_loss_limit"),
        ({"equity": math.nan}, "daily_loss_limit"),
        ({"equity": 0.0}, "daily_loss_limit"),
        ({"window": None}, "entry_window"),
    ],
)
def test_f20_what_is_not_known_blocks(facts: dict[str, Any], name: str) -> None:
    assert first_block(SIGNAL, replace(CONTEXT, **facts), ENTRY, RISK) == name


def test_f20_a_volume_that_is_nan_blocks() -> None:
    assert first_block(replace(SIGNAL, volume_ratio=math.nan), CONTEXT, ENTRY, RISK) == "low_volume"


@pytest.mark.parametrize(
    ("facts", "passes"),
    [
        ({"last_break": NOW - 2 * MINUTE}, True),
        ({"daily_pnl": -2999.99}, True),
        ({"now": NOW - 15 * MINUTE}, True),
        ({"now": NOW + 300 * MINUTE}, False),  # the window's end is outside
        ({"attempts": 1, "open_positions": 4}, True),
        ({"range_5m": 0.1}, True),
        ({"target1": 101.906}, True),  # 1.5 % of 100.40 is 1.506
        ({"target1": 101.905}, False),
        ({"consecutive_losses": 3, "consecutive_errors": 4, "trades_today": 500}, True),
        ({"consecutive_losses": 4}, False),
        ({"consecutive_errors": 5}, False),
    ],
)
def test_the_limits(facts: dict[str, Any], passes: bool) -> None:
    assert (first_block(SIGNAL, replace(CONTEXT, **facts), ENTRY, RISK) is None) is passes


def test_room_is_measured_downwards_for_a_short() -> None:
    short = replace(SIGNAL, side="SHORT")
    assert first_block(short, replace(CONTEXT, target1=98.8), ENTRY, RISK) is None
    assert first_block(short, replace(CONTEXT, target1=99.0), ENTRY, RISK) == "room_to_target"
    assert first_block(short, replace(CONTEXT, target1=105.0), ENTRY, RISK) == "room_to_target"


def test_the_days_count_of_trades_is_part_of_the_breaker_where_it_is_set() -> None:
    risk = RiskRules(max_trades_per_day=3)
    assert first_block(SIGNAL, replace(CONTEXT, trades_today=2), ENTRY, risk) is None
    assert first_block(SIGNAL, replace(CONTEXT, trades_today=3), ENTRY, risk) == "circuit_breaker"
