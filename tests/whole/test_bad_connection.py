"""Ports without a gateway, a client id in use and a second trader: refused or waited for, and nothing lost."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bad_input_cases import assert_nothing_lost, assert_refused, contents, trader
from lab import DATE, Trader, free_port, scanner, status, wait_for

from paper_gateway.testing import RunningGateway


@contextmanager
def stranger(answer: bytes) -> Iterator[int]:
    """A program that is no gateway: it accepts connections and sends every client the same bytes."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return  # the test has ended
            with peer:
                peer.recv(4096)
                peer.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


@pytest.mark.parametrize("flags", [("--reconcile-only",), ("--reconcile-only", "--json")], ids=["text", "json"])
def test_without_a_gateway_a_one_shot_command_ends_with_7(flags: tuple[str, ...], earlier_logs: Path) -> None:
    before = contents(earlier_logs)
    done = trader(1, earlier_logs, "--gateway", f"127.0.0.1:{free_port()}", *flags)
    assert_refused(done, 7, "Nothing accepts connections", "Start TWS or IB Gateway")
    assert contents(earlier_logs) == before


def test_without_a_gateway_a_run_shows_the_state_and_keeps_trying(
    earlier_logs: Path, shared_gateway: RunningGateway
) -> None:
    before = contents(earlier_logs)
    with Trader(shared_gateway, earlier_logs.parent, "--gateway", f"127.0.0.1:{free_port()}") as waiting:
        wait_for(lambda: "Trying again every" in waiting.output())
        assert f"the state of {DATE} is all there is" in waiting.output()
        assert status(earlier_logs)["entries_open"] is False
        assert waiting.stop() == 0
        assert "Traceback" not in waiting.output()
    assert_nothing_lost(before, earlier_logs)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\xff\xff\xff" + b"\0" * 64],
    ids=["closes", "http", "huge"],
)
def test_something_else_answers_on_the_port(answer: bytes, earlier_logs: Path) -> None:
    before = contents(earlier_logs)
    with stranger(answer) as port:
        embedded = trader(port, earlier_logs, "--reconcile-only")
        assert_refused(embedded, 7, "that is not the embedded paper gateway")
        real = trader(1, earlier_logs, "--gateway", f"127.0.0.1:{port}", "--reconcile-only")
        assert_refused(real, 7, f"127.0.0.1:{port}")
    assert contents(earlier_logs) == before


def test_f22_the_client_id_is_taken(shared_gateway: RunningGateway, tmp_path: Path) -> None:
    """No other id is tried: only this one may change the stops."""
    scans = scanner(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with Trader(shared_gateway, elsewhere, scanner_dir=scans) as first:
        first.wait_ready()
        with Trader(shared_gateway, tmp_path, scanner_dir=scans) as second:
            wait_for(lambda: "is already in use" in second.output() or "client id" in second.output().lower())
            assert shared_gateway.ctl("info")["clients"] == [2001]
            first.kill()
            second.wait_ready()  # it continues without the operator as soon as the id is free


def test_i14_a_second_trader_is_refused(shared_gateway: RunningGateway, tmp_path: Path) -> None:
    with Trader(shared_gateway, tmp_path, scanner_dir=scanner(tmp_path)) as first:
        first.wait_ready()
        done = trader(shared_gateway.port, first.logs)
        assert_refused(done, 4, f"pid {first.process.pid}", "--logs-dir")
        assert first.process.poll() is None
        assert first.status()["ready"]
        assert first.stop() == 0
