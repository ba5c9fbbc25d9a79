"""Connections to the gateway process: handshakes, client ids, hostile peers, start and end."""

from __future__ import annotations

import json
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway_helpers import RawClient, framed, order_fields, running, stock
from ib_insync import LimitOrder, MarketOrder

from paper_gateway.errors import UsageError
from paper_gateway.options import read_positions
from paper_gateway.testing import ROOT, RunningGateway


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    yield from running()


def alive(gateway: RunningGateway) -> bool:
    """Whether a new client can connect."""
    with RawClient(gateway.port, 900) as client:
        client.send("49", "1")
        return bool(client.read_until("49"))


@pytest.mark.parametrize(
    ("offer", "version"),
    [("v157..176", 176), ("v157..178", 176), ("v100..225", 176), ("v100..193", 176), ("v100..170", 170)],
)
@pytest.mark.parametrize("options", ["", " +PACEAPI"])
def test_the_version_is_the_clients_maximum_up_to_176(
    gateway: RunningGateway, offer: str, version: int, options: str
) -> None:
    with RawClient(gateway.port, 2, offer + options) as client:
        assert client.version == version


@pytest.mark.parametrize("offer", ["v100..156", "v177..200", "v200..100"])
def test_a_client_without_a_common_version_is_told_and_closed(gateway: RunningGateway, offer: str) -> None:
    with RawClient(gateway.port, 2, offer, start=False) as client:
        assert client.read()[:4] == ["4", "2", "-1", "503"]
        assert client.closed_by_peer()


def test_the_start_sequence_is_the_recorded_one(gateway: RunningGateway) -> None:
    with RawClient(gateway.port, 11) as client:
        assert client.start_messages[:2] == [["15", "1", "DU1234567"], ["9", "1", "1"]]
        assert [message[2:4] for message in client.start_messages[2:]] == [
            ["-1", "2104"],
            ["-1", "2106"],
            ["-1", "2158"],
        ]


def test_a_client_id_in_use_is_refused_and_the_first_client_stays(gateway: RunningGateway) -> None:
    with RawClient(gateway.port, 3) as first, RawClient(gateway.port, 3, start=False) as second:
        second.read()
        second.send("71", "2", 3, "")
        assert second.read()[:4] == ["4", "2", "-1", "326"]
        assert second.closed_by_peer()
        first.send("49", "1")
        assert first.read_until("49")


def test_the_next_valid_id_outlives_the_connection_and_is_of_the_client(gateway: RunningGateway) -> None:
    with RawClient(gateway.port, 21) as client:
        client.place(41, LimitOrder("BUY", 1, 1.0))
        client.read_until("3", "41")
    for client_id, expected in ((21, "42"), (22, "1")):
        with RawClient(gateway.port, client_id) as client:
            assert client.start_messages[1] == ["9", "1", expected]
            client.send("8", "1", "1")
            assert client.read_until("9")[-1] == ["9", "1", expected]


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "zeros": bytes(5000),
    "oversize offer": b"API\0" + struct.pack(">I", 2**32 - 1),
    "offer is no offer": b"API\0" + framed(b"hello"),
    "offer is not ascii": b"API\0" + framed(b"v157..\xff\xfe"),
    "empty offer": b"API\0" + framed(b""),
    "control, oversize": b"CTL\0" + struct.pack(">I", 2**31),
    "first message is an order": b"API\0" + framed(b"v157..176") + framed(b"3\0001\0"),
    "client id is a word": b"API\0" + framed(b"v157..176") + framed(b"71\0002\0seven\0\0"),
    "client id is negative": b"API\0" + framed(b"v157..176") + framed(b"71\0002\0-1\0\0"),
    "start without end": b"API\0" + framed(b"v157..176") + framed(b"71\0002\0001\0\0")[:-1] + b"x",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_closes_its_own_connection_only(gateway: RunningGateway, garbage: bytes) -> None:
    with RawClient(gateway.port, 5) as bystander:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as hostile:
            hostile.sendall(garbage)
            try:
                while hostile.recv(65536):
                    pass
            except ConnectionError:
                pass
        bystander.send("49", "1")
        assert bystander.read_until("49")


def test_an_oversize_frame_after_the_start_closes_the_client(gateway: RunningGateway) -> None:
    with RawClient(gateway.port, 6) as client:
        client.send_bytes(b"\x7f\xff\xff\xff" + b"x" * 100)
        assert client.closed_by_peer()
    assert alive(gateway)


def test_after_half_a_frame_and_a_closed_socket_the_client_id_can_connect_again(gateway: RunningGateway) -> None:
    client = RawClient(gateway.port, 7)
    client.send_bytes(b"\0\0\0\x20" + b"half")
    client.close()
    deadline = time.monotonic() + 5
    while 7 in gateway.ctl("info")["clients"]:
        assert time.monotonic() < deadline
    assert alive(gateway)


