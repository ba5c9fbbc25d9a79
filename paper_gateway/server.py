"""The TCP server: accepts connections, does the handshake, reads messages. An error of one client does not
affect the others."""

from __future__ import annotations

import asyncio
import logging
import re
import time

from paper_gateway import (
    handlers_account,
    handlers_executions,
    handlers_market,
    handlers_orders,
    handlers_reference,
    replies,
    wire,
)
from paper_gateway.control import Control
from paper_gateway.errors import FrameError, ProtocolError
from paper_gateway.handlers import Services, dispatch
from paper_gateway.session import Session

log = logging.getLogger(__name__)

MIN_VERSION = 157
MAX_VERSION = 176
"""The newest version whose messages are all text, and the newest that ib_insync supports."""

HANDSHAKE_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 30.0
MAX_CONNECTIONS = 64
MAX_BAD_MESSAGES = 50
CONTROL_MAGIC = b"CTL\0"
START_API = 71
CLIENT_ID_IN_USE = "Unable to connect as the client id is already in use. Retry with a unique client id."
STEP_S = 0.025
ACCOUNT_REFRESH_S = 180.0

HANDLER_MODULES = (handlers_account, handlers_executions, handlers_market, handlers_orders, handlers_reference)
"""Imported because they register their handlers."""

_NOTICES = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefil"),
)
_OFFER = re.compile(rb"v(\d{1,4})\.\.(\d{1,4})( .*)?", re.DOTALL)


class Server:
    """One TCP port for API clients and for control clients. The first four bytes tell which."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.stopping = asyncio.Event()
        self._control = Control(services, self.stopping.set)
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, port: int) -> asyncio.Server:
        """Listen on 127.0.0.1 only. Raises OSError if the port is in use."""
        return await asyncio.start_server(self._accept, "127.0.0.1", port)

    async def close(self) -> None:
        """Close every connection, after its queued messages are written."""
        for session in list(self.services.publisher.sessions.values()):
            session.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def run_market(self) -> None:
        """Advance the market, and send the regular account updates, until cancelled."""
        refresh_at_s = time.monotonic() + ACCOUNT_REFRESH_S
        while True:
            self.services.feed.step()
            if time.monotonic() >= refresh_at_s:
                refresh_at_s += ACCOUNT_REFRESH_S
                self.services.publisher.refresh_accounts()
            await asyncio.sleep(STEP_S)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            log.warning("a connection is refused: %d are open", MAX_CONNECTIONS)
            writer.close()
            return
        task = asyncio.create_task(self._connected(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (FrameError, ProtocolError) as error:
            log.warning("connection closed: %s", error)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            log.info("connection ended: %r", error)
        except Exception:  # a defect met with one client must not end the gateway
            log.exception("connection closed after a defect of the gateway")
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            magic = await reader.readexactly(4)
            if magic == CONTROL_MAGIC:
                request = await wire.read_frame(reader)
        if magic == CONTROL_MAGIC:
            await self._serve_control(request, reader, writer)
        elif magic != b"API\0":
            raise FrameError(f"a connection began with {magic!r} instead of API\\0")
        elif not self.services.brokerage.faults.refuses_connections():
            await self._serve_client(reader, writer)

    async def _serve_control(
        self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            writer.write(wire.frame(self._control.answer(request)))
            await writer.drain()
            async with asyncio.timeout(BODY_TIMEOUT_S):
                request = await wire.read_frame(reader)

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            version = _agreed_version(await wire.read_frame(reader))
            if version is None:
                writer.write(replies.error(-1, 503, "The API client is too old or too new for this gateway.", 176))
                return
            writer.write(replies.handshake(version, self.services.clock.now()))
            session = Session(writer, self.services.brokerage.faults, version)
            client_id = _client_id(wire.split(await wire.read_frame(reader)))
        if not self._admit(session, client_id):
            return
        try:
            await self._read_messages(session, reader)
        finally:
            self._release(session)

    def _admit(self, session: Session, client_id: int) -> bool:
        sessions = self.services.publisher.sessions
        if client_id in sessions or self.services.brokerage.faults.is_stuck(client_id):
            session.error(-1, 326, CLIENT_ID_IN_USE)
            session.close()
            return False
        session.client_id = client_id
        sessions[client_id] = session
        log.info("client %d connected", client_id)
        brokerage = self.services.brokerage
        session.send(
            "ids",
            replies.managed_accounts(brokerage.account_ids),
            replies.next_valid_id(brokerage.order_store.next_order_id(client_id)),
        )
        if brokerage.quirks.on("orders-on-connect"):
            handlers_orders.open_orders(self.services, session, wire.FieldReader([]))
        for code, text in _NOTICES:
            session.error(-1, code, text)
        return True

    def _release(self, session: Session) -> None:
        session.closed = True
        assert session.client_id is not None
        if self.services.publisher.sessions.get(session.client_id) is session:
            del self.services.publisher.sessions[session.client_id]
        self.services.feed.forget(session)
        order_entry = self.services.brokerage.order_entry
        order_entry.disconnected(session.client_id)
        if session.client_id == 0:
            order_entry.auto_bind = False
        log.info("client %d disconnected", session.client_id)

    async def _read_messages(self, session: Session, reader: asyncio.StreamReader) -> None:
        bad = 0
        while not session.closed:
            body = await wire.read_frame(reader, BODY_TIMEOUT_S)
            try:
                fields = wire.split(body)
            except ProtocolError as error:
                bad += 1
                session.error(-1, 320, f"Error reading request: {error}")
                if bad > MAX_BAD_MESSAGES:
                    raise
                continue
            self.services.feed.step()
            dispatch(self.services, session, fields)


def _agreed_version(offer: bytes) -> int | None:
    """The protocol version: the client's maximum, at most MAX_VERSION. None if the client's range has none.

    Raises FrameError for an invalid offer.
    """
    match = _OFFER.fullmatch(offer)
    if match is None:
        raise FrameError(f"the version offer is {offer[:40]!r} instead of v<min>..<max>")
    lowest, highest = int(match[1]), int(match[2])
    version = min(highest, MAX_VERSION)
    return version if lowest <= version >= MIN_VERSION else None


def _client_id(fields: list[str]) -> int:
    """The client id of START_API. Raises ProtocolError for any other message."""
    reader = wire.FieldReader(fields)
    if reader.whole("message id") != START_API:
        raise ProtocolError(f"the first message is {fields[0][:10]!r} instead of START_API (71)")
    reader.skip("version")
    client_id = reader.whole("clientId")
    if client_id < 0 or client_id > wire.UNSET_INTEGER:
        raise ProtocolError(f"client id {client_id} is out of range")
    return client_id
