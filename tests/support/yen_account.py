"""Answers of a scripted gateway about an account in yen, as recorded of a real one.

The rows come twice, then ledger rows of the account `All`, an end marker, the ledger again and a second end marker.
"""

from collections.abc import Sequence

from scripted_tws import ACCOUNT, Answers, Fields, complete_answers

RATE = 150.25
AMOUNTS = (("BuyingPower", "60000000.00"), ("NetLiquidation", "15000000.00"), ("TotalCashValue", "14000000.00"))


def ledger(request_id: str) -> list[Fields]:
    """By currency: what the account has in it, and its value in the base currency."""
    rows = (("USD", "10.00", RATE), ("JPY", "13998497.50", 1), ("BASE", "15000000.00", 1))
    return [
        (63, 1, request_id, "All", key, value, currency)
        for currency, cash, rate in rows
        for key, value in (("Currency", currency), ("CashBalance", cash), ("ExchangeRate", f"{rate:.2f}"))
    ]


def as_recorded(asked: Sequence[str]) -> list[Fields]:
    request_id, tags = asked[2], asked[4].split(",")
    values: list[Fields] = [(63, 1, request_id, ACCOUNT, tag, value, "JPY") for tag, value in AMOUNTS]
    assert {tag for tag, _ in AMOUNTS} < set(tags)
    more = ledger(request_id) if "$LEDGER:ALL" in tags else []
    return [*values, *values, *more, (64, 1, request_id), *more, (64, 1, request_id)]


def in_yen() -> Answers:
    return {**complete_answers(), 62: as_recorded}
