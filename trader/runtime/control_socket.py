"""The operator's requests to a running trader: a socket in the logs folder that only its owner may open (0600).

A request is a line with a JSON object: `{"command": "pause", "arguments": {"reason": "lunch"}}`. The answer is
`{"ok": true, ...}` or `{"ok": false, "error": "...", "hint": "..."}`. Requests go through the engine's queue, so
that a command is never carried out in the middle of a decision.
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

_log = logging.getLogger("trader.runtime.control_socket")

SOCKET = "trader.sock"
LINE_LIMIT_BYTES = 64 * 1024
REQUEST_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 60.0
CLIENTS_MAX = 16


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


def _path(folder: Folder) -> str:
    """The socket's path by the folder's descriptor: a socket's path is limited to 107 bytes, a folder's is not."""
    return f"/proc/self/fd/{folder.fd}/{SOCKET}"


@contextlib.asynccontextmanager
async def serve(folder: Folder, requests: Requests) -> AsyncIterator[None]:
    """Listen while the context lasts. The caller holds the folder's lock, so an existing socket is left over."""
    folder.discard(SOCKET)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(_path(folder))
    finally:
        os.umask(mask)
    slots = asyncio.Semaphore(CLIENTS_MAX)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with slots:
            try:
                answer = await _answer(reader, requests)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
            except OSError as error:
                _log.info("An operator's client has disconnected: %s.", error)
            finally:
                writer.close()

    server = await asyncio.start_unix_server(handle, sock=listener, limit=LINE_LIMIT_BYTES)
    try:
        yield
    finally:
        server.close()
        folder.discard(SOCKET)


async def _answer(reader: asyncio.StreamReader, requests: Requests) -> dict[str, Any]:
    try:
        content = json.loads(await asyncio.wait_for(reader.readline(), REQUEST_TIMEOUT_S))
        command, arguments = str(content["command"]), dict(content.get("arguments") or {})
    except (TimeoutError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return {"ok": False, "error": f"Invalid request: {error!r}.", "hint": "Use the trader's own commands."}
    try:
        return await asyncio.wait_for(requests.ask(command, arguments), ANSWER_TIMEOUT_S)
    except TimeoutError:
        return {
            "ok": False,
            "error": f"`{command}` was not done within {ANSWER_TIMEOUT_S:.0f} s.",
            "hint": "See trader.log and `status`; it may still be going on.",
            "exit_code": BrokerError.exit_code,
        }


def ask(folder: Folder, command: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Ask a running trader; None if none runs. Blocking. Raises BrokerError without a valid answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(ANSWER_TIMEOUT_S + REQUEST_TIMEOUT_S)
        try:
            client.connect(_path(folder))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        try:
            client.sendall(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n") and (piece := client.recv(LINE_LIMIT_BYTES)):
                data += piece
            answer = json.loads(data)
        except (OSError, ValueError) as error:
            raise BrokerError(
                f"The running trader did not answer `{command}`: {error}.", "See trader.log and `status`."
            ) from error
    if not isinstance(answer, dict):
        raise BrokerError(f"The running trader's answer to `{command}` is invalid.", "See trader.log.")
    return answer
