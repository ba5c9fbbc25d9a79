"""Commands as the operator types them, and what a test needs to check their effect at the gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from paper_gateway.testing import RunningGateway
from trader.cli.parser import main


class Operator:
    """Types commands about one logs folder and reads what they print."""

    def __init__(self, logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.logs = logs
        self._capsys = capsys

    def types(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """Run a command to its end: exit code, standard output, standard error."""
        self._capsys.readouterr()
        code = main([command, "--logs-dir", str(self.logs), *arguments])
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err

    async def asks(self, command: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """Run a command with `--json` in a thread: exit code, its answer ({} for an error), standard error.

        The trader's event loop runs meanwhile, as it would beside another process.
        """
        code, out, error = await asyncio.to_thread(self.types, command, *arguments, "--json")
        return code, json.loads(out) if out else {}, error


def shares(gateway: RunningGateway) -> dict[str, int]:
    """What the account holds, signed; flat symbols are left out."""
    return {row["symbol"]: row["quantity"] for row in gateway.truth()["positions"] if row["quantity"]}


def sold(gateway: RunningGateway, symbol: str = "TSLA") -> int:
    """How many shares of a symbol were sold."""
    return sum(e["shares"] for e in gateway.truth()["executions"] if (e["symbol"], e["side"]) == (symbol, "SLD"))


def assert_two_sentences(text: str) -> None:
    """An error message has two lines at most and no traceback."""
    assert text.count("\n") <= 2
    assert "Traceback" not in text
