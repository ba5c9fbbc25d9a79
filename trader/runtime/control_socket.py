"""The operator's requests to a running trader: a socket in the logs folder that only its owner may open (0600).

A request is a line with a JSON object: `{"command": "pause", "arguments": {"reason": "lunch"}}`. The answer is
`{"ok": true, ...}` or `{"ok": false, "error": "...", "hint": "..."}`. Requests go through the engine's queue, so
that a command is never carried out in the middle of a decision.

Any program of the same user can connect. Connections that send nothing, or half a request, or read no answer, are
limited in number and in time, and a new connection displaces the oldest of them.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

from state.storage.files import Folder
from trader.core.messages import OperatorRequest
from trader.errors import BrokerError
from trader.plain_text import plain

_log = logging.getLogger("trader.runtime.control_socket")

SOCKET = "trader.sock"
LINE_LIMIT_BYTES = 64 * 1024
REQUEST_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 60.0
CONNECTIONS_MAX = 32
BACKLOG = 128  # connections that the kernel keeps until they are accepted; they cost the trader nothing
ACCEPT_PAUSE_S = 0.1


class Requests:
    """The operator's requests that wait for their answer, by id. Used in the event loop's thread only."""

    def __init__(self, submit: Callable[[OperatorRequest], None]) -> None:
        self._submit = submit
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_id = 0

    def ask(self, command: str, arguments: dict[str, Any]) -> asyncio.Future[dict[str, Any]]:
        """Submit a request to the engine; the future gets its answer."""
        self._last_id += 1
        request_id = self._last_id
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = reply
        reply.add_done_callback(lambda _: self._waiting.pop(request_id, None))
        self._submit(OperatorRequest(request_id, command, arguments))
        return reply

    def answer(self, request_id: int, content: dict[str, Any]) -> None:
        """Answer a request, unless its client no longer waits."""
        reply = self._waiting.get(request_id)
        if reply is not None and not reply.done():
            reply.set_result(content)


def socket_path(folder: Folder) -> str:
    """The socket's path by the folder's descriptor: a socket's path is limited to 107 bytes, a folder's is not."""
    return f"/proc/self/fd/{folder.fd}/{SOCKET}"


@contextlib.asynccontextmanager
async def serve(folder: Folder, requests: Requests) -> AsyncIterator[None]:
    """Listen while the context lasts. The caller holds the folder's lock, so an existing socket is left over."""
    folder.discard(SOCKET)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        mask = os.umask(0o177)
        try:
            listener.bind(socket_path(folder))
        finally:
            os.umask(mask)
        listener.listen(BACKLOG)
        listener.settimeout(0)
        server = _Server(listener, requests)
        accepting = asyncio.create_task(server.accept())
        try:
            yield
        finally:
            accepting.cancel()
            await server.end()
            folder.discard(SOCKET)


class _Server:
    """Serves at most CONNECTIONS_MAX connections, so that neither memory nor file descriptors run out.

    A new connection that would exceed the limit closes the oldest one that has not sent its request (g11).
    """

    def __init__(self, listener: socket.socket, requests: Requests) -> None:
        self._listener = listener
        self._requests = requests
        self._idle: dict[asyncio.Task[None], None] = {}  # without a complete request, oldest first
        self._busy: set[asyncio.Task[None]] = set()  # with a request that is being answered

    async def accept(self) -> None:
        """Take connections until cancelled."""
        loop, refused = asyncio.get_running_loop(), False
        while True:
            try:
                client, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # no file descriptor is free
                if not refused:
                    _log.warning("An operator's connection cannot be accepted yet: %s.", error)
                refused = True
                self._close_oldest()
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            refused = False
            self._take(client)
            await asyncio.sleep(0)  # a request that is here already is read before the next connection is taken

    async def end(self) -> None:
        """Close all connections."""
        tasks = [*self._idle, *self._busy]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, client: socket.socket) -> None:
        if len(self._idle) + len(self._busy) >= CONNECTIONS_MAX and not self._close_oldest():
            _log.warning("An operator's connection was closed: %d commands are not done yet.", len(self._busy))
            client.close()
            return
        task = asyncio.create_task(self._handle(client))
        self._idle[task] = None
        task.add_done_callback(lambda done: self._forget(done, client))

    def _close_oldest(self) -> bool:
        """Close the oldest connection without a complete request; False if there is none."""
        oldest = next(iter(self._idle), None)
        if oldest is None:
            return False
        del self._idle[oldest]
        oldest.cancel()
        return True

    def _forget(self, task: asyncio.Task[None], client: socket.socket) -> None:
        self._idle.pop(task, None)
        self._busy.discard(task)
        client.close()
        error = None if task.cancelled() else task.exception()
        if isinstance(error, OSError):
            _log.info("An operator's client has disconnected: %s.", error)
        elif error is not None:
            _log.error("An operator's request failed.", exc_info=error)

    async def _handle(self, client: socket.socket) -> None:
        """Read a request, answer it. Raises OSError if the client has left."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                command, arguments = _decode(await _read_request(client))
        except (TimeoutError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            answer = {
                "ok": False,
                "error": f"Invalid request: {error!r}.",
                "hint": "Use the trader's own commands.",
            }
        else:
            task = asyncio.current_task()
            assert task is not None
            self._idle.pop(task, None)
            self._busy.add(task)
            answer = await _answer(self._requests, command, arguments)
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await loop.sock_sendall(client, json.dumps(answer).encode() + b"\n")


async def _read_request(client: socket.socket) -> bytes:
    """The first line. Raises ValueError if it is too long."""
    loop, data = asyncio.get_running_loop(), b""
    while b"\n" not in data:
        piece = await loop.sock_recv(client, LINE_LIMIT_BYTES)
        if not piece:
            break
        data += piece
        if len(data) > LINE_LIMIT_BYTES:
            raise ValueError(f"it is longer than {LINE_LIMIT_BYTES} bytes")
    return data.partition(b"\n")[0]


def _decode(request: bytes) -> tuple[str, dict[str, Any]]:
    """Command and arguments, their texts plain. ValueError, KeyError, TypeError, AttributeError, RecursionError."""
    content = json.loads(request)
    arguments = dict(content.get("arguments") or {})
    return plain(str(content["command"])), {key: _plain(value) for key, value in arguments.items()}


def _plain(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value


async def _answer(requests: Requests, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return await asyncio.wait_for(requests.ask(command, arguments), ANSWER_TIMEOUT_S)
    except TimeoutError:
        return {
            "ok": False,
            "error": f"`{command}` was not done within {ANSWER_TIMEOUT_S:.0f} s.",
            "hint": "See trader.log and `status`; it may still be going on.",
            "exit_code": BrokerError.exit_code,
        }
