"""The operator's commands beside connections to the control socket that only take up room."""

import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from lab import Trader, scanner

from paper_gateway.testing import RunningGateway
from state.storage.files import Folder
from trader.cli.control_client import ask
from trader.runtime.control_socket import CONNECTIONS_MAX, SOCKET

IDLE = 300
DESCRIPTORS = 128  # a limit that is below IDLE, and above what a trader and its connections need
AT_ONCE_S = 1.0


def says_nothing(client: socket.socket) -> None:
    assert client.fileno() >= 0


def says_half(client: socket.socket) -> None:
    client.sendall(b'{"command": "pause", ')


def never_reads(client: socket.socket) -> None:
    client.sendall(b'{"command": "unknown"}\n' * 1000)


def descriptors(trader: Trader) -> int:
    return len(list(Path(f"/proc/{trader.process.pid}/fd").iterdir()))


@contextmanager
def idle_clients(logs: Path, begin: Callable[[socket.socket], None]) -> Iterator[None]:
    """Open connections, all of which stay open at this end; the trader may have closed some."""
    with ExitStack() as opened:
        for _ in range(IDLE):
            client = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 10, 0))  # of connect, too
            client.connect(str(logs / SOCKET))
            try:
                begin(client)
            except (BrokenPipeError, ConnectionResetError):
                continue
        yield


def assert_answers_at_once(folder: Folder) -> None:
    for command in ("pause", "unpause"):
        began = time.monotonic()
        answer = ask(folder, command, {"reason": "the test says so"})
        assert answer is not None
        assert answer["ok"], answer
        assert time.monotonic() - began < AT_ONCE_S, command


@pytest.mark.parametrize("begin", [says_nothing, says_half, never_reads])
def test_g11_a_command_is_served_at_once_beside_idle_connections(
    shared_gateway: RunningGateway, tmp_path: Path, begin: Callable[[socket.socket], None]
) -> None:
    """Twice as many connections as the trader may have files open; it keeps its own files and its connection."""
    with Trader(shared_gateway, tmp_path, scanner_dir=scanner(tmp_path)) as trader:
        trader.wait_ready()
        before = descriptors(trader)
        resource.prlimit(trader.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        with Folder.open(trader.logs, create=False) as folder, idle_clients(trader.logs, begin):
            assert_answers_at_once(folder)
            assert descriptors(trader) <= before + CONNECTIONS_MAX + 1
            assert trader.status()["ready"]
        assert trader.stop() == 0
        assert "Traceback" not in trader.output()
