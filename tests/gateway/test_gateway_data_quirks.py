"""Each quirk of queries, accounts and market data, seen by a client over the socket."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from gateway_data import (
    ACCOUNT_END,
    ACCOUNT_TIME,
    ACCOUNT_VALUE,
    BAR,
    COMMISSION,
    COMPLETED,
    COMPLETED_END,
    DATA_TYPE,
    ERROR,
    EXEC_ID,
    EXEC_PERM_ID,
    EXEC_TIME,
    EXECUTION,
    EXECUTION_END,
    OPEN_ORDER,
    OPEN_ORDER_END,
    PORTFOLIO,
    POSITION,
    POSITION_END,
    SUMMARY_END,
    SYMBOL,
    TICK_PRICE,
    TICK_SIZE,
    TICK_STRING,
    TIME,
    ask_executions,
    ask_positions,
    contract,
    errors_of,
    next_error,
    of_kind,
    quirk,
    request_bars,
    request_executions,
    request_ticks,
    shares_of,
    within,
)
from gateway_helpers import RawClient, decoded, running, stock
from ib_insync import LimitOrder, MarketOrder

from paper_gateway.data_requests import BarPacing
from paper_gateway.market import EASTERN
from paper_gateway.testing import RunningGateway

LAG_S = 1.0
CLIENT_IDS = itertools.count(100)


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    yield from running("--speed", "60", "--start", "10:00")


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[RawClient]:
    with RawClient(gateway.port, next(CLIENT_IDS)) as one:
        yield one


def bought(client: RawClient, symbol: str, shares: int = 10) -> str:
    """Buy at the market and read up to the commission report; returns the execution's id."""
    order_id = next(CLIENT_IDS)
    client.place(order_id, MarketOrder("BUY", shares), stock(symbol))
    messages = client.read_until(COMMISSION)
    return next(message[EXEC_ID] for message in of_kind(messages, EXECUTION))


# Positions


def test_positions_lag_behind_and_account_updates_do_not(gateway: RunningGateway, client: RawClient) -> None:
    client.send("6", "2", "1", "")
    client.read_until(ACCOUNT_END)
    ask_positions(client)
    with quirk(gateway, "positions-lag", LAG_S):
        traded_s = time.monotonic()
        gateway.ctl("trade", symbol="KO", side="BUY", shares=7)
        assert of_kind(client.read_until(PORTFOLIO), POSITION) == []
        assert time.monotonic() - traded_s < LAG_S
        assert shares_of(ask_positions(client), "KO") == []
        pushed = client.read_until(POSITION)[-1]
        assert shares_of([pushed], "KO") == [7]
        assert time.monotonic() - traded_s >= LAG_S
        assert shares_of(ask_positions(client), "KO") == [7]


def test_an_answer_of_positions_can_stay_open(gateway: RunningGateway, client: RawClient) -> None:
    bought(client, "PEP")
    with quirk(gateway, "positions-open"):
        client.send("61", "1")
        found = within(client, 0.3, POSITION, POSITION_END)
    assert shares_of(found, "PEP") == [10]
    assert of_kind(found, POSITION_END) == []


def test_positions_are_not_available_right_after_a_connect(gateway: RunningGateway) -> None:
    with quirk(gateway, "positions-unready", LAG_S), RawClient(gateway.port, next(CLIENT_IDS)) as client:
        client.send("61", "1")
        assert next_error(client) == ("-1", 2151)
        assert within(client, LAG_S, POSITION, POSITION_END) == []
        client.send("61", "1")
        assert client.read_until(POSITION_END)


