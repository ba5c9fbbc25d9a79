"""`doctor`, and what a command reports where no trader runs or where it does not answer."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from lab import scanner
from lab_live import live
from operator_commands import Operator, assert_two_sentences

from paper_gateway.testing import RunningGateway
from state.storage.pause_request import PAUSE_REQUEST
from trader.core import operator as core_operator
from trader.runtime import control_socket as control

pytestmark = pytest.mark.usefixtures("frequent_comparisons")


async def test_doctor_of_a_dead_trader_a_running_one_and_a_dead_gateway(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: Operator
) -> None:
    logs, scans = tmp_path / "logs", scanner(tmp_path)
    monkeypatch.setenv("TRADER_GATEWAY_ENDPOINT", f"127.0.0.1:{gateway.port}")

    async def findings() -> tuple[int, dict[str, tuple[str, str]]]:
        command = ("doctor", "--scanner-dir", str(scans), "--json")
        code, out, _ = await asyncio.to_thread(operator.types, *command)
        return code, {row["what"]: (row["result"], row["words"]) for row in json.loads(out)}

    code, found = await findings()
    assert (code, not logs.exists()) == (0, True)
    assert {"Python", "ib_insync", "msgspec", "settings", "connection", "clock", "scanner file"} <= found.keys()
    assert found["account"] == ("ok", "DU1234567 (paper)")
    async with live(gateway, tmp_path) as run:
        before = gateway.truth()
        code, found = await findings()
        assert code == 0
        assert str(os.getpid()) in found["connection"][1]
        assert {"state", "durability", "disk space"} <= found.keys()
        assert run.state.connection.connected
        assert gateway.truth()["open_orders"] == before["open_orders"]
    logs.chmod(0o777)
    code, found = await findings()
    assert (code, found["logs folder"][0]) == (1, "failed")
    assert "chmod 700" in found["logs folder"][1]
    logs.chmod(0o700)
    gateway.stop()
    code, found = await findings()
    assert (code, found["connection"][0]) == (7, "failed")


async def test_a_command_reports_a_trader_that_hangs(
    gateway: RunningGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operator: Operator
) -> None:
    """The trader runs and does not answer: the command neither calls it dead nor waits for ever."""
    monkeypatch.setattr(control, "ANSWER_TIMEOUT_S", 0.3)
    async with live(gateway, tmp_path) as run:
        monkeypatch.setitem(core_operator.HANDLERS, "pause", lambda turn, request: None)
        code, _, error = await operator.asks("pause")
        assert (code, "was not done within" in error) == (7, True), error
        assert not (run.logs / PAUSE_REQUEST).exists()


@pytest.mark.parametrize("command", ["flatten", "adopt"])
def test_commands_that_need_a_trader_say_so_if_none_runs(command: str, tmp_path: Path, operator: Operator) -> None:
    code, out, error = operator.types(command, *(["TSLA"] if command == "adopt" else []))
    assert (code, out) == (7, "")
    assert "No trader is running" in error
    assert_two_sentences(error)
    assert not (tmp_path / "logs").exists(), "the command makes no folder"
