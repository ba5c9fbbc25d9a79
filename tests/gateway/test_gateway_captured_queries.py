"""The order and the values of answers, as they were recorded from a real gateway (IB Gateway 10.40).

The captures are named as in the recordings, such as `0926/connect_only`; their values are those of another account.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

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
    EXECUTION,
    EXECUTION_END,
    OPEN_ORDER,
    OPEN_ORDER_END,
    PORTFOLIO,
    POSITION,
    SUMMARY,
    SUMMARY_END,
    TIME,
    ask_positions,
    contract,
    errors_of,
    next_error,
    of_kind,
    request_bars,
    request_executions,
    request_ticks,
    shares_of,
    within,
)
from gateway_helpers import RawClient, decoded, framed, running, stock
from ib_insync import LimitOrder, MarketOrder

from paper_gateway.testing import RunningGateway

CLIENT_IDS = itertools.count(300)
ACCOUNT = "DU1234567"
HISTORY, HISTORY_UPDATE, HEAD = "17", "90", "88"


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    yield from running("--speed", "60", "--start", "10:00")


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[RawClient]:
    with RawClient(gateway.port, next(CLIENT_IDS)) as one:
        yield one


# A1: connect


def test_connect(client: RawClient) -> None:
    """`0926/connect_only`: accounts, next id, then one notice of each farm, with these texts."""
    assert client.start_messages == [
        ["15", "1", ACCOUNT],
        ["9", "1", "1"],
        ["4", "2", "-1", "2104", "Market data farm connection is OK:usfarm", ""],
        ["4", "2", "-1", "2106", "HMDS data farm connection is OK:ushmds", ""],
        ["4", "2", "-1", "2158", "Sec-def data farm connection is OK:secdefil", ""],
    ]


def test_the_version_frame_has_a_time_with_its_zone(gateway: RunningGateway) -> None:
    """`0926/connect_only`: version, then date, time and zone."""
    with RawClient(gateway.port, next(CLIENT_IDS), start=False) as client:
        version, moment = client.read()
    assert version == "176"
    assert re.fullmatch(r"20251006 \d\d:\d\d:\d\d \S.*", moment)


def test_requests_are_served_without_waiting_for_the_notices(gateway: RunningGateway) -> None:
    """`0928/*`: the client places its order before the notices have come."""
    with RawClient(gateway.port, next(CLIENT_IDS), start=False) as client:
        start = f"71\x002\x00{next(CLIENT_IDS)}\x00\x00"
        client.send_bytes(framed(start.encode()) + framed(b"49\x001\x00"))
        assert client.read_until(TIME)


def test_nothing_is_sent_by_itself_after_a_connect(gateway: RunningGateway) -> None:
    """`0926/connect_only`: no open orders, no executions, no positions."""
    client_id = next(CLIENT_IDS)
    with RawClient(gateway.port, client_id) as client:
        client.place(1, LimitOrder("BUY", 1, 1.0))
        client.place(2, MarketOrder("BUY", 1))
        client.read_until(COMMISSION)
    with RawClient(gateway.port, client_id) as client:
        assert within(client, 0.3) == []


# A10: queries


def test_open_orders_with_those_made_by_hand(gateway: RunningGateway, client: RawClient) -> None:
    """`1002/b1_cleanup`: a pair for each order, not by id; orders made by hand have no id, client or reference."""
    client.place(1, LimitOrder("BUY", 1, 1.0, orderRef="first"), stock("KO"))
    client.place(2, LimitOrder("BUY", 1, 1.0, orderRef="second"), stock("KO"))
    client.read_until("3", "2")
    gateway.ctl("trade", symbol="KO", side="BUY", shares=1, limit=1.0)
    within(client, 0.1)
    client.send("16", "1")
    rows = client.read_until(OPEN_ORDER_END)[:-1]
    assert [row[0] for row in rows] == [OPEN_ORDER, "3"] * (len(rows) // 2)
    assert [row[1] for row in rows[::2]] == [row[1] for row in rows[1::2]]
    found = [decoded(row)[1] for row in rows[::2]]
    read = [order for _, of, order, _ in found if of.symbol == "KO"]
    assert [order.orderRef for order in read] == ["", "second", "first"]
    by_hand = read[0]
    assert (by_hand.orderId, by_hand.clientId, by_hand.rule80A) == (0, 0, "0")
    assert by_hand.permId > 2**31


def test_positions_come_from_the_primary_exchange_and_go_on(gateway: RunningGateway, client: RawClient) -> None:
    """`0926/account_updates`: exchange NASDAQ, not SMART; then updates until they are cancelled."""
    gateway.ctl("trade", symbol="NVDA", side="BUY", shares=2)
    rows = ask_positions(client)
    nvda = next(row for row in rows if row[4] == "NVDA")
    assert (nvda[2], nvda[5], nvda[10], nvda[11]) == (ACCOUNT, "STK", "NASDAQ", "USD")
    gateway.ctl("trade", symbol="NVDA", side="BUY", shares=1)
    assert shares_of([client.read_until(POSITION)[-1]], "NVDA") == [3]
    client.send("64", "1")
    client.send("49", "1")
    client.read_until(TIME)
    gateway.ctl("trade", symbol="NVDA", side="BUY", shares=1)
    assert within(client, 0.2, POSITION) == []


def test_a_flat_position_is_listed_on_the_day_it_was_closed(gateway: RunningGateway, client: RawClient) -> None:
    """`0930/i105_combo_fill`: AAPL 0 and QQQ 0, average cost 0.0."""
    for side in ("BUY", "SELL"):
        gateway.ctl("trade", symbol="AAPL", side=side, shares=5)
    row = next(row for row in ask_positions(client) if row[4] == "AAPL")
    assert row[14:16] == ["0", "0.0"]


def test_commissions_follow_the_rows_of_executions(client: RawClient) -> None:
    """Reported, not captured: rows with the request's id, then the commission reports, the end marker last."""
    for order_id in (1, 2):
        client.place(order_id, MarketOrder("BUY", 1), stock("WMT"))
        client.read_until(COMMISSION)
    request_executions(client, 77, symbol="WMT")
    found = client.read_until(EXECUTION_END)
    assert [row[0] for row in found] == [EXECUTION, EXECUTION, COMMISSION, COMMISSION, EXECUTION_END]
    assert {row[1] for row in found if row[0] == EXECUTION} == {"77"}
    assert [row[14] for row in found[:2]] == [row[2] for row in found[2:4]]