@pytest.mark.parametrize(("value", "listed"), [("", ["HOOD", "KO"]), ("opening", ["HOOD"]), ("never", [])])
def test_flat_positions_are_listed_as_the_setting_says(tmp_path: Path, value: str, listed: list[str]) -> None:
    file = tmp_path / "held.json"
    file.write_text(json.dumps([{"symbol": "HOOD", "quantity": 5, "avg_cost": 100}]))
    flags = ("--quirk", f"zero-positions={value}") if value else ()
    with RunningGateway("--positions", str(file), *flags) as own, RawClient(own.port) as client:
        own.ctl("trade", symbol="HOOD", side="SELL", shares=5)
        for side in ("BUY", "SELL"):
            own.ctl("trade", symbol="KO", side=side, shares=3)
        own.ctl("trade", symbol="TSLA", side="BUY", shares=1)
        rows = ask_positions(client)
    assert sorted(row[SYMBOL] for row in rows if row[14] == "0") == listed
    assert shares_of(rows, "TSLA") == [1]


# Slow answers

REQUESTS: dict[str, tuple[list[object], list[str]]] = {
    "positions": (["61", "1"], [POSITION_END]),
    "open-orders": (["16", "1"], [OPEN_ORDER_END]),
    "completed": (["99", "0"], [COMPLETED_END]),
    "executions": (["7", "3", "9", "0", "", "", "", "", "", ""], [EXECUTION_END, "1", "9"]),
    "account": (["62", "1", "9", "All", "NetLiquidation"], [SUMMARY_END, "1", "9"]),
}


def answered_after_s(client: RawClient, kind: str) -> float:
    request, end = REQUESTS[kind]
    asked_s = time.monotonic()
    client.send(*request)
    client.read_until(*end)
    return time.monotonic() - asked_s


@pytest.mark.parametrize("kind", REQUESTS)
def test_slow_answers_come_late_and_whole(gateway: RunningGateway, client: RawClient, kind: str) -> None:
    bought(client, "COST")
    with quirk(gateway, "slow-answers", LAG_S):
        assert within(client, 0) == []
        client.send(*REQUESTS[kind][0])
        client.send("49", "1")
        assert client.read()[0] == TIME  # what is not slowed overtakes
        assert within(client, LAG_S / 2) == []
        assert client.read_until(*REQUESTS[kind][1])
    assert answered_after_s(client, kind) < LAG_S


@pytest.mark.parametrize("kind", REQUESTS)
def test_one_kind_of_answer_can_be_slow_alone(gateway: RunningGateway, client: RawClient, kind: str) -> None:
    with quirk(gateway, f"slow-{kind}", LAG_S):
        for other in REQUESTS:
            assert (answered_after_s(client, other) >= LAG_S) == (other == kind)
            client.send("63", "1", "9")


def test_slow_answers_keep_their_order(gateway: RunningGateway, client: RawClient) -> None:
    with quirk(gateway, "slow-answers", LAG_S):
        client.send("61", "1")
        client.send("64", "1")
        client.read_until(POSITION_END)
        within(client, 0.2)
        gateway.ctl("trade", symbol="DIS", side="BUY", shares=1)
        assert within(client, 0.2, POSITION) == []
    with quirk(gateway, "slow-answers", LAG_S), quirk(gateway, "slow-positions", 0):
        assert answered_after_s(client, "positions") < LAG_S


# Executions


def test_an_answer_of_executions_can_stay_open_or_be_empty(gateway: RunningGateway, client: RawClient) -> None:
    exec_id = bought(client, "WMT")
    with quirk(gateway, "executions-open"):
        request_executions(client, 1)
        found = within(client, 0.3, EXECUTION, COMMISSION, EXECUTION_END)
        assert exec_id in [message[EXEC_ID] for message in of_kind(found, EXECUTION)]
        assert of_kind(found, EXECUTION_END) == []
    with quirk(gateway, "executions-empty"):
        assert ask_executions(client, 2) == []
    assert exec_id in [message[EXEC_ID] for message in of_kind(ask_executions(client, 3), EXECUTION)]


def test_executions_are_repeated(gateway: RunningGateway, client: RawClient) -> None:
    with quirk(gateway, "repeat-executions"):
        client.place(next(CLIENT_IDS), MarketOrder("BUY", 1), stock("JPM"))
        live = of_kind(client.read_until(COMMISSION), EXECUTION)
        answered = of_kind(ask_executions(client, 1, symbol="JPM"), EXECUTION)
    for rows in (live, answered):
        assert len(rows) == 2
        assert rows[0] == rows[1]


