"""The control socket: who may use it, and hostile input that must not disturb the trader."""

import asyncio
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
from lab import Trader, live_stops, scanner
from lab_live import Live, live

from paper_gateway.testing import RunningGateway
from state.storage.files import Folder
from trader.cli.control_client import ask
from trader.cli.parser import main
from trader.errors import BrokerError
from trader.runtime import control_socket as control
from trader.runtime.control_socket import LINE_LIMIT_BYTES, SOCKET, Requests, serve

PAUSE = b'{"command": "pause", "arguments": {"reason": "%s"}}\n'
HOSTILE: dict[str, bytes] = {
    "nothing": b"\n",
    "not JSON": b"pause\n",
    "not text": b"\x00\xff\xfe\x80\n",
    "half a request": b'{"command": "flatten"',
    "a number": b"7\n",
    "a list": b'["flatten"]\n',
    "null": b"null\n",
    "no command": b'{"arguments": {}}\n',
    "an unknown command": b'{"command": "sell everything"}\n',
    "a command that is a list": b'{"command": ["flatten"]}\n',
    "an internal message": b'{"command": "take"}\n',
    "arguments that are a list": b'{"command": "pause", "arguments": [1, 2]}\n',
    "arguments that are text": b'{"command": "pause", "arguments": "all"}\n',
    "a symbol that is a number": b'{"command": "adopt", "arguments": {"symbol": 5}}\n',
    "a symbol that is an object": b'{"command": "adopt", "arguments": {"symbol": {"a": [NaN]}}}\n',
    "a symbol that is a path": b'{"command": "adopt", "arguments": {"symbol": "../../etc/passwd\\u0000"}}\n',
    "nested deeply": b'{"command": "pause", "arguments": ' + b"[" * 30_000 + b"\n",
    "huge": b'{"command": "' + b"x" * (2 * LINE_LIMIT_BYTES) + b'"}\n',
    "huge without an end": b"x" * (4 * LINE_LIMIT_BYTES),
    "a number that is huge": b'{"command": "pause", "arguments": {"reason": ' + b"9" * 5000 + b"}}\n",
}
STRANGE_REASONS: dict[str, bytes] = {
    "half a surrogate": b"\\ud800",
    "a line that forges the log": b"x\\n2025-10-06 10:00:00 INFO FLAT",
    "long": b"y" * 40_000,
    "control characters": b"\\u0000\\u001b[2J",
}


async def send_raw(logs: Path, data: bytes, *, end: bool = True) -> dict[str, Any] | None:
    """Write raw bytes to the socket; the answer, or None if the trader closed the connection."""
    reader, writer = await asyncio.open_unix_connection(str(logs / SOCKET))
    try:
        writer.write(data)
        await writer.drain()
        if end:
            writer.write_eof()
        line = await asyncio.wait_for(reader.readline(), 10)
    except (ConnectionError, BrokenPipeError):
        return None
    finally:
        writer.close()
    return json.loads(line) if line else None


async def assert_works(run: Live) -> None:
    """The trader answers, its position is protected, and it carries out commands."""
    answer = await send_raw(run.logs, PAUSE % b"proof")
    assert answer == {"ok": True, "paused": True, "reason": "proof"}
    assert (await send_raw(run.logs, b'{"command": "unpause"}\n')) == {"ok": True, "paused": False}
    assert len(live_stops(run.gateway.truth(), "TSLA")) == 1
    await run.agreed()


async def test_hostile_input_leaves_the_trader_as_it_was(gateway: RunningGateway, tmp_path: Path) -> None:
    """One trader gets all of it, one after the other and then all at once."""
    async with live(gateway, tmp_path) as run:
        await run.enter()
        before = gateway.truth()["open_orders"]
        for name, data in HOSTILE.items():
            answer = await send_raw(run.logs, data)
            if answer is not None and not (name.startswith("a number that") and answer["ok"]):
                assert answer["ok"] is False, name
                assert answer["hint"], name
        await asyncio.gather(*(send_raw(run.logs, data) for data in HOSTILE.values()))
        assert gateway.truth()["open_orders"] == before
        await assert_works(run)


