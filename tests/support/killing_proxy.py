"""A proxy between trader and gateway that kills the trader at an exact message.

The trader connects to it with `--gateway 127.0.0.1:<port>`. It reads the frames that the trader sends (a uint32
length and fields ended by NUL, the message's number first), and can send SIGKILL before or after it passes one on.
The trader sends a bracket in one write; the proxy can cut it between its two orders.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

PLACE_ORDER = "3"
Verdict = Literal["pass", "kill_before", "kill_after"]
Judge = Callable[[str, bytes], Verdict]


class KillingProxy:
    """Passes every frame on until `judge(message number, frame)` returns a kill. victim: the pid to kill."""

    def __init__(self, gateway_port: int) -> None:
        self.judge: Judge | None = None
        self.victim = 0
        self.killed = threading.Event()
        self.seen: list[str] = []  # the numbers of the messages that the trader sent
        self._gateway_port = gateway_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def flags(self) -> tuple[str, str]:
        """The trader's flags to connect through this proxy."""
        return ("--gateway", f"127.0.0.1:{self.port}")

    def kill_at_order(self, number: int, verdict: Verdict) -> None:
        """Kill at the number-th order that is placed or changed after this call, counted from 1."""
        counted = iter(range(1, 1_000_000))

        def judge(message: str, _: bytes) -> Verdict:
            return verdict if message == PLACE_ORDER and next(counted) == number else "pass"

        self._arm(judge)

    def kill_at_message(self, number: int) -> None:
        """Kill instead of passing on the number-th message after this call, counted from 1."""
        counted = iter(range(1, 1_000_000))
        self._arm(lambda *_: "kill_before" if next(counted) == number else "pass")

    def disarm(self) -> None:
        self._arm(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _end(self._listener)
        for thread in self._threads:
            thread.join(5.0)
        self._listener.close()

    def _arm(self, judge: Judge | None) -> None:
        self.killed.clear()
        self.seen.clear()
        self.judge = judge

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed: the test is over
            while True:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._gateway_port)) as gateway:
            back = threading.Thread(target=self._to_client, args=(client, gateway), daemon=True)
            back.start()
            self._to_gateway(client, gateway)
            back.join()

    def _to_client(self, client: socket.socket, gateway: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := gateway.recv(65536):
                client.sendall(data)
        _end(client, gateway)

    def _to_gateway(self, client: socket.socket, gateway: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            gateway.sendall(_exactly(client, 4))  # API\0
            self._pass_frames(client, gateway)
        _end(client, gateway)

    def _pass_frames(self, client: socket.socket, gateway: socket.socket) -> None:
        greeting = True
        verdict: Verdict = "pass"
        while verdict == "pass":
            header = _exactly(client, 4)
            body = _exactly(client, struct.unpack(">I", header)[0])
            message = "greeting" if greeting else body.split(b"\0", 1)[0].decode()
            greeting = False
            self.seen.append(message)
            verdict = self.judge(message, body) if self.judge is not None else "pass"
            if verdict != "kill_before":
                gateway.sendall(header + body)
        self._kill()

    def _kill(self) -> None:
        self.judge = None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.victim, signal.SIGKILL)
        self.killed.set()


def _end(*streams: socket.socket) -> None:
    """Shut down both directions: close alone does not reach the peer while another thread reads the socket."""
    for stream in streams:
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)


def _exactly(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = stream.recv(size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data
