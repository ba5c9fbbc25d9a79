"""Every message code of TWS at every kind of order: what counts is what became of the order, not the code."""

import csv
import os
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest
from core_day import CoreDay

from trader.broker.port import BrokerOrder, OrderTicket, PricesFact
from trader.core import entries
from trader.core.orders import closing
from trader.core.orders.codes import CANCELLED, MEANINGS, UNLISTED, is_notice, meaning_of
from trader.core.strategy.ps60.breakout import Signal
from trader.core.strategy.ps60.setups import Setup
from trader.core.turn import Turn
from trader.time_zones import EASTERN

SHARED = Path(os.environ.get("TRADER_DATA_DIR", Path(__file__).resolve().parents[3] / "shared" / "data"))
TABLE = SHARED / "tws-codes.csv"
DAY = date(2025, 10, 6)
START = EASTERN.localize(datetime.fromisoformat("2025-10-06T10:00:00"))
SETUP = Setup("TSLA", 100.0, 90.0, 130.0, 140.0, 150.0, 85.0, 80.0, 50.0)
UNLISTED_CODE = 19_999
CODES = sorted({*MEANINGS, UNLISTED_CODE} - {CANCELLED})
Matches = Callable[[OrderTicket, BrokerOrder | None], bool]
KINDS: dict[str, Matches] = {
    "entry": lambda ticket, known: known is None and ticket.action == "BUY",
    "stop of the entry": lambda ticket, known: known is None and ticket.parent_id > 0,
    "new stop": lambda ticket, known: known is None and ticket.order_type == "STP" and ticket.parent_id == 0,
    "change": lambda ticket, known: known is not None,
    "exit": lambda ticket, known: known is None and ticket.order_type == "MKT" and ticket.action == "SELL",
    "cancel": lambda *_: False,
}


def started() -> CoreDay:
    day = CoreDay(DAY, {"TSLA": SETUP}, START)
    day.begin()
    price(day, 100.5)
    return day


def price(day: CoreDay, price: float) -> None:
    day._trade_at("TSLA", price)
    day.handle(PricesFact({"TSLA": price}))


def decide(day: CoreDay, decide: Callable[[Turn], object]) -> None:
    turn = Turn(day.state, day.view, day.settings, day._moment())
    decide(turn)
    for _, effect in turn.effects:
        day._carry_out(effect)
    day.handle()


def enter(day: CoreDay) -> None:
    signal = Signal("TSLA", "LONG", "momentum", 100.0, 100.5, START, START, 2.0)
    decide(day, lambda turn: entries.enter(turn, signal, SETUP, 1, 100, 99.0))


def drive(day: CoreDay, kind: str) -> None:
    """Bring the kind of order about: an entry, a trailing stop, a lost stop, an exit."""
    enter(day)
    price(day, 101.0)
    day.pass_time(10)
    position = day.state.positions.get("TSLA")
    if position is None:
        return
    if kind == "change":
        decide(day, lambda turn: closing.move_stop(turn, position, 99.5, "trail"))
    elif kind == "new stop":
        for order in day.snapshot().open_orders or ():
            day._keep(
                BrokerOrder(**{f: getattr(order, f) for f in order.__struct_fields__} | {"status": "Cancelled"})
            )
        day.handle()
    elif kind in ("exit", "cancel"):
        day.view.monitors["TSLA"].price = float("nan")  # so that it goes to the market
        decide(day, lambda turn: closing.close(turn, position, "flatten"))
    day.pass_time(60)


def assert_safe(day: CoreDay, what: str) -> None:
    """Everything that is held is covered, nothing more than that, and nothing was reversed."""
    held = day._held.get("TSLA", 0)
    live = day.snapshot().open_orders or ()
    sells = sum(order.remaining for order in live if order.action == "SELL")
    buys = sum(order.remaining for order in live if order.action == "BUY")
    assert held >= 0, f"{what}: reversed"
    assert sells <= held + buys, f"{what}: {sells} closing for {held} held"
    assert sells >= held, f"{what}: {held - sells} shares are naked"


@pytest.mark.parametrize("lives", [True, False], ids=["the order lives", "the order does not"])
@pytest.mark.parametrize("kind", KINDS)
def test_g24_every_code_at_every_kind_of_order(kind: str, lives: bool) -> None:
    """The first two orders of the kind get the code; whether they live is not what the code says."""
    for code in CODES:
        day = started()
        left = [2]

        def told(ticket: OrderTicket, known: BrokerOrder | None, code: int = code, left: list[int] = left) -> int:
            if not KINDS[kind](ticket, known) or left[0] == 0:
                return 0
            left[0] -= 1
            return code

        if kind == "cancel":
            day.cancel_code, day.keeps_cancelled = code, not lives
        elif lives:
            day.tells = told
        else:
            day.refuses = told
        drive(day, kind)
        if kind == "cancel" and not lives:  # the cancel had no effect: the stop is still there
            day.keeps_cancelled = False
            day.pass_time(120)
        assert_safe(day, f"{code} at {kind}")


def test_a_code_that_is_not_listed_says_nothing() -> None:
    assert meaning_of(UNLISTED_CODE) is UNLISTED
    assert not is_notice(UNLISTED_CODE)


def test_notices_are_those_after_which_an_order_lives() -> None:
    assert all(is_notice(code) for code in (399, 404, 481, 2109, 10349, 2104))
    assert not any(is_notice(code) for code in (103, 201, 321, 383, 2102, 2137, 10147, 10326, 10347))


@pytest.mark.skipif(not TABLE.exists(), reason=f"{TABLE} is not here")
def test_the_codes_have_the_classes_of_the_reference() -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = {int(row["code"]): (row["effect"], row["order_state_after"]) for row in csv.DictReader(file)}
    assert {code: (meaning.effect, meaning.after) for code, meaning in MEANINGS.items()} == rows
