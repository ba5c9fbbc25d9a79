"""The commands' end of the control socket: asks the running trader, and waits for its answer. Blocking."""

import json
import socket
import time
from typing import Any

from state.storage.files import Folder
from trader.errors import BrokerError
from trader.runtime.control_socket import ANSWER_TIMEOUT_S, LINE_LIMIT_BYTES, REQUEST_TIMEOUT_S, socket_path

AGAIN_S = 0.02
NOT_READ = (BlockingIOError, BrokenPipeError, ConnectionResetError)
"""Errors of a connection from which the trader has read no request, so that it can be sent again. On a Unix socket
a reset means: closed before what was sent had been read."""


def ask(folder: Folder, command: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Ask a running trader; None if none runs. Raises BrokerError without a valid answer."""
    request = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        try:
            data = _exchange(folder, request)
            answer = None if data is None else json.loads(data)
            break
        except (OSError, ValueError) as error:
            if not isinstance(error, NOT_READ) or time.monotonic() > deadline:
                raise BrokerError(
                    f"The running trader did not answer `{command}`: {error}.", "See trader.log and `status`."
                ) from error
        time.sleep(AGAIN_S)
    if data is not None and not isinstance(answer, dict):
        raise BrokerError(f"The running trader's answer to `{command}` is invalid.", "See trader.log.")
    return answer


def _exchange(folder: Folder, request: bytes) -> bytes | None:
    """Send the request and read the answer; None if nothing listens. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(ANSWER_TIMEOUT_S + REQUEST_TIMEOUT_S)
        try:
            client.connect(socket_path(folder))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        client.sendall(request)
        data = b""
        while not data.endswith(b"\n") and (piece := client.recv(LINE_LIMIT_BYTES)):
            data += piece
        return data
