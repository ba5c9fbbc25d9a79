"""docs/ORDERS.md shows the tables of the order and closing states as the code has them."""

import re
from pathlib import Path
from typing import get_args

from state.domain.model import ClosingKind, ClosingStep, OrderStatus
from trader.core.orders.closing_life import LONGEST_S, STEPS, Signal, next_step
from trader.core.orders.order_life import ORDER_LIFE, OrderSignal

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ORDERS.md").read_text(encoding="utf-8")


def test_the_page_shows_the_life_of_an_order() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|$", PAGE, re.MULTILINE)
    assert {(status, signal): following for status, signal, following in rows} == ORDER_LIFE
    assert {status for status, _ in ORDER_LIFE} == set(get_args(OrderStatus)) - {"filled"}
    assert {signal for _, signal in ORDER_LIFE} == set(get_args(OrderSignal))


def test_the_page_shows_the_steps_of_a_closing() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \| `(\w+)` \|$", PAGE, re.MULTILINE)
    assert {(kind, step, signal): following for kind, step, signal, following in rows} == STEPS


def test_the_page_shows_the_longest_waits() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|`]+ \| ([\d.]+) s \|$", PAGE, re.MULTILINE)
    assert {step: float(seconds) for step, seconds in rows} == LONGEST_S


def test_each_step_ends_in_time() -> None:
    """Every step that can be reached has a next one when its wait is over: nothing waits for ever."""
    reached = {(kind, step) for kind, step, _ in STEPS}
    reached |= {(kind, following) for (kind, _, _), following in STEPS.items() if following != "end"}
    assert {pair for pair in reached if (*pair, "late") not in STEPS} == set()
    assert {step for _, step in reached} == set(get_args(ClosingStep))
    assert {kind for kind, _ in reached} == set(get_args(ClosingKind))
    assert {signal for _, _, signal in STEPS} == set(get_args(Signal))


def test_a_signal_that_means_nothing_changes_nothing() -> None:
    assert next_step("change", "wait", "shown") == "wait"