def test_a_cancelled_order_among_the_completed_ones(client: RawClient) -> None:
    """R ib_async#128: `Cancelled by Trader`, filled 0 of 100, the reference, the largest number for no parent."""
    client.place(1, LimitOrder("BUY", 100, 1.0, orderRef="resting"), stock("PEP"))
    client.read_until("3", "1")
    client.send("4", "1", "1", "")
    client.read_until(ERROR, "2", "1", "202")
    client.send("99", "0")
    rows = [decoded(row)[1] for row in of_kind(client.read_until(COMPLETED_END), COMPLETED)]
    order, state = next((order, state) for stock_of, order, state in rows if stock_of.symbol == "PEP")
    assert (state.status, state.completedStatus) == ("Cancelled", "Cancelled by Trader")
    assert re.fullmatch(r"20251006 \d\d:\d\d:\d\d US/Eastern", state.completedTime)
    assert (order.filledQuantity, order.totalQuantity, order.orderRef) == (0, 100, "resting")
    assert order.parentPermId == 2**63 - 1


def test_next_ids_are_told_and_not_reserved(client: RawClient) -> None:
    """D: reqIds returns the present next id."""
    for _ in range(2):
        client.send("8", "1", "5")
        assert client.read_until("9")[-1] == ["9", "1", "1"]


# A11: account

LEDGER_KEYS = {
    *("Currency", "CashBalance", "TotalCashBalance", "AccruedCash", "StockMarketValue", "OptionMarketValue"),
    *("FutureOptionValue", "FuturesPNL", "NetLiquidationByCurrency", "UnrealizedPnL", "RealizedPnL"),
    *("ExchangeRate", "FundValue", "NetDividend", "MutualFundValue", "MoneyMarketFundValue"),
    *("CorporateBondValue", "TBondValue", "TBillValue", "WarrantValue", "FxCashBalance", "AccountOrGroup"),
    *("RealCurrency", "IssuerOptionValue", "Cryptocurrency"),
}


