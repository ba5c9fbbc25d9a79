"""The operator's line to a running trader: a socket in the logs folder that only its owner may open (0600).

One JSON object a line, one answer a request: `{"command": "pause", "arguments": {"reason": "lunch"}}` gives
`{"ok": true, ...}` or `{"ok": false, "error": "...", "hint": "..."}`. Requests take their turn in the engine's
queue, so that a command is never carried out in the middle of a decision.
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
    """The operator's requests that wait for their answer, by id. Belongs to the event loop's thread."""

    def __init__(self, submit: Callable[[OperatorRequest], None]) -> None:
        self._submit = submit
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_id = 0

    def ask(self, command: str, arguments: dict[str, Any]) -> asyncio.Future[dict[str, Any]]:
        """Hand a request to the engine; the future gets its answer."""
        self._last_id += 1
        request_id = self._last_id
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = reply
        reply.add_done_callback(lambda _: self._waiting.pop(request_id, None))
        self._submit(OperatorRequest(request_id, command, arguments))
        return reply

    def answer(self, request_id: int, content: dict[str, Any]) -> None:
        """Answer a request, unless whoever asked has gone."""
        reply = self._waiting.get(request_id)
        if reply is not None and not reply.done():
            reply.set_result(content)


def _path(folder: Folder) -> str:
    """Through the folder's descriptor: a socket's path may have 107 bytes only, a logs folder's more."""
    return f"/proc/self/fd/{folder.fd}/{SOCKET}"


@contextlib.asynccontextmanager
async def serve(folder: Folder, requests: Requests) -> AsyncIterator[None]:
    """Listen while the context lasts; the folder's lock is held, so a socket that is there is a dead run's."""
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
                _log.info("An operator's client went away: %s.", error)
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
        line = await asyncio.wait_for(reader.readline(), REQUEST_TIMEOUT_S)
        content = json.loads(line)
        command, arguments = str(content["command"]), dict(content.get("arguments") or {})
    except (TimeoutError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return {"ok": False, "error": f"That is no request: {error!r}.", "hint": "Use the trader's own commands."}
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
    """Ask a running trader, from a command; None where none listens. Blocking. Raises BrokerError on nonsense."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(ANSWER_TIMEOUT_S + REQUEST_TIMEOUT_S)
        try:
            line.connect(_path(folder))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        try:
            line.sendall(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
            data = b""
            while not data.endswith(b"\n") and (piece := line.recv(LINE_LIMIT_BYTES)):
                data += piece
            answer = json.loads(data)
        except (OSError, ValueError) as error:
            raise BrokerError(
                f"The running trader did not answer `{command}`: {error}.", "See trader.log and `status`."
            ) from error
    if not isinstance(answer, dict):
        raise BrokerError(f"The running trader answered `{command}` with nonsense.", "See trader.log.")
    return answer
