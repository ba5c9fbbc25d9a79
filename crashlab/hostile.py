"""Hostile peers: frames that no client sends, to the gateway; answers that no gateway gives, to the trader.

The liar stands between a trader and its gateway and spoils some of what the gateway says: numbers, types, missing
fields, messages lost, said twice or made up. Then it becomes honest, the trader is killed and started again, and
the books have to agree with the gateway's truth.
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

from crashlab.compare import sent_twice
from crashlab.parallel import spread
from crashlab.processes import DATE, Trader
from crashlab.report import Tally
from crashlab.storm import SETTINGS, signals
from paper_gateway.errors import ControlError
from paper_gateway.testing import RunningGateway

FRAMES, LIES = "hostile frames to the gateway", "a gateway that lies to the trader"
GATEWAY = ("--speed", "30", "--start", "09:46:20", "--date", DATE)
LYING_S, AGREE_S = 3.0, 25.0
SPOILED = ("nan", "inf", "-1", "", "1e308", "9" * 40, "x", "\x7f", "0", "2147483648", "None")
HELLO = b"API\0" + struct.pack(">I", 9) + b"v157..176"


def hostile_frames(count: int, seed: int) -> Tally:
    """Connections that send nonsense; after each the gateway must still answer."""
    tally, chance = Tally(FRAMES), random.Random(seed)
    with tally.timed(), RunningGateway(*GATEWAY) as gateway:
        for number in range(count):
            tally.points += 1
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", gateway.port), 2) as peer:
                peer.settimeout(0.02)
                for piece in _nonsense(chance):
                    peer.sendall(piece)
                with contextlib.suppress(TimeoutError):
                    peer.recv(4096)
            if number % 20 == 0 or number == count - 1:
                try:
                    gateway.truth()
                except ControlError as error:
                    said = f"{error.message} {gateway.errors()[-800:]}"
                    tally.fail("wrong", f"seed {seed}, connection {number}: {said}")
                    break
        if "Traceback" in gateway.errors():
            tally.fail("wrong", f"seed {seed}: {gateway.errors()[-1500:]}")
    return tally


def _nonsense(chance: random.Random) -> Iterator[bytes]:
    """What one bad client sends: no greeting, half of one, or a good one and bad messages behind it."""
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
        fields += [chance.choice((*SPOILED, "1", "AAPL", "DU1234567")) for _ in range(chance.randrange(0, 130))]
        frame = _frame(fields)
        yield struct.pack(">I", chance.choice((0, 2**31, 2**32 - 1))) + frame[4:] if kind == 2 else frame


def _frame(fields: list[str]) -> bytes:
    body = "".join(f"{field}\0" for field in fields).encode()
    return struct.pack(">I", len(body)) + body


class Liar:
    """A proxy in front of a gateway; spoils each of its messages with probability `rate` while `rate` is not 0."""

    def __init__(self, gateway_port: int, seed: str) -> None:
        self.rate = 0.0
        self.lies = 0
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
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                threading.Thread(target=self._tell, args=(server, client), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), client, server:
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _tell(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                (size,) = struct.unpack(">I", _exactly(server, 4))
                for body in self._spoiled(_exactly(server, size)):
                    client.sendall(struct.pack(">I", len(body)) + body)

    def _spoiled(self, body: bytes) -> list[bytes]:
        chance = self._chance
        if chance.random() >= self.rate:
            return [body]
        self.lies += 1
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
            fields[chance.randrange(len(fields))] = chance.choice(SPOILED).encode()
        return [b"".join(field + b"\0" for field in fields)]


def lies(rounds: int, seed: int) -> Tally:
    """So many traders that are lied to."""
    tally = Tally(LIES)
    with tally.timed():
        for part in spread(_lied_to, [(seed, number) for number in range(rounds)]):
            tally.add(part)
    return tally


def _lied_to(job: tuple[int, int]) -> Tally:
    seed, number = job
    tally = Tally(LIES, points=1)
    with (
        tempfile.TemporaryDirectory() as name,
        RunningGateway(*GATEWAY) as gateway,
        Liar(gateway.port, f"{seed}/{number}") as liar,
    ):
        flags = ("--gateway", f"127.0.0.1:{liar.port}", "--symbols", "TSLA,NVDA")
        try:
            with Trader(gateway, Path(name), *flags, scanner_dir=None, under=(), **SETTINGS) as victim:
                victim.wait_ready()
                liar.rate = (0.02, 0.1, 0.3)[number % 3]
                time.sleep(LYING_S)  # not for luck: so long the lies go on
                liar.rate = 0.0
                code = victim.process.poll()
                tally.count("lies", liar.lies)
                tally.count("ended by them", int(code is not None))
                if code == 1 or "Traceback" in victim.output():
                    tally.fail("wrong", f"seed {seed}, round {number}: {victim.output()[-1500:]}")
                victim.kill()
            with Trader(gateway, Path(name), *flags, scanner_dir=None, under=(), **SETTINGS) as honest:
                honest.wait_agreed(AGREE_S)
                for words in sent_twice(gateway.truth(), list(signals(honest.logs))):
                    tally.fail("wrong", f"seed {seed}, round {number}: twice: {words}")
                honest.stop()
        except AssertionError as error:
            kind = "unprotected" if " 0 live stops" in str(error) else "wrong"
            tally.fail(kind, f"seed {seed}, round {number}: {str(error)[-1500:]}")
    return tally


def _exactly(peer: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        piece = peer.recv(count - len(received))
        if not piece:
            raise EOFError
        received += piece
    return received
