"""Starting the embedded gateway: a real process, detached, found again; and other programs on its port."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import free_port, wait_for

from paper_gateway.testing import RunningGateway
from trader.broker.embedded import EmbeddedInfo, ensure_embedded
from trader.config.sections import GatewaySettings
from trader.errors import BrokerError, BrokerUnreachableError

ROOT = Path(__file__).resolve().parents[2]
BOUND_S = 10.0


def gone(pid: int) -> bool:
    """Whether the process has ended. It is not a child of this one, so without an init it stays a zombie."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self").exists():
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: gone(pid), BOUND_S)


def gateways_for(port: int) -> list[int]:
    """The process ids of the paper gateways that were started for this port and have not ended."""
    wanted = f"\0-m\0paper_gateway\0--port\0{port}\0".encode()
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # a process that has ended since
            if wanted in file.read_bytes():
                found.append(int(file.parent.name))
    return found


@pytest.fixture
def started(tmp_path: Path) -> Iterator[EmbeddedInfo]:
    settings = GatewaySettings(port=free_port(), speed=3.0, account="DU7654321", cash=5000.0)
    info = asyncio.run(ensure_embedded(settings, tmp_path / "logs"))
    yield info
    end(info.pid)


def test_it_is_started_once_and_found_again(started: EmbeddedInfo, tmp_path: Path) -> None:
    assert started.started
    assert (started.accounts, started.speed, started.time.hour) == (("DU7654321",), 3.0, 9)
    again = asyncio.run(ensure_embedded(GatewaySettings(port=started.port), tmp_path / "logs"))
    assert (again.instance, again.pid, again.started) == (started.instance, started.pid, False)
    for name in ("paper_gateway.log", "paper_gateway.out"):
        assert (tmp_path / "logs" / name).stat().st_mode & 0o777 == 0o600


def test_it_has_its_own_process_session_and_no_terminal(started: EmbeddedInfo) -> None:
    assert os.getsid(started.pid) != os.getsid(0)
    assert os.getpgid(started.pid) != os.getpgid(0)
    if Path("/proc/self").exists():
        assert Path(f"/proc/{started.pid}/fd/0").readlink() == Path("/dev/null")


def test_it_outlives_the_trader_that_was_killed(tmp_path: Path) -> None:
    """Orders rest and stops trigger while the trader is down."""
    port = free_port()
    program = (
        "import asyncio, sys, time, pathlib\n"
        "from trader.broker.embedded import ensure_embedded\n"
        "from trader.config.sections import GatewaySettings\n"
        f"info = asyncio.run(ensure_embedded(GatewaySettings(port={port}), pathlib.Path(sys.argv[1])))\n"
        "sys.stdout.write(f'{info.pid} {info.instance}\\n'); sys.stdout.flush(); time.sleep(60)\n"
    )
    trader = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
    )
    with trader:
        assert trader.stdout is not None
        pid, instance = trader.stdout.readline().split()
        os.killpg(trader.pid, signal.SIGKILL)
    info = asyncio.run(ensure_embedded(GatewaySettings(port=port), tmp_path))
    try:
        assert (info.pid, info.instance) == (int(pid), instance.decode())
    finally:
        end(info.pid)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
def test_two_traders_starting_at_once_share_one(tmp_path: Path) -> None:
    settings = GatewaySettings(port=free_port())

    async def both() -> list[EmbeddedInfo]:
        return await asyncio.gather(*(ensure_embedded(settings, tmp_path / name) for name in ("a", "b")))

    first, second = asyncio.run(both())
    try:
        assert first.instance == second.instance
        assert {first.started, second.started} == {True, False}
        wait_for(lambda: gateways_for(settings.port) == [first.pid], BOUND_S, "the end of the slower gateway")
    finally:
        for pid in gateways_for(settings.port):
            end(pid)


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x02{}", b"\xff\xff\xff\xff", b""])
def test_another_program_on_the_port_is_refused(says: bytes, tmp_path: Path) -> None:
    async def run() -> None:
        def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(says)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(BrokerError, match=rf"{port} that is not the embedded paper gateway.*another port"):
            await ensure_embedded(GatewaySettings(port=port), tmp_path)
        server.close()

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_shows_the_gateways_output(tmp_path: Path) -> None:
    settings = GatewaySettings(port=free_port(), replay=tmp_path / "nothing-here")
    with pytest.raises(BrokerUnreachableError, match="nothing-here") as raised:
        asyncio.run(ensure_embedded(settings, tmp_path / "logs"))
    assert "paper_gateway.out" in raised.value.hint


def test_port_0_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="port 0"):
        asyncio.run(ensure_embedded(GatewaySettings(port=0), tmp_path))


def test_a_gateway_that_was_started_separately_is_used_as_it_is(tmp_path: Path) -> None:
    with RunningGateway("--speed", "7") as running:
        info = asyncio.run(ensure_embedded(GatewaySettings(port=running.port, speed=1.0), tmp_path))
        assert (info.speed, info.pid, info.started) == (7.0, running.process.pid, False)
