"""Sends control commands to a running paper gateway. Blocking; for the command line and for tests."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from paper_gateway.errors import ControlError, UnreachableError

MAX_ANSWER_BYTES = 64 << 20


def request(port: int, command: str, *, timeout_s: float = 10.0, **arguments: Any) -> dict[str, Any]:
    """Send one command and return its answer without the key `ok`.

    An argument whose name is a Python keyword takes an underscore: request(port, "silence", kind="all", for_=2).
    Raises UnreachableError if no gateway answers on 127.0.0.1:port, and ControlError, with the gateway's
    hint, if the gateway refuses the command.
    """
    named = {name.rstrip("_"): value for name, value in arguments.items()}
    body = json.dumps({"command": command} | named).encode()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
            connection.sendall(b"CTL\0" + struct.pack(">I", len(body)) + body)
            answer = _read_answer(connection)
    except (OSError, EOFError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UnreachableError(
            f"no paper gateway answers on 127.0.0.1:{port}: {error}",
            "Start one with: python3 -m paper_gateway --port " + str(port),
        ) from error
    if not answer.pop("ok", False):
        raise ControlError(str(answer.get("error", "refused")), str(answer.get("hint", "")))
    return answer


def _read_answer(connection: socket.socket) -> dict[str, Any]:
    (length,) = struct.unpack(">I", _read_exactly(connection, 4))
    if length > MAX_ANSWER_BYTES:
        raise EOFError("the process that answers is not a paper gateway")
    answer = json.loads(_read_exactly(connection, length))
    if not isinstance(answer, dict):
        raise EOFError("the answer is not an object")
    return answer


def _read_exactly(connection: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        chunk = connection.recv(count - len(received))
        if not chunk:
            raise EOFError("the connection was closed before the answer was complete")
        received += chunk
    return bytes(received)
