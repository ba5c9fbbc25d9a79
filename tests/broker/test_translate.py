"""IBKR's objects as plain values: unset values, values that are not numbers, rows that are left out."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.broker.ibkr.translate import (
    UNSET_DOUBLE,
    account_values_of,
    bars_between,
    completed_order_of,
    connection_fact_of,
    history_chunks,
    instrument_of,
    open_order_of,
    price_or_none,
    whole,
)
from trader.errors import BrokerError

END = datetime(2025, 10, 6, 15, 0, tzinfo=UTC)
CONTRACT = SimpleNamespace(symbol="AAPL", conId=265598, secType="STK", currency="USD")
STATE = SimpleNamespace(status="Submitted", warningText="", completedStatus="Filled Size: 60", completedTime="")


def order(**given: Any) -> SimpleNamespace:
    usual = {
        "orderRef": "stop-1",
        "permId": 3_000_000_001,
        "orderId": 7,
        "clientId": 2001,
        "ocaType": 3,
        "tif": "GTC",
        "account": "DU1",
        "action": "SELL",
        "totalQuantity": 100.0,
        "filledQuantity": UNSET_DOUBLE,
        "orderType": "STP",
        "lmtPrice": 0.0,
        "auxPrice": 9.5,
        "trailStopPrice": UNSET_DOUBLE,
        "parentId": 0,
        "ocaGroup": "",
    }
    return SimpleNamespace(**usual | given)


@pytest.mark.parametrize(("value", "price"), [(0.0, None), (UNSET_DOUBLE, None), (None, None), (9.5, 9.5)])
def test_unset_prices_are_none(value: float | None, price: float | None) -> None:
    assert price_or_none(value) == price


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not a"):
        price_or_none(value)
    with pytest.raises(ValueError, match="not a"):
        whole(value)


def test_a_trailing_stop_shows_its_stop_price_and_not_its_distance() -> None:
    found = open_order_of(CONTRACT, order(orderType="TRAIL", auxPrice=0.3, trailStopPrice=9.2), STATE, 0)
    assert found.stop_price == 9.2
    assert open_order_of(CONTRACT, order(), STATE, 40).remaining == 60


def test_a_completed_order_has_its_quantity_from_what_was_filled_and_no_ids_of_a_client() -> None:
    found = completed_order_of(CONTRACT, order(totalQuantity=0.0, filledQuantity=60.0), STATE)
    assert (found.quantity, found.filled, found.order_id, found.client_id) == (60, 60, 0, 0)
    assert found.perm_id == 3_000_000_001


def test_account_values_need_all_three_of_the_right_account() -> None:
    rows = [
        ("DU1", "NetLiquidation", "100.5", "USD"),
        ("DU1", "BuyingPower", "400", "USD"),
        ("DU2", "TotalCashValue", "1", "USD"),
    ]
    assert account_values_of("DU1", rows) is None
    found = account_values_of("DU1", [*rows, ("DU1", "TotalCashValue", "99", "USD")])
    assert found is not None
    assert (found.net_liquidation, found.buying_power, found.cash) == (100.5, 400.0, 99.0)
    assert (found.currency, found.exchange_rate) == ("USD", 1.0)
    assert account_values_of("DU1", [*rows, ("DU1", "TotalCashValue", "much", "USD")]) is None


def in_yen(*more: tuple[str, str, str, str], currency: str = "JPY") -> list[tuple[str, str, str, str]]:
    amounts = {"NetLiquidation": "15000000", "BuyingPower": "60000000", "TotalCashValue": "15000000"}
    return [*(("DU1", tag, amount, currency) for tag, amount in amounts.items()), *more]


@pytest.mark.parametrize(
    ("rows", "rate"),
    [
        ([("DU1", "ExchangeRate", "150.5", "USD")], 150.5),
        ([("All", "ExchangeRate", "150.5", "USD"), ("All", "ExchangeRate", "1.00", "JPY")], 150.5),
        ([("All", "ExchangeRate", "1.00", "BASE"), ("All", "ExchangeRate", "150.5", "USD")], 150.5),
        ([("All", "ExchangeRate", "140", "USD"), ("All", "ExchangeRate", "150.5", "USD")], 150.5),  # the newest
        ([("All", "ExchangeRate", "7.8", "USD"), ("DU1", "ExchangeRate", "150.5", "USD")], 150.5),  # the own one
        ([], None),
        ([("All", "ExchangeRate", "1.00", "BASE")], None),
        ([("All", "ExchangeRate", "160.5", "EUR")], None),
        ([("DU2", "ExchangeRate", "150.5", "USD")], None),
        ([("All", "ExchangeRate", "1.00", "USD")], None),  # nobody's rate: IBKR has none
        ([("All", "ExchangeRate", "0.92", "USD"), ("All", "ExchangeRate", "0.006", "JPY")], None),  # euro's ledger
        *[([("All", "ExchangeRate", text, "USD")], None) for text in ("", "0", "-150", "nan", "inf", "much")],
    ],
)
def test_g27_the_rate_of_a_dollar(rows: list[tuple[str, str, str, str]], rate: float | None) -> None:
    found = account_values_of("DU1", in_yen(*rows))
    assert found is not None
    assert (found.currency, found.exchange_rate) == ("JPY", rate)
    dollars = found.in_dollars()
    assert (dollars is None) == (rate is None)
    if dollars is not None:
        assert dollars.net_liquidation == pytest.approx(15_000_000 / 150.5)
        assert dollars.buying_power == pytest.approx(60_000_000 / 150.5)
        assert dollars.cash == pytest.approx(15_000_000 / 150.5)


def test_g27_values_in_several_currencies_are_not_taken_for_dollars() -> None:
    """`BASE` is the base currency, whichever it is; two codes, or none, leave it unknown."""
    rate = ("All", "ExchangeRate", "150.5", "USD")
    beside = account_values_of("DU1", [*in_yen(currency="USD"), *in_yen(currency="BASE")])
    assert beside is not None
    assert (beside.currency, beside.exchange_rate) == ("USD", 1.0)
    base = account_values_of("DU1", [*in_yen(currency="BASE"), rate])
    assert base is not None
    assert (base.currency, base.exchange_rate) == ("BASE", 150.5)
    for rows in (in_yen(currency=""), [*in_yen(), *in_yen(currency="USD")]):
        found = account_values_of("DU1", [*rows, rate])
        assert found is not None
        assert found.in_dollars() is None, found


def test_a_symbol_of_two_stocks_is_refused() -> None:
    def details(con_id: int, currency: str) -> SimpleNamespace:
        contract = SimpleNamespace(conId=con_id, symbol="AB", secType="STK", currency=currency)
        return SimpleNamespace(contract=contract, minTick=0.01, liquidHours="", timeZoneId="US/Eastern")

    assert instrument_of("AB", [details(1, "USD"), details(2, "EUR")]).con_id == 1
    for rows in ([], [details(1, "USD"), details(2, "USD")]):
        with pytest.raises(BrokerError, match="AB"):
            instrument_of("AB", rows)


def test_bars_outside_the_request_are_left_out_and_none_comes_twice() -> None:
    def bar(offset_s: int, high: float = 11.0) -> SimpleNamespace:
        start = END + timedelta(seconds=offset_s)
        prices = {"open": 10.0, "high": high, "low": 9.0, "close": 10.0, "volume": -1}
        return SimpleNamespace(date=str(int(start.timestamp())), **prices)

    found = bars_between([bar(-5), bar(-10), bar(-5), bar(0), bar(-15)], END - timedelta(seconds=10), END)
    assert [found_bar.time for found_bar in found] == [END - timedelta(seconds=10), END - timedelta(seconds=5)]
    assert found[0].volume == 0.0
    assert bars_between([bar(-5, float("nan")), bar(-10, 9.5)], END - timedelta(seconds=10), END) == []


@given(st.integers(0, 20_000), st.integers(1, 4000))
def test_history_chunks_cover_the_time_without_a_gap(seconds: int, chunk_s: int) -> None:
    chunks = history_chunks(END, seconds, chunk_s)
    assert sum(size for _, size in chunks) == seconds
    assert all(0 < size <= chunk_s for _, size in chunks)
    for (before, _), (after, size) in pairwise(chunks):
        assert after - timedelta(seconds=size) == before
    assert not chunks or chunks[-1][0] == END


def test_the_messages_about_the_connection() -> None:
    facts = {code: connection_fact_of(code, "") for code in (1100, 1101, 1102, 2110, 2104)}
    states = {code: (fact.state, fact.data_lost) for code, fact in facts.items() if fact}
    assert states == {
        1100: ("broken", False),
        1101: ("restored", True),
        1102: ("restored", False),
        2110: ("broken", False),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20250312 14:13:48 US/Eastern", datetime(2025, 3, 12, 18, 13, 48, tzinfo=UTC)),
        ("20250312-14:13:48", datetime(2025, 3, 12, 14, 13, 48, tzinfo=UTC)),
        ("", None),
        ("some day", None),
    ],
)
def test_a_completed_order_has_its_time_if_that_can_be_read(text: str, expected: datetime | None) -> None:
    state = SimpleNamespace(status="Filled", completedStatus="Filled Size: 60", completedTime=text)
    assert (
        completed_order_of(CONTRACT, order(totalQuantity=0.0, filledQuantity=60.0), state).completed_at == expected
    )
