"""A peer that sends the messages a test asks for, in TWS's framing: for messages that no gateway sends."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

ACCOUNT = "DU1234567"
STOCK = (265598, "AAPL", "STK", "", 0.0, "", "", "SMART", "USD", "AAPL", "NMS")
FUTURE = (495512, "ES", "FUT", "20251219", 0.0, "", "50", "CME", "USD", "ESZ5", "ES")

Fields = tuple[object, ...]
Answers = dict[int, Callable[[list[str]], list[Fields]]]


def frame(*fields: object) -> bytes:
    body = "".join(f"{field}\0" for field in fields).encode()
    return struct.pack(">I", len(body)) + body


TWS_GREETING = frame("176", "20251006 10:00:00 US/Eastern")


def complete_answers() -> Answers:
    """Answers of an empty account to every request, with their end markers."""
    return {
        5: lambda _: [(53, 1)],
        7: lambda asked: [(55, 1, asked[2])],
        16: lambda _: [(53, 1)],
        49: lambda _: [(49, 1, 1_759_759_200)],
        61: lambda _: [(62, 1)],
        62: lambda asked: [
            *[(63, 1, asked[2], ACCOUNT, tag, "1000.0", "USD") for tag in asked[4].split(",")],
            (64, 1, asked[2]),
        ],
        99: lambda _: [(102,)],
    }


def order_status(order_id: int, status: str, perm_id: int = 7001, filled: int = 0) -> Fields:
    return (3, order_id, status, filled, 100 - filled, 0.0, perm_id, 0, 0.0, 2001, "", 0.0)


class ScriptedTws:
    """One session. received: the fields of each message."""

    def __init__(self, answers: Answers, greeting: bytes | None) -> None:
        self.answers = answers
        self.greeting = greeting
        self.received: list[list[str]] = []
        self.start: tuple[Fields, ...] = ((15, 1, ACCOUNT), (9, 1, 1))
        self.port = 0
        self._writer: asyncio.StreamWriter | None = None

    def send(self, *messages: Fields) -> None:
        """Send the messages in one write."""
        assert self._writer is not None
        self._writer.write(b"".join(frame(*fields) for fields in messages))

    def send_raw(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)

    def hang_up(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()

    def of_kind(self, number: int) -> list[list[str]]:
        return [fields for fields in self.received if fields[0] == str(number)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        with contextlib.suppress(ConnectionError):
            await self._listen(reader, writer)
        writer.close()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = b""
        greeted = False
        while data := await reader.read(1 << 20):
            buffer += data
            if not greeted:
                greeted = True
                buffer = b""
                writer.write(self.greeting or b"")
                continue
            if self.greeting is None:
                continue
            buffer = self._take(buffer)

    def _take(self, buffer: bytes) -> bytes:
        while len(buffer) >= 4 and len(buffer) >= 4 + struct.unpack(">I", buffer[:4])[0]:
            size = struct.unpack(">I", buffer[:4])[0]
            fields = buffer[4 : 4 + size].decode().split("\0")[:-1]
            buffer = buffer[4 + size :]
            self.received.append(fields)
            if fields[0] == "71":
                self.send(*self.start)
            elif int(fields[0]) in self.answers:
                self.send(*self.answers[int(fields[0])](fields))
        return buffer


@asynccontextmanager
async def scripted_tws(
    answers: Answers | None = None, greeting: bytes | None = TWS_GREETING
) -> AsyncIterator[ScriptedTws]:
    """A listening peer on a free port. greeting: None to accept the connection and send nothing."""
    tws = ScriptedTws(complete_answers() if answers is None else answers, greeting)
    server = await asyncio.start_server(tws.serve, "127.0.0.1", 0)
    tws.port = server.sockets[0].getsockname()[1]
    try:
        yield tws
    finally:
        server.close()
        tws.hang_up()