def test_commissions_come_late(gateway: RunningGateway, client: RawClient) -> None:
    with quirk(gateway, "late-commissions", LAG_S):
        client.place(next(CLIENT_IDS), MarketOrder("BUY", 1), stock("BAC"))
        exec_id = client.read_until(EXECUTION)[-1][EXEC_ID]
        begun_s = time.monotonic()
        assert [row[0] for row in ask_executions(client, 1, symbol="BAC")] == [EXECUTION]
        assert client.read_until(COMMISSION)[-1][2] == exec_id
        assert LAG_S / 2 < time.monotonic() - begun_s < 3 * LAG_S
        assert [row[0] for row in ask_executions(client, 2, symbol="BAC")] == [EXECUTION, COMMISSION]


def test_commissions_never_come(gateway: RunningGateway, client: RawClient) -> None:
    with quirk(gateway, "late-commissions", "never"):
        client.place(next(CLIENT_IDS), MarketOrder("BUY", 1), stock("GE"))
        client.read_until(EXECUTION)
        assert within(client, 0.3, COMMISSION) == []
        assert [row[0] for row in ask_executions(client, 1, symbol="GE")] == [EXECUTION]


@pytest.mark.parametrize(
    ("form", "pattern", "ahead_h"),
    [
        ("local", "%Y%m%d %H:%M:%S MET", 6),
        ("windows", "%Y%m%d %H:%M:%S Central European Standard Time", 6),
        ("utc", "%Y%m%d %H:%M:%S UTC", 4),
        ("dash", "%Y%m%d-%H:%M:%S", 4),
    ],
)
def test_times_of_executions(
    gateway: RunningGateway, client: RawClient, form: str, pattern: str, ahead_h: int
) -> None:
    exec_id = bought(client, "F")
    made = next(one["time"] for one in gateway.truth()["executions"] if one["exec_id"] == exec_id)
    with quirk(gateway, "times", form):
        rows = of_kind(ask_executions(client, 1), EXECUTION)
    told = datetime.strptime(next(row[EXEC_TIME] for row in rows if row[EXEC_ID] == exec_id), pattern)  # noqa: DTZ007
    real = datetime.fromisoformat(made).replace(tzinfo=None, microsecond=0)
    assert (told - real).total_seconds() == ahead_h * 3600


def test_the_day_before_is_answered_too() -> None:
    with RunningGateway() as own, RawClient(own.port, 5) as client:
        exec_id = bought(client, "TSLA")
        with quirk(own, "yesterday"):
            later_id = bought(client, "NVDA")
            rows = of_kind(ask_executions(client, 1), EXECUTION)
            since_today = of_kind(ask_executions(client, 2, time="20251006 00:00:00 US/Eastern"), EXECUTION)
            completed = completed_orders(client)
        without = of_kind(ask_executions(client, 3), EXECUTION)
        assert len(completed_orders(client)) == 2
    days = [(row[SYMBOL], row[EXEC_TIME][:8]) for row in rows]
    assert days == [("TSLA", "20251003"), ("TSLA", "20251006"), ("NVDA", "20251006")]
    assert rows[0][EXEC_TIME][8:] == rows[1][EXEC_TIME][8:]
    assert len({row[EXEC_ID] for row in rows}) == len({row[EXEC_PERM_ID] for row in rows}) == 3
    assert [row[EXEC_ID] for row in since_today] == [row[EXEC_ID] for row in without] == [exec_id, later_id]
    of_before = [one for one in completed if one["day"] == "20251003"]
    assert [(one["status"], one["filled"]) for one in of_before] == [
        ("Filled", 10),
        ("Filled", 100),
        ("Cancelled", 0),
    ]
    with_executions = {int(row[EXEC_PERM_ID]) for row in rows}
    assert [one["perm_id"] in with_executions for one in of_before] == [True, False, False]