def test_the_summary_of_an_account(client: RawClient) -> None:
    """`0926/account_summary`: tag rows by name, twice; ledger of `All`, USD then BASE; end; ledger again; end."""
    client.send("62", "1", "5", "All", "TotalCashValue,NetLiquidation,BuyingPower,$LEDGER:ALL")
    first = client.read_until(SUMMARY_END, "1", "5")
    second = client.read_until(SUMMARY_END, "1", "5")
    named = [row for row in first if row[3:4] == [ACCOUNT]]
    ledger = [row for row in first if row[3:4] == ["All"]]
    assert [row[4] for row in named] == ["BuyingPower", "NetLiquidation", "TotalCashValue"] * 2
    assert {row[6] for row in named} == {"USD"}
    assert named[:3] == named[3:]
    assert first == [*named, *ledger, [SUMMARY_END, "1", "5"]]
    assert [currency for currency, _ in itertools.groupby(row[6] for row in ledger)] == ["USD", "BASE"]
    for currency in ("USD", "BASE"):
        of_currency = {row[4]: row[5] for row in ledger if row[6] == currency}
        assert of_currency.keys() == LEDGER_KEYS
        assert (of_currency["ExchangeRate"], of_currency["Cryptocurrency"]) == ("1.00", "")
        assert (of_currency["Currency"], of_currency["AccountOrGroup"]) == (currency, "All")
    assert second == [*ledger, [SUMMARY_END, "1", "5"]]


def test_a_summary_without_the_ledger_ends_once(client: RawClient) -> None:
    """Concluded from `0926/account_summary`: the second end marker belongs to the second ledger."""
    client.send("62", "1", "5", "All", "NetLiquidation")
    found = client.read_until(SUMMARY_END, "1", "5")
    assert [row[0] for row in found] == [SUMMARY, SUMMARY, SUMMARY_END]
    assert within(client, 0.2) == []


def test_the_third_summary_is_refused(client: RawClient) -> None:
    """D: at most two at a time."""
    for request_id in ("1", "2"):
        client.send("62", "1", request_id, "All", "NetLiquidation")
        client.read_until(SUMMARY_END, "1", request_id)
    client.send("62", "1", "3", "All", "NetLiquidation")
    assert next_error(client) == ("3", 322)
    client.send("63", "1", "1")
    client.send("62", "1", "4", "All", "NetLiquidation")
    assert client.read_until(SUMMARY_END, "1", "4")


def test_account_updates(gateway: RunningGateway, client: RawClient) -> None:
    """`0926/account_updates`: keys by name, then each position with a time, a last time, the end marker."""
    gateway.ctl("trade", symbol="MSFT", side="SELL", shares=4)
    client.send("6", "2", "1", ACCOUNT)
    found = client.read_until(ACCOUNT_END)
    values = of_kind(found, ACCOUNT_VALUE)
    keys = [row[2] for row in values]
    assert keys == sorted(keys)
    currencies = {key: [row[4] for row in values if row[2] == key] for key in keys}
    for key in ("AccountCode", "AccountReady", "AccountType", "Cushion", "Leverage-S", "NLVAndMarginInReview"):
        assert currencies[key] == [""]
    assert currencies["NetLiquidation"] == ["USD"]
    assert all(currencies[key] == ["BASE", "USD"] for key in LEDGER_KEYS)
    told = {row[2]: row[3] for row in values}
    assert (told["AccountReady"], told["AccountType"]) == ("true", "INDIVIDUAL")
    assert re.fullmatch(r"20251006:[\d.]+;20251007:[\d.]+", told["SettledCashByDate"])
    rest = found[len(values) :]
    held = of_kind(rest, PORTFOLIO)
    kinds = [row[0] for row in rest]
    assert kinds == [PORTFOLIO, ACCOUNT_TIME] * len(held) + [ACCOUNT_TIME, ACCOUNT_END]
    assert all(re.fullmatch(r"\d\d:\d\d", row[2]) for row in of_kind(rest, ACCOUNT_TIME))
    short = next(row for row in held if row[3] == "MSFT")
    assert (short[9], short[10], short[13]) == ("NASDAQ", "USD", "-4")


