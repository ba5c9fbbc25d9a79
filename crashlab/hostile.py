"""Hostile peers: invalid frames to the gateway, and corrupted messages of the gateway to the trader.

A proxy between trader and gateway corrupts some of the gateway's messages: wrong numbers and types, missing fields,
messages lost, repeated or of another kind. Then the proxy stops corrupting, the trader is killed and started again,
and its state must agree with the gateway's truth.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from crashlab.compare import CLIENT_ID, kind_of_failure, sent_twice
from crashlab.exposure import Context, Span
from crashlab.parallel import spread
from crashlab.processes import DATE, Trader
from crashlab.report import Tally
from crashlab.storm import SETTINGS, signals
from crashlab.verdict import RECONNECT_S, judge_gateway, without_trader
from paper_gateway.errors import ControlError
from paper_gateway.testing import RunningGateway

FRAMES, CORRUPTED = "hostile frames to the gateway", "a gateway that lies to the trader"
GATEWAY = ("--speed", "30", "--start", "09:46:20", "--date", DATE)
CORRUPTING_S, AGREE_S = 3.0, 25.0
BAD_VALUES = ("nan", "inf", "-1", "", "1e308", "9" * 40, "x", "\x7f", "0", "2147483648", "None")
HELLO = b"API\0" + struct.pack(">I", 9) + b"v157..176"


def hostile_frames(count: int, seed: int) -> Tally:
    """Connections that send invalid bytes. The gateway must still answer afterwards."""
    tally, chance = Tally(FRAMES), random.Random(seed)
    with tally.timed(), RunningGateway(*GATEWAY) as gateway:
        for number in range(count):
            tally.points += 1
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", gateway.port), 2) as peer:
                peer.settimeout(0.02)
                for piece in _bad_frames(chance):
                    peer.sendall(piece)
                with contextlib.suppress(TimeoutError):
                    peer.recv(4096)
            if number % 20 == 0 or number == count - 1:
                try:
                    gateway.truth()
                except ControlError as error:
                    details = f"{error.message} {gateway.errors()[-800:]}"
                    tally.fail("wrong", f"seed {seed}, connection {number}: {details}")
                    break
        if "Traceback" in gateway.errors():
            tally.fail("wrong", f"seed {seed}: {gateway.errors()[-1500:]}")
    return tally


def _bad_frames(chance: random.Random) -> Iterator[bytes]:
    """What one bad client sends: no handshake, half of one, or a valid one and then bad messages."""
    kind = chance.randrange(4)
    if kind == 0:
        yield chance.randbytes(chance.randrange(1, 300))
        return
    if kind == 1:
        yield HELLO[: chance.randrange(len(HELLO))]
        return
    yield HELLO
    yield _frame(["71", "2", str(chance.randrange(10_000)), ""])
    for _ in range(chance.randrange(1, 6)):
        fields = [str(chance.choice((1, 3, 4, 5, 6, 7, 9, 16, 20, 49, 50, 61, 62, 76, 99, -1, 10**9)))]
        fields += [chance.choice((*BAD_VALUES, "1", "AAPL", "DU1234567")) for _ in range(chance.randrange(0, 130))]
        frame = _frame(fields)
        yield struct.pack(">I", chance.choice((0, 2**31, 2**32 - 1))) + frame[4:] if kind == 2 else frame


def _frame(fields: list[str]) -> bytes:
    body = "".join(f"{field}\0" for field in fields).encode()
    return struct.pack(">I", len(body)) + body


class CorruptingProxy:
    """A proxy in front of a gateway. It corrupts each message of the gateway with probability `rate`."""

    def __init__(self, gateway_port: int, seed: str) -> None:
        self.rate = 0.0
        self.corrupted = 0
        self._chance = random.Random(seed)
        self._gateway_port = gateway_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._gateway_port))
                threading.Thread(target=self._to_gateway, args=(client, server), daemon=True).start()
                threading.Thread(target=self._to_client, args=(server, client), daemon=True).start()

    def _to_gateway(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), client, server:
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                (size,) = struct.unpack(">I", _exactly(server, 4))
                for body in self._corrupt(_exactly(server, size)):
                    client.sendall(struct.pack(">I", len(body)) + body)

    def _corrupt(self, body: bytes) -> list[bytes]:
        chance = self._chance
        if chance.random() >= self.rate:
            return [body]
        self.corrupted += 1
        fields = body.split(b"\0")[:-1]
        way = chance.randrange(6)
        if way == 0:
            return []
        if way == 1:
            return [body, body]
        if way == 2:
            fields = fields[: chance.randrange(1, len(fields) + 1)]
        elif way == 3:
            fields[0] = str(chance.randrange(-5, 120)).encode()
        else:
            fields[chance.randrange(len(fields))] = chance.choice(BAD_VALUES).encode()
        return [b"".join(field + b"\0" for field in fields)]


def corrupted_answers(rounds: int, seed: int) -> Tally:
    """`rounds` traders that get corrupted messages."""
    tally = Tally(CORRUPTED)
    with tally.timed():
        for part in spread(_corrupted_round, [(seed, number) for number in range(rounds)]):
            tally.add(part)
    return tally


def _corrupted_round(job: tuple[int, int]) -> Tally:
    seed, number = job
    tally = Tally(CORRUPTED, points=1)
    with (
        tempfile.TemporaryDirectory() as name,
        RunningGateway(*GATEWAY) as gateway,
        CorruptingProxy(gateway.port, f"{seed}/{number}") as proxy,
    ):
        flags = ("--gateway", f"127.0.0.1:{proxy.port}", "--symbols", "TSLA,NVDA")
        try:
            with Trader(gateway, Path(name), *flags, scanner_dir=None, under=(), **SETTINGS) as trader:
                trader.wait_ready()
                began_s = time.time()
                proxy.rate = (0.02, 0.1, 0.3)[number % 3]
                time.sleep(CORRUPTING_S)  # the duration of the corruption
                proxy.rate = 0.0
                code = trader.process.poll()
                tally.count("lies", proxy.corrupted)
                tally.count("ended by them", int(code is not None))
                if code == 1 or "Traceback" in trader.output():
                    tally.fail("wrong", f"seed {seed}, round {number}: {trader.output()[-1500:]}")
                ended_s = time.time()
                trader.kill()
            with Trader(gateway, Path(name), *flags, scanner_dir=None, under=(), **SETTINGS) as restarted:
                restarted.wait_agreed(AGREE_S)
                agreed_s = time.time()
                lies = Span(began_s, min(agreed_s, ended_s + RECONNECT_S), "corrupted messages")
                spans = (lies, without_trader(ended_s, ended_s, agreed_s))
                context = Context(spans=spans, client_ids=(CLIENT_ID,))
                judge_gateway(tally, gateway, context, f"seed {seed}, round {number}")
                for message in sent_twice(gateway.truth(), list(signals(restarted.logs))):
                    tally.fail("wrong", f"seed {seed}, round {number}: sent twice: {message}")
                restarted.stop()
        except AssertionError as error:
            tally.fail(kind_of_failure(str(error)), f"seed {seed}, round {number}: {str(error)[-1500:]}")
    return tally


def _exactly(peer: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        piece = peer.recv(count - len(received))
        if not piece:
            raise EOFError
        received += piece
    return received