async def test_strange_reasons_are_kept_as_one_short_line_of_text(gateway: RunningGateway, tmp_path: Path) -> None:
    """Reasons are written to the journal, the log and the state file, all of which are read again."""
    async with live(gateway, tmp_path) as run:
        for name, reason in STRANGE_REASONS.items():
            answer = await send_raw(run.logs, PAUSE % reason)
            assert answer is not None, name
            assert answer["ok"] is True, name
            kept = run.state.risk.paused_reason
            assert len(kept) <= 200, name
            assert "\n" not in kept, name
        await run.crash()
    async with live(gateway, tmp_path) as run:
        assert run.state.risk.paused


async def test_slow_clients_do_not_block_the_operator(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More clients than are served at once: they send nothing, or half a request, or leave before the answer."""
    monkeypatch.setattr(control, "REQUEST_TIMEOUT_S", 0.3)
    async with live(gateway, tmp_path) as run:
        await run.enter()
        idle = [await asyncio.open_unix_connection(str(run.logs / SOCKET)) for _ in range(40)]
        for _, writer in idle[::2]:
            writer.write(b'{"command": ')
        for _ in range(20):
            _, writer = await asyncio.open_unix_connection(str(run.logs / SOCKET))
            writer.write(b'{"command": "unpause"}\n')
            writer.close()
        await assert_works(run)
        for _, writer in idle:
            writer.close()


def test_the_socket_is_private_and_is_removed_with_the_trader(gateway: RunningGateway, tmp_path: Path) -> None:
    """Mode 0600, whatever the umask; the socket of a dead run is replaced, that of a running one never."""
    path = tmp_path / "logs" / SOCKET
    scans = scanner(tmp_path)
    mask = os.umask(0)
    try:
        with Trader(gateway, tmp_path, scanner_dir=scans) as trader:
            trader.wait_ready()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_ISSOCK(path.stat().st_mode)
            inode = path.stat().st_ino
            with Trader(gateway, tmp_path, scanner_dir=scans) as second:
                assert second.wait_exit() == 4
            assert path.stat().st_ino == inode
            trader.kill()
    finally:
        os.umask(mask)
    assert path.exists(), "kill -9 does not remove it"
    with Folder.open(path.parent, create=False) as folder:
        assert ask(folder, "pause", {}) is None, "and it is found to be dead"
    with Trader(gateway, tmp_path, scanner_dir=scans) as trader:
        trader.wait_ready()
        assert main(["pause", "--logs-dir", str(path.parent)]) == 0
        assert trader.status()["risk"]["paused"]
        assert trader.stop() == 0
    assert not path.exists()


async def test_a_logs_folder_may_have_a_long_path(gateway: RunningGateway, tmp_path: Path) -> None:
    """A socket's path is limited to 107 bytes; a folder's is not."""
    deep = tmp_path / ("a" * 120) / ("b" * 120)
    deep.mkdir(parents=True)
    async with live(gateway, deep) as run:
        assert await asyncio.to_thread(main, ["pause", "--logs-dir", str(run.logs)]) == 0
        assert run.state.risk.paused


@pytest.mark.parametrize("kind", ["a plain file", "a link", "a folder"])
async def test_a_file_in_the_sockets_place(kind: str, tmp_path: Path) -> None:
    """A file or a symbolic link is replaced and never followed; with a folder the start is refused."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o700)
    path = logs / SOCKET
    if kind == "a plain file":
        path.write_text("x")
    elif kind == "a link":
        path.symlink_to(victim)
    else:
        path.mkdir()

    async def listening() -> bool:
        with Folder.open(logs) as folder:
            requests = Requests(lambda request: requests.answer(request.request_id, {"ok": True}))
            async with serve(folder, requests):
                return bool(await asyncio.to_thread(ask, folder, "pause", {}))

    if kind == "a folder":
        with pytest.raises(Exception, match=SOCKET):
            await listening()
    else:
        assert await listening()
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("answer", [b"", b"{", b"[]\n", b"\xff\n", b"7\n"])
async def test_an_invalid_answer_of_the_trader_is_a_clear_error(answer: bytes, tmp_path: Path) -> None:
    """As of a trader that is killed while it answers."""
    with Folder.open(tmp_path) as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / SOCKET))
        listener.listen()
        asking = asyncio.create_task(asyncio.to_thread(ask, folder, "pause", {}))
        other, _ = await asyncio.to_thread(listener.accept)
        await asyncio.to_thread(other.recv, 1000)
        other.sendall(answer)
        other.close()
        with pytest.raises(BrokerError, match="running trader"):
            await asking