# A12: history


def request_history(client: RawClient, request_id: int, **changed: str) -> None:
    """changed: fields by name, of a request for the last 15 minutes in bars of one minute."""
    query = {"end": "", "size": "1 min", "duration": "900 S", "show": "TRADES", "format": "1", "keep": "0"}
    query |= changed
    fields = [query["end"], query["size"], query["duration"], "1", query["show"], query["format"], query["keep"]]
    client.send("20", request_id, *contract(), "0", *fields, "")


def bars_of(client: RawClient, request_id: int, **changed: str) -> list[list[str]]:
    """Date, open, high, low, close, volume, wap and count of each bar."""
    request_history(client, request_id, **changed)
    fields = client.read_until(HISTORY, str(request_id))[-1][5:]
    return [fields[index : index + 8] for index in range(0, len(fields), 8)]


def test_dates_of_bars(client: RawClient) -> None:
    """`1002/b1_431_hist_format`: text with the instrument's zone, or epoch seconds; days as a date in both."""
    end = "20251006 10:00:00 US/Eastern"
    text = bars_of(client, 1, end=end)[0][0]
    epoch = bars_of(client, 2, end=end, format="2")[0][0]
    assert text == "20251006 09:45:00 US/Eastern"
    assert datetime.fromtimestamp(int(epoch), UTC) == datetime(2025, 10, 6, 13, 45, tzinfo=UTC)
    for number, date_format in ((3, "1"), (4, "2")):
        days = bars_of(client, number, end=end, size="1 day", duration="5 D", format=date_format)
        assert re.fullmatch(r"202510\d\d|202509\d\d", days[0][0])


def test_the_end_of_an_answer_has_zoned_times(client: RawClient) -> None:
    """`1002/b1_431_hist_format`: `20261001 04:57:40 US/Eastern`."""
    request_history(client, 1)
    head = client.read_until(HISTORY, "1")[-1]
    for moment in head[2:4]:
        assert re.fullmatch(r"20251006 \d\d:\d\d:\d\d US/Eastern", moment)


def test_where_the_data_begin(client: RawClient) -> None:
    """`1002/b1_431_hist_format`: UTC with a dash, or epoch seconds."""
    client.send("87", "1", *contract(), "0", "1", "TRADES", "1")
    text = client.read_until(HEAD, "1")[-1][2]
    client.send("87", "2", *contract(), "0", "1", "TRADES", "2")
    epoch = client.read_until(HEAD, "2")[-1][2]
    assert re.fullmatch(r"20250[89]\d\d-13:30:00", text)
    assert datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC).timestamp() == int(epoch)


def test_volume_is_in_shares_and_wap_has_three_decimals(client: RawClient) -> None:
    """`1002/b1_431_hist_format`."""
    bars = bars_of(client, 1)
    assert all(len(bar[6].partition(".")[2]) <= 3 for bar in bars)
    assert sum(int(bar[5]) for bar in bars) > 10_000
    assert any(int(bar[5]) % 100 for bar in bars)


@pytest.mark.parametrize(("show", "known"), [("MIDPOINT", False), ("BID", False), ("ASK", False), ("TRADES", True)])
def test_bars_that_are_no_trades_have_no_volume(client: RawClient, show: str, known: bool) -> None:
    """`1002/b1_431_hist_format`: volume, wap and count are -1."""
    for bar in bars_of(client, 1, show=show):
        assert ([float(value) for value in bar[5:8]] == [-1, -1, -1]) is not known


def test_an_empty_bar_is_there(tmp_path: Path) -> None:
    """`1002/b1_431_hist_format`: volume 0 and count 0, where nothing was traded."""
    minutes = [f"2025-10-06T09:{minute}:00-04:00,10,10,10,10,500" for minute in (30, 31, 33, 34)]
    (tmp_path / "TSLA.csv").write_text("\n".join(["time,open,high,low,close,volume", *minutes]) + "\n")
    with RunningGateway("--replay", str(tmp_path), "--start", "09:40") as own, RawClient(own.port) as client:
        bars = bars_of(client, 1, end="20251006 09:35:00 US/Eastern", duration="300 S")
    assert [(bar[5], bar[7]) for bar in bars if bar[0][9:14] == "09:32"] == [("0", "0")]
    assert [int(bar[5]) > 0 for bar in bars] == [True, True, False, True, True]