@pytest.mark.parametrize(
    ("fields", "request_id", "code"),
    [
        (["200", "1", "x"], "-1", "505"),
        (["-5"], "-1", "505"),
        (["abc"], "-1", "320"),
        ([""], "-1", "505"),
        (["3", "50"], "50", "320"),
        (["3", "x"], "-1", "320"),
        (["9", "8", "51", "0", "TSLA"], "51", "320"),
        (["7", "3", "52", "zero"], "52", "320"),
        (["4", "1", "53", ""], "53", "10147"),
        (["2", "2", "54"], "54", "300"),
        (["51", "1", "55"], "55", "300"),
        (["25", "1", "56"], "56", "366"),
        (["10", "5", "57", "0", "TSLA"], "57", "320"),
        (["88", "58", "0", "TSLA"], "58", "320"),
        (["15", "1", "1"], "-1", "327"),
        (["62", "1", "59", "All", ""], "59", "320"),
        (["6", "2", "1", "DU0000000"], "-1", "320"),
    ],
)
def test_bad_messages_are_answered_and_the_connection_stays(
    gateway: RunningGateway, fields: list[str], request_id: str, code: str
) -> None:
    with RawClient(gateway.port, 8) as client:
        client.send(*fields)
        assert client.read()[:4] == ["4", "2", request_id, code]
        client.send("49", "1")
        assert client.read_until("49")


def test_bad_messages_are_answered_up_to_a_limit(gateway: RunningGateway) -> None:
    with RawClient(gateway.port, 9) as client:
        client.send_bytes(framed(b"\xff\xfe\0"))
        assert client.read()[:4] == ["4", "2", "-1", "320"]
        client.send_bytes(framed(b"no end") * 60)
        assert client.closed_by_peer()
    assert alive(gateway)


def test_text_that_is_not_ascii_is_sent_back_unchanged(gateway: RunningGateway) -> None:
    with RawClient(gateway.port, 10) as client:
        client.place(1, MarketOrder("BUY", 1, orderRef="größe-☃"))
        client.read_until("59")
    assert gateway.truth()["executions"][-1]["order_ref"] == "größe-☃"


@pytest.mark.parametrize("quantity", ["nan", "inf", "-5", "0", "1.5", "1e400"])
def test_quantities_that_are_no_shares_are_refused(gateway: RunningGateway, quantity: str) -> None:
    with RawClient(gateway.port, 12) as client:
        fields = order_fields(1, stock(), MarketOrder("BUY", 1))
        fields[17] = quantity
        client.send(*fields)
        answer = client.read()
        assert answer[:3] == ["4", "2", "1"]
        assert answer[3] in ("320", "160", "355", "10243")


def test_a_client_that_does_not_read_is_disconnected_and_others_are_not() -> None:
    with RunningGateway() as gateway, RawClient(gateway.port, 2) as client:
        lazy = RawClient(gateway.port, 1)
        lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = order_fields(0, stock(), MarketOrder("BUY", 1))[2:14]
        query = ["20", "1", *request, "0", "", "5 secs", "1 D", "1", "TRADES", "2", "0", ""]
        history = framed("".join(f"{field}\0" for field in query).encode())
        deadline = time.monotonic() + 30
        while 1 in gateway.ctl("info")["clients"]:
            assert time.monotonic() < deadline, "the lazy client is still connected"
            try:
                lazy.send_bytes(history * 20)
            except OSError:
                break
        lazy.close()
        client.send("49", "1")
        assert client.read_until("49")
        status = Path(f"/proc/{gateway.process.pid}/status").read_text(encoding="utf-8")
        resident_kb = int(status.split("VmRSS:")[1].split()[0])
        assert resident_kb < 300_000


def test_a_port_in_use_is_refused_in_two_sentences(gateway: RunningGateway) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "paper_gateway", "--port", str(gateway.port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 2
    assert second.stdout == ""
    assert second.stderr.count(". ") + second.stderr.count(".\n") >= 2
    assert "already in use" in second.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    with RunningGateway() as gateway, RawClient(gateway.port) as client:
        gateway.process.send_signal(number)
        assert client.closed_by_peer()
        assert gateway.process.wait(10) == 0
        assert gateway.errors() == ""


def test_it_listens_on_loopback_only(gateway: RunningGateway) -> None:
    listening = Path(f"/proc/{gateway.process.pid}/net/tcp").read_text(encoding="utf-8")
    port = f":{gateway.port:04X}"
    addresses = [line.split()[1] for line in listening.splitlines() if port in line.split()[1] and " 0A " in line]
    assert addresses == ["0100007F" + port]


def test_the_ready_line_says_what_it_is(gateway: RunningGateway) -> None:
    assert gateway.ready_line == (
        f"paper gateway ready on 127.0.0.1:{gateway.port} account DU1234567 date 2025-10-06 speed 1 "
        "(this is not IBKR)\n"
    )


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ("{}", "not a JSON list"),
        ("[1]", "entry 1 is not an object"),
        ('[{"symbol": "tsla", "quantity": 1, "avg_cost": 1}]', "not a stock symbol"),
        ('[{"symbol": "TSLA", "quantity": 1.5, "avg_cost": 1}]', "whole number"),
        ('[{"symbol": "TSLA", "quantity": 1, "avg_cost": NaN}]', "not a price"),
        ('[{"symbol": "TSLA", "quantity": 1, "avg_cost": 1, "account": "DU9"}]', "is not one of"),
        ("[", "cannot be read"),
    ],
)
def test_a_bad_positions_file_is_named(tmp_path: Path, entries: str, complaint: str) -> None:
    file = tmp_path / "positions.json"
    file.write_text(entries, encoding="utf-8")
    with pytest.raises(UsageError, match=complaint) as caught:
        read_positions(file, ["DU1234567"])
    assert str(file) in caught.value.message


