"""Starts the embedded paper gateway if it is not running, and asks for its identity. It is not IBKR.

The gateway is a process of its own and keeps running when the trader ends. So orders rest and stops trigger while
the trader is down. The trader uses its socket and imports none of its code.

Control protocol: connect, send `CTL\\0`, then frames: a length (uint32, big-endian) and JSON. Each request gets one
answer.
"""

import asyncio
import contextlib
import os
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

import msgspec

from trader.config.loader import PROJECT_ROOT
from trader.config.sections import GatewaySettings
from trader.errors import BrokerError, BrokerUnreachableError

HOST = "127.0.0.1"
ANSWER_TIMEOUT_S = 3.0
START_TIMEOUT_S = 20.0
POLL_S = 0.05
MAX_ANSWER_BYTES = 1024 * 1024
# The shell exits at once, so that the gateway is no child of the trader: it leaves no zombie process, and signals
# of the trader's terminal do not reach it. $1: the file for its output; the shell prints the gateway's process id.
_DETACH = 'umask 077; out=$1; shift; "$@" </dev/null >"$out" 2>&1 & echo $!'


@dataclass(frozen=True, slots=True)
class EmbeddedInfo:
    """The running gateway. instance: new with each process. started: whether this call started it."""

    host: str
    port: int
    instance: str
    pid: int
    accounts: tuple[str, ...]
    trading_date: date
    time: datetime
    speed: float
    started: bool = False


class _Answer(msgspec.Struct):
    """The gateway's answer to `info`: the fields used here."""

    ok: bool
    gateway_id: str = ""
    pid: int = 0
    accounts: tuple[str, ...] = ()
    trading_date: date = date.min
    time: datetime = datetime.min  # noqa: DTZ901 - means none
    speed: float = 0.0


async def ensure_embedded(settings: GatewaySettings, logs_dir: Path) -> EmbeddedInfo:
    """The gateway on the configured port, started if nothing listens there.

    A gateway that runs already is used as it is: the settings for speed, day and cash do not apply to it. It logs
    to `paper_gateway.log` in `logs_dir`; its standard output and error go to `paper_gateway.out`.

    Raises BrokerError if something else listens on the port, and BrokerUnreachableError if the gateway does not
    start in time.
    """
    if settings.port == 0:
        raise BrokerError(
            "The embedded gateway has port 0.", "Set a fixed port under [gateway], so that a restart finds it."
        )
    running = await _info(settings.port)
    if running is not None:
        return running
    output = logs_dir / "paper_gateway.out"
    pid = await asyncio.to_thread(_start, _command(settings, logs_dir), output)
    info = await _wait_ready(settings.port, pid, output)
    if info.pid != pid:  # another start was first; ours, slower, must not take the port once that gateway has ended
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    return replace(info, started=info.pid == pid)


def _command(settings: GatewaySettings, logs_dir: Path) -> list[str]:
    command = [sys.executable, "-m", "paper_gateway", "--port", str(settings.port)]
    command += ["--speed", f"{settings.speed:g}", "--start", f"{settings.start:%H:%M:%S}"]
    command += ["--seed", str(settings.seed), "--cash", f"{settings.cash:.2f}"]
    command += ["--log", str((logs_dir / "paper_gateway.log").absolute())]
    optional = {
        "--date": settings.date,
        "--account": settings.account,
        "--replay": settings.replay,
        "--positions": settings.positions,
    }
    for flag, value in optional.items():
        if value:
            command += [flag, str(value)]
    return command


def _start(command: list[str], output: Path) -> int:
    """Start the gateway, detached; returns its process id. Raises BrokerError."""
    try:
        output.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        done = subprocess.run(  # noqa: S603 - a fixed program; the shell gets each argument quoted as $1, $2, ...
            ["/bin/sh", "-c", _DETACH, "sh", str(output.absolute()), *command],
            cwd=PROJECT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=True,
            timeout=ANSWER_TIMEOUT_S,
        )
        return int(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise BrokerError(
            f"The embedded gateway could not be started: {error}.", "Start it yourself: python3 -m paper_gateway."
        ) from error


async def _wait_ready(port: int, pid: int, output: Path) -> EmbeddedInfo:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_TIMEOUT_S
    while loop.time() < deadline:
        alive = _alive(pid)  # before _info: another trader's gateway may have taken the port meanwhile
        info = await _info(port)
        if info is not None:
            return info
        if not alive:
            break
        await asyncio.sleep(POLL_S)
    printed = await asyncio.to_thread(_tail, output)
    raise BrokerUnreachableError(
        f"The embedded gateway did not start on port {port}: {printed or 'it printed nothing'}",
        f"See {output}, or start it yourself: python3 -m paper_gateway --port {port}.",
    )


def _alive(pid: int) -> bool:
    """Whether the process runs. A zombie process does not run; a container without init leaves them."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # there is no /proc
        return True


def _tail(output: Path) -> str:
    try:
        lines = output.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return " ".join(lines[-3:])[-500:]


async def _info(port: int) -> EmbeddedInfo | None:
    """The gateway on the port; None if nothing listens there. Raises BrokerError for any other program."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            body = await _ask(port, b'{"command": "info"}')
        answer = msgspec.json.decode(body, type=_Answer)
    except ConnectionRefusedError:
        return None
    except (OSError, EOFError, ValueError, msgspec.MsgspecError) as error:  # TimeoutError is an OSError
        raise _not_the_gateway(port) from error
    if not (answer.ok and answer.gateway_id and answer.accounts and answer.speed > 0):
        raise _not_the_gateway(port)
    return EmbeddedInfo(
        host=HOST,
        port=port,
        instance=answer.gateway_id,
        pid=answer.pid,
        accounts=answer.accounts,
        trading_date=answer.trading_date,
        time=answer.time,
        speed=answer.speed,
    )


def _not_the_gateway(port: int) -> BrokerError:
    return BrokerError(
        f"Something listens on {HOST}:{port} that is not the embedded paper gateway.",
        "Stop it, or choose another port under [gateway] in trader.toml.",
    )


async def _ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(b"CTL\0" + struct.pack(">I", len(request)) + request)
        await writer.drain()
        (size,) = struct.unpack(">I", await reader.readexactly(4))
        if size > MAX_ANSWER_BYTES:
            raise ValueError(f"an answer of {size} bytes")
        return await reader.readexactly(size)
    finally:
        writer.close()