def completed_orders(client: RawClient) -> list[dict[str, Any]]:
    client.send("99", "0")
    rows = []
    for message in of_kind(client.read_until(COMPLETED_END), COMPLETED):
        _, (_, order, state) = decoded(message)
        filled = int(order.filledQuantity)
        day = state.completedTime[:8]
        rows.append({"perm_id": order.permId, "status": state.status, "filled": filled, "day": day})
    return rows


# Account values


def updates(client: RawClient) -> dict[tuple[str, str], str]:
    client.send("6", "2", "1", "")
    return {(row[2], row[4]): row[3] for row in of_kind(client.read_until(ACCOUNT_END), ACCOUNT_VALUE)}


@pytest.mark.parametrize(("base", "rate"), [("EUR", 0.92), ("JPY", 150.0)])
def test_another_base_currency(gateway: RunningGateway, client: RawClient, base: str, rate: float) -> None:
    gateway.ctl("trade", symbol="CAT", side="BUY", shares=1)
    cash = gateway.truth()["account_values"]["DU1234567"]["cash"]
    with quirk(gateway, "base-currency", base):
        values = updates(client)
        client.send("62", "1", "7", "All", "TotalCashValue,$LEDGER:ALL")
        rows = [row[3:] for row in client.read_until(SUMMARY_END, "1", "7")[:-1]]
    assert float(values["TotalCashValue", base]) == pytest.approx(cash * rate, abs=0.01)
    assert ("TotalCashValue", "USD") not in values
    assert float(values["CashBalance", "USD"]) == pytest.approx(cash, abs=0.01)
    assert float(values["CashBalance", base]) == 0
    assert float(values["CashBalance", "BASE"]) == pytest.approx(cash * rate, abs=0.01)
    rates = {currency: float(values["ExchangeRate", currency]) for currency in ("USD", base, "BASE")}
    assert rates == {"USD": rate, base: 1.0, "BASE": 1.0}
    assert rows[0] == ["DU1234567", "TotalCashValue", values["TotalCashValue", base], base]
    assert list(dict.fromkeys(row[3] for row in rows[1:])) == [base, "USD", "BASE"]


def test_account_values_are_not_ready_right_after_a_connect(gateway: RunningGateway) -> None:
    with quirk(gateway, "account-unready", LAG_S), RawClient(gateway.port, next(CLIENT_IDS)) as client:
        early = updates(client)
        assert (early["AccountReady", ""], early["NetLiquidation", "USD"]) == ("false", "0.00")
        late = {(row[2], row[4]): row[3] for row in of_kind(client.read_until(ACCOUNT_TIME), ACCOUNT_VALUE)}
        assert late["AccountReady", ""] == "true"
        assert float(late["NetLiquidation", "USD"]) > 0


# Market data