def test_the_first_hour_begins_at_the_open(client: RawClient) -> None:
    """`1002/b1_431_hist_format`: 09:30, then 10:00."""
    bars = bars_of(client, 1, end="20251003 16:00:00 US/Eastern", size="1 hour", duration="1 D")
    assert [bar[0][9:14] for bar in bars[:2]] == ["09:30", "10:00"]


def test_live_bars_come_every_five_seconds_also_unchanged(client: RawClient) -> None:
    """`1002/b1_429_keep_up_to_date`: initial bars, then the present bar; a new bar is a new date."""
    known = bars_of(client, 1, size="30 secs", keep="1")
    dates: list[str] = []
    while len(set(dates)) < 3:
        dates.append(client.read_until(HISTORY_UPDATE, "1")[-1][3])
    counts = [len(list(group)) for _, group in itertools.groupby(dates)]
    assert counts[1] == 6
    assert known[-1][0] <= dates[0]
    assert dates == sorted(dates)


def test_the_cancel_of_a_live_request_is_told_as_an_error(client: RawClient) -> None:
    """`1002/b1_429_keep_up_to_date`: 162; nothing follows."""
    bars_of(client, 9530, keep="1")
    client.send("25", "1", "9530")
    error = client.read_until(ERROR)[-1]
    cause = "API historical data query cancelled: 9530"
    assert error[2:5] == ["9530", "162", f"Historical Market Data Service error message:{cause}"]
    assert within(client, 0.3) == []


def test_the_cancel_of_an_unknown_request(client: RawClient) -> None:
    """`1002/b1_429_keep_up_to_date`: 366."""
    client.send("25", "1", "99")
    assert client.read()[2:5] == ["99", "366", "No historical data query found for ticker id:99"]


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"end": "20251006 10:00:00 US/Eastern"}, "End date"),
        ({"show": "BID_ASK"}, "Source price"),
        ({"show": "ADJUSTED_LAST"}, "Source price"),
    ],
)
def test_requests_that_cannot_be_live(client: RawClient, changed: dict[str, str], cause: str) -> None:
    """`1002/b1_429_keep_up_to_date`: 321 with this text, and a class name of the gateway's own."""
    request_history(client, 1, keep="1", **changed)
    text = f"Error validating request.-'D' : cause - {cause} not supported with live updates"
    assert client.read()[2:5] == ["1", "321", text]


# A13 and H: errors and market data


def test_a_request_that_cannot_be_read(client: RawClient) -> None:
    """A13: the text of 320 begins with `Error reading request:`; the last field, for rejected orders, is empty."""
    client.send("9", "8", "51", "0", "TSLA")
    error = client.read()
    assert errors_of([error]) == [("51", 320)]
    assert error[4].startswith("Error reading request:")
    assert error[5:] == [""]


def test_the_first_messages_of_a_market_data_request(client: RawClient) -> None:
    """Stock subscription: data type, parameters, time of the last trade, prices with sizes, sizes again."""
    request_ticks(client, 1)
    found = [client.read() for _ in range(14)]
    assert [row[0] for row in found[:3]] == [DATA_TYPE, "81", "46"]
    assert found[0][3] == "1"
    assert found[1][2:] == ["0.01", "a60001", "3"]
    assert found[2][3] == "45"
    assert [row[3] for row in found[3:10]] == ["1", "2", "4", "6", "7", "9", "14"]
    again = {row[3]: row[4] for row in found[10:14]}
    assert again.keys() == {"0", "3", "5", "8"}
    assert [row[5] for row in found[3:6]] == [again["0"], again["3"], again["5"]]


def test_real_time_bars_have_epoch_times_and_shares(client: RawClient) -> None:
    """D realtime_bars: bars of five seconds."""
    request_bars(client, 1)
    first, second = (client.read_until(BAR)[-1] for _ in range(2))
    assert int(second[3]) - int(first[3]) == 5
