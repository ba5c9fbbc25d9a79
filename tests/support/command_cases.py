"""Helpers of the tests of commands that only read files: folders that a real StateManager wrote."""

import json
from pathlib import Path
from typing import Any

import pytest
from state_cases import STOP, TRADE, at, begun, bracket, executed, opened

from state.domain import events as ev
from state.domain.events import Event
from state.storage.checkpoints import CheckpointStore
from trader.cli.parser import main

HELD: list[Event] = [
    ev.EquityAnchored(time=at(0), equity=100_000.0),
    *bracket(),
    ev.OrderAcknowledged(time=at(1), order_ref=STOP, perm_id=4711, order_id=2),
    executed("1.01", TRADE, "BOT", 100, 100.0, 2),
    ev.ForeignSeen(time=at(3), symbol="KO", con_id=8894, quantity=-200, avg_cost=61.5),
    ev.AlertRaised(time=at(4), text="the <b>line</b> to IBKR is slow", symbol="TSLA"),
    ev.EntryBlocked(
        time=at(5), symbol="AMD", side="LONG", path="momentum", pivot=50.0, break_time=at(4), filter="low_volume"
    ),
    ev.EquityMarked(time=at(30), equity=100_010.0, daily_pnl=0.0),
]
SOLD: list[Event] = [
    executed("2.01", STOP, "SLD", 100, 98.9, 90),
    ev.EquityMarked(time=at(95), equity=99_890.0, daily_pnl=-110.0),
]


def call(capsys: pytest.CaptureFixture[str], logs: Path, *arguments: str) -> tuple[int, str, str]:
    code = main([*arguments[:1], "--logs-dir", str(logs), *arguments[1:]])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def answer(capsys: pytest.CaptureFixture[str], logs: Path, *arguments: str) -> Any:
    code, out, err = call(capsys, logs, *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def tree(logs: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in logs.rglob("*") if path.is_file()}


def checkpointed(logs: Path, events: list[Event], session: str = "s1") -> None:
    """A run that writes a checkpoint after these events."""
    with opened(logs, session) as manager:
        begun(manager)
        for event in events:
            manager.record(event)
        store = CheckpointStore(manager.folder, session)
        store.write(manager.state, {"portfolio_value": 100_500.0}, {"risk": {"breaker_losses": 4}}, at(0))
        manager.save_blocking()