def test_sizes_in_lots(gateway: RunningGateway, client: RawClient) -> None:
    with quirk(gateway, "volume-lots"):
        request_ticks(client, 1, "AMD")
        request_bars(client, 2, "AMD")
        sizes = {row[3]: int(row[4]) for row in of_kind(client.read_until(TICK_SIZE, "6", "1", "8"), TICK_SIZE)}
        bars = [client.read_until(BAR)[-1] for _ in range(12)]
    request_ticks(client, 3, "AMD")
    shares = {row[3]: int(row[4]) for row in of_kind(client.read_until(TICK_SIZE, "6", "3", "8"), TICK_SIZE)}
    assert 0 < sizes["0"] < 100 <= shares["0"]
    assert shares["8"] / 120 < sizes["8"] <= shares["8"] / 100
    known = {row[0]: int(row[5]) for row in five_second_bars(client, "AMD")}
    assert [int(bar[8]) for bar in bars] == [known[bar[3]] // 100 for bar in bars]
    assert any(known[bar[3]] >= 100 for bar in bars)


def five_second_bars(client: RawClient, symbol: str) -> list[list[str]]:
    """The fields of each bar of the last ten minutes."""
    client.send("20", "99", *contract(symbol), "0", "", "5 secs", "600 S", "1", "TRADES", "2", "0", "")
    fields = client.read_until("17", "99")[-1][5:]
    return [fields[index : index + 8] for index in range(0, len(fields), 8)]


def test_bars_without_ticks_and_ticks_without_bars(gateway: RunningGateway, client: RawClient) -> None:
    request_ticks(client, 1)
    request_bars(client, 2)
    with quirk(gateway, "no-ticks"):
        client.read_until(BAR)
        client.read_until(BAR)  # what was queued before is read
        assert {row[0] for row in [*client.read_until(BAR), *client.read_until(BAR)]} == {BAR}
        request_ticks(client, 3, "NVDA")
        assert {row[0] for row in [*client.read_until(BAR), *client.read_until(BAR)]} <= {BAR, DATA_TYPE, "81"}
    with quirk(gateway, "no-bars"):
        within(client, 0.1)
        found = within(client, 0.5, TICK_PRICE, BAR)
        assert {row[0] for row in found} == {TICK_PRICE}
    assert client.read_until(BAR)


def test_stale_ticks_repeat_and_bars_stop(gateway: RunningGateway, client: RawClient) -> None:
    request_ticks(client, 1)
    request_bars(client, 2)
    client.read_until(BAR)
    with quirk(gateway, "stale"):
        within(client, 0.1)
        found = within(client, 0.8)
        request_ticks(client, 3)
        fresh = client.read_until(TICK_SIZE, "6", "3", "8")
    assert of_kind(found, BAR) == []
    for kind in ("1", "2", "4"):
        prices = [row[4] for row in of_kind(found, TICK_PRICE) if row[3] == kind]
        assert len(prices) > 3
        assert len(set(prices)) == 1
        assert prices[0] in [row[4] for row in of_kind(fresh, TICK_PRICE) if row[2:4] == ["3", kind]]
    assert len({row[4] for row in of_kind(found, TICK_STRING)}) == 1
    within(client, 0.1)
    moved = within(client, 0.8, TICK_PRICE, BAR)
    assert len({row[4] for row in moved if row[0] == TICK_PRICE and row[3] == "4"}) > 1
    assert of_kind(moved, BAR)


def test_delayed_data_follow_10167(gateway: RunningGateway, client: RawClient) -> None:
    request_ticks(client, 1)
    request_bars(client, 2)
    client.read_until(BAR)
    with quirk(gateway, "delayed"):
        within(client, 0.1)
        request_ticks(client, 3)
        found = client.read_until(TICK_SIZE, "6", "3", "74")
        own = [row for row in found if row[2] == "3"]
        assert errors_of(own) == [("3", 10167)]
        assert own[1][:4] == [DATA_TYPE, "1", "3", "3"]
        assert {row[3] for row in of_kind(own, TICK_PRICE)} == {"66", "67", "68", "72", "73", "75", "76"}
        assert {row[3] for row in of_kind(own, TICK_SIZE)} == {"69", "70", "71", "74"}
        known = {row[0]: row[4] for row in five_second_bars_of_15_minutes_ago(client)}
        again = within(client, 0.5)
        running_ones = {row[3] for row in again if row[0] == TICK_PRICE and row[2] == "1"}
        assert running_ones == {"66", "67", "68"}
        assert of_kind(again, BAR) == []
        told = next(row[4] for row in own if row[0] == TICK_PRICE and row[3] == "68")
        assert float(told) in {float(close) for close in known.values()}
        request_bars(client, 4)
        assert next_error(client) == ("4", 420)
    within(client, 0.1)
    assert {row[3] for row in within(client, 0.5, TICK_PRICE) if row[2] == "1"} >= {"1", "2", "4"}


def five_second_bars_of_15_minutes_ago(client: RawClient) -> list[list[str]]:
    client.send("49", "1")
    now = int(client.read_until(TIME)[-1][2])
    end = f"{datetime.fromtimestamp(now - 900, EASTERN):%Y%m%d %H:%M:%S} US/Eastern"
    client.send("20", "98", *contract(), "0", end, "5 secs", "300 S", "1", "TRADES", "2", "0", "")
    fields = client.read_until("17", "98")[-1][5:]
    return [fields[index : index + 8] for index in range(0, len(fields), 8)]


def test_the_switch_to_delayed_data_ends_running_bars(gateway: RunningGateway, client: RawClient) -> None:
    request_ticks(client, 1)
    request_bars(client, 2)
    client.read_until(BAR)
    with quirk(gateway, "delayed"):
        assert sorted([next_error(client), next_error(client)]) == [("1", 10167), ("2", 420)]


@pytest.mark.parametrize("code", [354, 10089, 10168, 10197, 420, 101])
def test_requests_end_with_the_code(gateway: RunningGateway, client: RawClient, code: int) -> None:
    with quirk(gateway, "data-error", code):
        request_ticks(client, 1)
        request_bars(client, 2)
        assert errors_of([client.read(), client.read()]) == [("1", code), ("2", code)]
        assert within(client, 0.3) == []


@pytest.mark.parametrize(("code", "ended"), [(10197, {"1", "2"}), (10225, {"2"}), (354, set())])
def test_running_requests_end_with_some_codes(
    gateway: RunningGateway, client: RawClient, code: int, ended: set[str]
) -> None:
    request_ticks(client, 1)
    request_bars(client, 2)
    client.read_until(BAR)
    with quirk(gateway, "data-error", code):
        found = within(client, 0.6)
        assert set(errors_of(found)) == {(request_id, code) for request_id in ended}
        within(client, 0.1)
        kinds = {row[0] for row in within(client, 0.5, TICK_PRICE, BAR)}
        assert (TICK_PRICE in kinds, BAR in kinds) == ("1" not in ended, "2" not in ended)


def test_bars_are_served_again_after_a_bust(gateway: RunningGateway, client: RawClient) -> None:
    with quirk(gateway, "data-error", 10225):
        request_bars(client, 2)
        assert client.read_until(BAR)


def test_lines_are_shared_by_ticks_and_bars_of_all_clients(gateway: RunningGateway, client: RawClient) -> None:
    with quirk(gateway, "lines", 3), RawClient(gateway.port, next(CLIENT_IDS)) as other:
        request_ticks(client, 1)
        request_bars(client, 2)
        request_bars(other, 1, "NVDA")
        request_ticks(other, 2, "AMD")
        assert next_error(other) == ("2", 101)
        client.send("51", "1", "2")
        client.send("49", "1")
        client.read_until(TIME)
        request_ticks(other, 3, "AMD")
        assert other.read_until(TICK_PRICE, "6", "3")


def test_new_bars_are_paced(gateway: RunningGateway, client: RawClient) -> None:
    with quirk(gateway, "bars-paced"):
        request_bars(client, 1, "SOFI")
        request_bars(client, 2, "SOFI")
        assert next_error(client) == ("2", 420)
        request_bars(client, 3, "PLTR")
        assert client.read_until(BAR, "3", "3")


def test_the_limits_of_new_bars() -> None:
    pacing = BarPacing()
    assert [pacing.refusal("TSLA", now) for now in (0.0, 14.9, 15.0)] == [None, 420, None]
    many = BarPacing()
    codes = [many.refusal(f"S{number}", number * 1.0) for number in range(61)]
    assert (set(codes[:60]), codes[60]) == ({None}, 456)
    assert many.refusal("LATER", 600.5) is None


# Orders


def test_open_orders_are_sent_on_connect(gateway: RunningGateway) -> None:
    client_id = next(CLIENT_IDS)
    with RawClient(gateway.port, client_id) as client:
        client.place(1, LimitOrder("BUY", 1, 1.0, orderRef="resting"))
        client.read_until("3", "1")
    with quirk(gateway, "orders-on-connect"), RawClient(gateway.port, client_id) as client:
        begun = [*client.start_messages, *within(client, 0.2)]
    assert [row[0] for row in begun] == ["15", "9", OPEN_ORDER, "3", OPEN_ORDER_END, ERROR, ERROR, ERROR]
    with RawClient(gateway.port, client_id) as client:
        assert of_kind([*client.start_messages, *within(client, 0.2)], OPEN_ORDER) == []
