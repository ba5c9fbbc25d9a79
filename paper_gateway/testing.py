"""For tests: the gateway process on a free port, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from paper_gateway.control_client import request
from paper_gateway.errors import ControlError, GatewayError

READY = re.compile(r"paper gateway ready on 127\.0\.0\.1:(\d+) ")
ROOT = Path(__file__).resolve().parent.parent


class RunningGateway:
    """Starts `python -m paper_gateway --port 0 <flags>`, waits for its ready line, stops it on exit.

    It runs in a temporary folder (`.folder`), so files in the flags need absolute paths.
    Raises GatewayError, with the process's output, if it is not ready within ready_timeout_s.
    """

    def __init__(self, *flags: str, ready_timeout_s: float = 20.0) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="paper-gateway-")
        self.folder = Path(self._folder.name)
        self._errors = (self.folder / "stderr").open("w+b")
        self.process = subprocess.Popen(  # noqa: S603 - a module of this project
            [sys.executable, "-m", "paper_gateway", "--port", "0", *flags],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        try:
            self.ready_line = self._wait_ready(ready_timeout_s)
        except GatewayError:
            self.stop()
            raise
        match = READY.match(self.ready_line)
        assert match is not None
        self.port = int(match[1])

    def ctl(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send one control command with its arguments by name, as `control_client.request` takes them.

        ctl("trade", symbol="TSLA", side="BUY", shares=10[, account, limit, stop]); ctl("fill", order=permId
        as text or orderRef[, shares, price]); ctl("hold", symbol[, off=True]); ctl("partial", symbol,
        shares); ctl("price", symbol, price); ctl("drop"[, client, refuse]); ctl("silence", kind[, for_,
        off=True]); ctl("delay", kind, ms[, off=True]); ctl("reject"[, symbol, role, code, text]);
        ctl("cancel", order); ctl("code", code[, text]); ctl("restart"[, roll_back, down]);
        ctl("repeat", exec_id); ctl("correct", exec_id[, price, shares]); ctl("stick", client[, for_]);
        ctl("speed", speed); ctl("quirk", name[, value, off=True]). Raises ControlError if the gateway refuses.
        """
        return request(self.port, command, **arguments)

    def truth(self) -> dict[str, Any]:
        """The answer of `ctl truth`; see paper_gateway.truth."""
        return self.ctl("truth")

    def errors(self) -> str:
        """The stderr of the process so far."""
        return (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")

    def stop(self, timeout_s: float = 10.0) -> int:
        """SIGTERM, then SIGKILL after the timeout; returns the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()
        with contextlib.suppress(OSError):
            self._folder.cleanup()
        return self.process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ControlError):
            self.stop()

    def _wait_ready(self, timeout_s: float) -> str:
        stdout = self.process.stdout
        assert stdout is not None
        deadline = time.monotonic() + timeout_s
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise GatewayError(f"the gateway was not ready within {timeout_s} s: {self.errors()}")
                chunk = os.read(stdout.fileno(), 4096)
                if not chunk:
                    raise GatewayError(f"the gateway ended before it was ready: {self.errors()}")
                line += chunk
        return line.decode()