def test_positions_accounts_cash_and_log_are_taken_from_the_flags(tmp_path: Path) -> None:
    file, log = tmp_path / "positions.json", tmp_path / "gateway.log"
    held = [
        {"symbol": "TSLA", "quantity": 100, "avg_cost": 440.5},
        {"symbol": "KO", "quantity": -7, "avg_cost": 65, "account": "DU7654321"},
    ]
    file.write_text(json.dumps(held), encoding="utf-8")
    flags = ("--account", "DU1111111", "--account", "DU7654321", "--cash", "5000", "--log", str(log))
    with RunningGateway("--positions", str(file), *flags) as gateway, RawClient(gateway.port) as client:
        assert client.start_messages[0] == ["15", "1", "DU1111111,DU7654321"]
        truth = gateway.truth()
        kept = [(one["account"], one["symbol"], one["quantity"], one["avg_cost"]) for one in truth["positions"]]
        assert kept == [("DU1111111", "TSLA", 100, 440.5), ("DU7654321", "KO", -7, 65.0)]
        assert truth["account_values"]["DU7654321"]["cash"] == 5000
        client.place(1, MarketOrder("BUY", 1))
        assert client.read()[2:4] == ["1", "435"]
    assert "client 1 connected" in log.read_text(encoding="utf-8")


def valid_messages() -> list[list[str]]:
    """One message of every kind that the gateway supports."""
    contract = ["0", "TSLA", "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]
    return [
        order_fields(1, stock(), LimitOrder("BUY", 1, 400.0, orderRef="f")),
        ["1", "11", "5", *contract, "0", "233", "0", "0", ""],
        ["2", "2", "5"],
        ["4", "1", "1", ""],
        ["5", "1"],
        ["6", "2", "1", ""],
        ["7", "3", "6", "0", "", "20251006 09:30:00 US/Eastern", "TSLA", "STK", "", "BUY"],
        ["8", "1", "1"],
        ["9", "8", "7", *contract, "0", "", "", ""],
        ["14", "1", "2"],
        ["15", "1", "0"],
        ["16", "1"],
        ["17", "1"],
        ["20", "8", *contract, "0", "20251006 09:40:00", "1 min", "600 S", "1", "TRADES", "1", "0", ""],
        ["25", "1", "8"],
        ["50", "3", "9", *contract, "5", "TRADES", "1", ""],
        ["51", "1", "9"],
        ["58", "1"],
        ["59", "1", "3"],
        ["61", "1"],
        ["62", "1", "10", "All", "NetLiquidation"],
        ["63", "1", "10"],
        ["64", "1"],
        ["76", "1", "11", "", "", "0"],
        ["77", "1", "11"],
        ["99", "0"],
    ]


JUNK = ["", "nan", "-1", "9" * 20, "x" * 3000, "é☃", "1e308", "0.5", "TSLA", "-0", "20251006 25:61:61"]


@pytest.mark.parametrize("seed", range(3))
def test_damaged_messages_of_every_kind_cause_no_defect(seed: int) -> None:
    rng = random.Random(seed)
    with RunningGateway("--speed", "60") as gateway:
        client = RawClient(gateway.port)
        for _ in range(1500):
            fields = list(rng.choice(valid_messages()))
            for _ in range(rng.randint(0, 3)):
                fields[rng.randrange(len(fields))] = rng.choice(JUNK)
            if rng.random() < 0.1:
                del fields[rng.randrange(1, len(fields) + 1) :]
            client.send(*fields)
        client.send("8", "1", "1")
        client.send("49", "1")
        client.read_until("49")
        client.close()
        assert alive(gateway)
        assert "defect" not in gateway.errors()
        assert "Traceback" not in gateway.errors()
        json.dumps(gateway.truth(), allow_nan=False)
