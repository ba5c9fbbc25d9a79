"""Each control command against the gateway process, and its effect on a client."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from gateway_helpers import RawClient, connected, framed, running, stock, until
from ib_insync import LimitOrder, MarketOrder, StopOrder

from paper_gateway.control_client import request
from paper_gateway.ctl import build_parser
from paper_gateway.errors import ControlError, UnreachableError
from paper_gateway.testing import ROOT, RunningGateway

COMMANDS = {
    "info",
    "truth",
    "exposure",
    "trade",
    "fill",
    "hold",
    "partial",
    "price",
    "drop",
    "silence",
    "delay",
    "reject",
    "cancel",
    "code",
    "restart",
    "repeat",
    "correct",
    "stick",
    "quirk",
    "speed",
    "stop",
}


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    yield from running()


@pytest.fixture(scope="module")
def untouched() -> Iterator[RunningGateway]:
    """A shared gateway for tests that change nothing."""
    yield from running()


def ctl(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "paper_gateway", "ctl", "--port", str(port), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_the_command_line_has_every_command() -> None:
    actions = [action for action in build_parser()._actions if action.choices and action.dest == "command"]
    assert set(actions[0].choices or ()) == COMMANDS


def test_every_command_is_documented() -> None:
    page = (ROOT / "docs" / "GATEWAY.md").read_text(encoding="utf-8")
    documented = {word.split()[0] for word in page.split("## Control")[1].split("`")[1::2] if word}
    assert documented >= COMMANDS


def test_the_command_line_works_and_its_exit_codes_hold(gateway: RunningGateway) -> None:
    done = ctl(gateway.port, "trade", "TSLA", "SELL", "5")
    assert (done.returncode, json.loads(done.stdout)["filled"]) == (0, 5)
    truth = ctl(gateway.port, "truth", "--json")
    assert json.loads(truth.stdout)["positions"][0]["quantity"] == -5
    refused = ctl(gateway.port, "trade", "ZZTOP", "BUY", "5")
    assert (refused.returncode, "No security definition" in refused.stderr) == (1, True)
    assert ctl(gateway.port, "dance").returncode == 2
    assert ctl(gateway.port, "stop").returncode == 0
    assert gateway.process.wait(10) == 0
    gone = ctl(gateway.port, "info")
    assert (gone.returncode, "no paper gateway answers" in gone.stderr) == (7, True)


def test_info_says_which_gateway_this_is(untouched: RunningGateway) -> None:
    with RawClient(untouched.port, 2001):
        info = untouched.ctl("info")
    assert info["pid"] == untouched.process.pid
    assert (info["clients"], info["server_version"], info["seed"]) == ([2001], 176, 1)
    assert (info["trading_date"], info["speed"]) == ("2025-10-06", 1.0)
    assert info["start"] == "2025-10-06T09:44:00-04:00"
    assert info["gateway_id"] == untouched.truth()["gateway_id"]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("dance", {}),
        ("trade", {"symbol": "TSLA", "side": "HOLD", "shares": 1}),
        ("trade", {"symbol": "../x", "side": "BUY", "shares": 1}),
        ("trade", {"symbol": "TSLA", "side": "BUY", "shares": -1}),
        ("trade", {"symbol": "TSLA", "side": "BUY", "shares": 1.5}),
        ("price", {"symbol": "TSLA", "price": "high"}),
        ("price", {"symbol": "TSLA", "price": float("inf")}),
        ("speed", {"speed": 0}),
        ("fill", {"order": "nowhere"}),
        ("cancel", {"order": "1"}),
        ("repeat", {"exec_id": "x"}),
        ("silence", {"kind": "music"}),
        ("__class__", {}),
    ],
)
def test_wrong_requests_are_refused_and_change_nothing(
    untouched: RunningGateway, command: str, arguments: dict[str, object]
) -> None:
    before = untouched.truth()
    with pytest.raises(ControlError):
        untouched.ctl(command, **arguments)
    after = untouched.truth()
    assert (after["executions"], after["open_orders"]) == (before["executions"], before["open_orders"]) == ([], [])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"command": 1}'])
def test_a_control_request_that_is_no_json_object_is_answered(untouched: RunningGateway, body: bytes) -> None:
    with socket.create_connection(("127.0.0.1", untouched.port), timeout=5) as peer:
        peer.sendall(b"CTL\0" + framed(body))
        length = int.from_bytes(peer.recv(4), "big")
        answer = json.loads(peer.recv(length))
        assert answer["ok"] is False
        assert answer["error"]
    assert untouched.ctl("info")["clients"] == []


def test_without_a_gateway_the_error_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(UnreachableError, match="no paper gateway answers"):
            request(free.getsockname()[1], "info", timeout_s=2)


def test_hold_fill_and_release(gateway: RunningGateway) -> None:
    gateway.ctl("hold", symbol="TSLA")
    with RawClient(gateway.port) as client:
        client.place(1, MarketOrder("BUY", 10, orderRef="entry"))
        client.read_until("3", "1")
        answer = gateway.ctl("fill", order="entry", shares=4, price=440.0)
        assert answer["remaining"] == 6
        order = gateway.truth()["open_orders"][0]
        assert (order["filled"], order["remaining"], order["status"]) == (4, 6, "Submitted")
        with pytest.raises(ControlError, match="at most 6"):
            gateway.ctl("fill", order="entry", shares=7)
        gateway.ctl("hold", symbol="TSLA", off=True)
        client.read_until("3", "1", "Filled")
    assert [one["shares"] for one in gateway.truth()["executions"]] == [4, 6]


def test_partial_fills_the_next_order_in_two_steps() -> None:
    with RunningGateway("--speed", "20") as gateway, RawClient(gateway.port) as client:
        gateway.ctl("partial", symbol="TSLA", shares=3)
        client.place(1, MarketOrder("BUY", 10))
        client.read_until("3", "1", "Filled")
        assert [(one["shares"], one["cum_qty"]) for one in gateway.truth()["executions"]] == [(3, 3), (7, 10)]


def test_reject_hits_the_next_match_only(gateway: RunningGateway) -> None:
    gateway.ctl("reject", role="entry", code=201, text="not today")
    with RawClient(gateway.port) as client:
        client.place(1, MarketOrder("BUY", 1, orderRef="x-exit"))
        client.read_until("59")
        client.place(2, MarketOrder("BUY", 1, orderRef="x-entry"))
        client.read_until("3", "2", "Inactive")
        assert client.read()[:5] == ["4", "2", "2", "201", "not today"]
        client.read_until("3", "2", "Inactive")
        client.place(3, MarketOrder("BUY", 1, orderRef="x-entry"))
        client.read_until("59")


def test_a_manual_cancel_is_reported_to_the_client_of_the_order(gateway: RunningGateway) -> None:
    with RawClient(gateway.port) as client:
        client.place(1, StopOrder("SELL", 1, 300.0, orderRef="stop"))
        client.read_until("3", "1")
        gateway.ctl("cancel", order="stop")
        client.read_until("3", "1", "Cancelled")
        assert client.read()[:4] == ["4", "2", "1", "202"]


def test_drop_closes_one_client_and_refuses_for_a_while(gateway: RunningGateway) -> None:
    with RawClient(gateway.port, 1) as one, RawClient(gateway.port, 2) as two:
        assert gateway.ctl("drop", client=1, refuse=0.3)["dropped"] == 1
        assert one.closed_by_peer()
        with RawClient(gateway.port, 3, start=False) as refused:
            assert refused.closed_by_peer()
        two.send("49", "1")
        two.read_until("49")
    deadline = time.monotonic() + 5
    while True:
        try:
            with RawClient(gateway.port, 3):
                return
        except (EOFError, ConnectionError):
            assert time.monotonic() < deadline


async def test_a_silenced_answer_leaves_ib_insync_connected_with_nothing(gateway: RunningGateway) -> None:
    gateway.ctl("trade", symbol="TSLA", side="BUY", shares=5)
    gateway.ctl("silence", kind="positions")
    async with connected(gateway, timeout=0.5) as ib:
        assert len(ib.positions()) == 0
    gateway.ctl("silence", kind="positions", off=True)
    async with connected(gateway, timeout=0.5) as ib:
        assert len(ib.positions()) == 1


def test_a_delayed_kind_comes_late_and_in_order(gateway: RunningGateway) -> None:
    gateway.ctl("delay", kind="time", ms=300)
    with RawClient(gateway.port) as client:
        begin = time.monotonic()
        client.send("49", "1")
        client.send("8", "1", "1")
        gateway_order = [message[0] for message in (client.read(), client.read())]
        assert gateway_order == ["9", "49"]
        assert time.monotonic() - begin >= 0.3


async def test_an_outage_hides_fills_until_executions_are_asked_for_again(gateway: RunningGateway) -> None:
    async with connected(gateway) as ib:
        codes: list[int] = []
        ib.errorEvent += lambda _, code, *__: codes.append(code)
        gateway.ctl("code", code=1100)
        trade = ib.placeOrder(stock(), MarketOrder("BUY", 5))
        await until(lambda: gateway.truth()["executions"])
        assert ib.positions() == []
        gateway.ctl("code", code=1102)
        await until(lambda: codes == [1100, 1102])
        assert (trade.fills, ib.fills()) == ([], [])
        assert len(await asyncio.wait_for(ib.reqExecutionsAsync(), 5)) == 1


def test_1101_ends_the_subscriptions() -> None:
    with RunningGateway("--speed", "20") as gateway, RawClient(gateway.port) as client:
        subscribe = ["50", "3", "5", *client_contract(), "5", "TRADES", "1", ""]
        client.send(*subscribe)
        client.read_until("50")
        gateway.ctl("code", code=1101)
        client.read_until("4", "2", "-1", "1101")
        client.send(*subscribe)  # the same id can be used again
        assert client.read_until("50")[-1][2] == "5"


def client_contract() -> list[str]:
    return ["0", "TSLA", "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]


def test_the_nightly_restart_keeps_orders_and_rolls_ids_back(gateway: RunningGateway) -> None:
    with RawClient(gateway.port) as client:
        for order_id in (1, 2, 3):
            client.place(order_id, LimitOrder("BUY", 1, 1.0))
            client.read_until("3", str(order_id))
        gateway.ctl("restart", roll_back=2)
        assert client.closed_by_peer()
    with RawClient(gateway.port) as client:
        assert client.start_messages[1] == ["9", "1", "2"]
        client.send("5", "1")
        assert [message[1] for message in client.read_until("53") if message[0] == "5"] == ["1", "2", "3"]


def test_a_stuck_client_id_is_refused_until_it_is_released(gateway: RunningGateway) -> None:
    gateway.ctl("stick", client=7, for_=0.2)
    with RawClient(gateway.port, 7, start=False) as client:
        client.read()
        client.send("71", "2", 7, "")
        assert client.read()[3] == "326"
    time_limit = time.monotonic() + 5
    while True:
        try:
            with RawClient(gateway.port, 7):
                return
        except (EOFError, ConnectionError):
            assert time.monotonic() < time_limit


def test_repeat_and_correct(gateway: RunningGateway) -> None:
    with RawClient(gateway.port) as client:
        client.place(1, MarketOrder("BUY", 100))
        commission = client.read_until("59")[-1]
        exec_id = commission[2]
        gateway.ctl("repeat", exec_id=exec_id)
        repeated = client.read()
        assert (repeated[0], repeated[14]) == ("11", exec_id)
        client.read_until("59")
        answer = gateway.ctl("correct", exec_id=exec_id, price=440.0)
        corrected = client.read()
        assert (corrected[14], corrected[20]) == (exec_id[:-2] + "02", "440.0")
        assert answer["exec_id"] == corrected[14]
    truth = gateway.truth()
    assert [one["superseded"] for one in truth["executions"]] == [True, False]
    assert truth["positions"][0]["avg_cost"] == pytest.approx(440.01)
    assert truth["account_values"]["DU1234567"]["cash"] == pytest.approx(100_000 - 44_001)
    with pytest.raises(ControlError, match="already corrected"):
        gateway.ctl("correct", exec_id=exec_id, price=441.0)


def test_truth_has_every_documented_key(gateway: RunningGateway) -> None:
    gateway.ctl("trade", symbol="TSLA", side="BUY", shares=2)
    gateway.ctl("trade", symbol="TSLA", side="SELL", shares=2, stop=100.0)
    truth = gateway.truth()
    order_keys = {
        "order_ref",
        "perm_id",
        "order_id",
        "client_id",
        "account",
        "symbol",
        "con_id",
        "action",
        "quantity",
        "filled",
        "remaining",
        "order_type",
        "limit_price",
        "aux_price",
        "tif",
        "parent_perm_id",
        "oca_group",
        "status",
        "why_held",
        "time",
        "completed_time",
    }
    assert set(truth) == {
        "gateway_id",
        "account",
        "accounts",
        "time",
        "trading_date",
        "positions",
        "open_orders",
        "inactive_orders",
        "completed_orders",
        "executions",
        "account_values",
    }
    assert set(truth["open_orders"][0]) == set(truth["completed_orders"][0]) == order_keys
    assert set(truth["positions"][0]) == {"account", "symbol", "con_id", "quantity", "avg_cost"}
    assert set(truth["executions"][0]) == {
        "exec_id",
        "order_ref",
        "perm_id",
        "order_id",
        "client_id",
        "account",
        "symbol",
        "con_id",
        "side",
        "shares",
        "price",
        "time",
        "cum_qty",
        "commission",
        "realized_pnl",
        "superseded",
    }
    assert set(truth["account_values"]["DU1234567"]) == {"cash", "net_liquidation", "buying_power", "realized_pnl"}
    assert truth["open_orders"][0]["aux_price"] == 100.0
