"""Texts of IBKR, of the operator and of old files reach no terminal, log or page with their control characters."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from command_cases import HELD, SOLD, call, checkpointed
from lab import Trader, scanner, wait_for
from lab_positions import AT_THE_BREAK, LONG_ONLY, run_to, subscribed
from state_cases import DATE, STOP, TRADE, at, executed

from paper_gateway.testing import RunningGateway
from state.domain import events as ev
from state.storage.files import Folder
from state.storage.journal import read_journal
from state.storage.pause_request import PAUSE_REQUEST
from state.storage.sessions import Session, SessionStore
from trader.cli.control_client import ask
from trader.cli.parser import main

FORGED = "2025-10-06 09:47:00,000 [09:47:00] INFO    FLATTENED BY IBKR"
HOSTILE = f"TOO LARGE \x1b[2J\x1b]0;owned\x07\r\n{FORGED}\n\u202ereversed\u2028\x9b5mEND"
SHOWN = rf"TOO LARGE \x1b[2J\x1b]0;owned\x07 / {FORGED} / \u202ereversed\u2028\x9b5mEND"
COMMANDS = (
    ("status",),
    ("orders",),
    ("orders", "--steps"),
    ("report",),
    ("sessions",),
    ("sessions", "show"),
    ("checkpoints", "show"),
)


def assert_safe(text: str, where: object) -> None:
    bad = {one for one in text if not (one.isprintable() or one == "\n")}
    assert not bad, f"{where}: {bad}"
    assert not [line for line in text.splitlines() if line.strip().startswith(FORGED)], where


def strings(value: Any) -> list[str]:
    """Every text in a value of JSON, keys included."""
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in strings(part)]
    if isinstance(value, list):
        return [text for part in value for text in strings(part)]
    return [value] if isinstance(value, str) else []


def assert_logs_are_safe(trader: Trader) -> None:
    """What it printed, both logs, and what the commands print of its files."""
    assert_safe(trader.output(), "standard output")
    assert_safe((trader.logs / "trader.log").read_text(encoding="utf-8"), "trader.log")
    for row in (trader.logs / "trader.jsonl").read_text(encoding="utf-8").splitlines():
        for text in strings(json.loads(row)):
            assert_safe(text, "trader.jsonl")
    for day in (trader.logs / "journal").iterdir():
        for record in read_journal(day).records:
            for text in strings(json.loads(bytes(record.data))):
                assert text.isprintable(), f"{record.type}: {text!r}"


def assert_commands_are_safe(capsys: pytest.CaptureFixture[str], logs: Path) -> str:
    """Everything that the commands print, as text."""
    shown = ""
    for command in COMMANDS:
        code, out, err = call(capsys, logs, *command)
        assert code == 0, (command, err)
        assert_safe(out + err, command)
        shown += out
        _, out, _ = call(capsys, logs, *command, "--json")
        assert_safe(out, (*command, "--json"))
        assert json.loads(out)
    page = logs.parent / "page.html"
    assert call(capsys, logs, "report", "--html", str(page))[0] == 0
    assert_safe(page.read_text(encoding="utf-8"), "the page")
    return shown


def test_g08_a_hostile_error_text_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """IBKR refuses an entry, and loses its connection, with texts that clear the screen and forge a line."""
    with RunningGateway(*AT_THE_BREAK) as gateway, Trader(gateway, tmp_path, *LONG_ONLY) as trader:
        subscribed(trader)
        gateway.ctl("reject", symbol="TSLA", code=201, text=HOSTILE)
        run_to(gateway, lambda: "TOO LARGE" in trader.output())
        gateway.ctl("code", code=1100, text="AWAY " + HOSTILE)
        trader.wait_status(lambda s: any("AWAY" in alert["text"] for alert in s["alerts"]))
        gateway.ctl("code", code=1102, text=HOSTILE)
        trader.wait_ready()
        assert trader.stop() == 0
        assert_logs_are_safe(trader)
        assert SHOWN in trader.output(), "it is told, and can be read"
        assert SHOWN in assert_commands_are_safe(capsys, trader.logs)


def test_g08_a_long_error_text_is_cut(shared_gateway: RunningGateway, tmp_path: Path) -> None:
    with Trader(shared_gateway, tmp_path, scanner_dir=scanner(tmp_path)) as trader:
        subscribed(trader)
        shared_gateway.ctl("code", code=2100, text="LONG" + "x" * 50_000)
        wait_for(lambda: "LONGxxx" in trader.output())
        assert max(len(line) for line in trader.output().splitlines()) < 1000


def test_g08_a_hostile_pause_reason_is_shown_as_it_is(
    shared_gateway: RunningGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over the socket, by the command, and in the file that waits for the next start."""
    scans = scanner(tmp_path)
    with Trader(shared_gateway, tmp_path, scanner_dir=scans) as trader:
        trader.wait_ready()
        with Folder.open(trader.logs, create=False) as folder:
            answer = ask(folder, "pause", {"reason": HOSTILE})
            assert answer is not None
            assert answer["reason"].isprintable()
            for command in ("adopt", HOSTILE):
                answer = ask(folder, command, {"symbol": HOSTILE})
                assert answer is not None
                assert answer["error"].isprintable()
        trader.wait_status(lambda s: "TOO LARGE" in s["risk"]["paused_reason"])
        assert trader.stop() == 0
        assert_logs_are_safe(trader)
        assert "TOO LARGE" in assert_commands_are_safe(capsys, trader.logs)
    logs = trader.logs
    for reason in (HOSTILE, "not text \udcff"):  # as Python has an argument that is not UTF-8
        assert main(["pause", reason, "--logs-dir", str(logs)]) == 0
        assert json.loads((logs / PAUSE_REQUEST).read_text(encoding="utf-8"))["reason"].isprintable()
    request = {"paused": True, "reason": HOSTILE, "at": datetime.now(UTC).isoformat()}
    (logs / PAUSE_REQUEST).write_text(json.dumps(request), encoding="utf-8")  # as an earlier version wrote it
    with Trader(shared_gateway, tmp_path, scanner_dir=scans) as trader:
        trader.wait_ready()
        assert trader.stop() == 0
        assert_logs_are_safe(trader)
        assert_commands_are_safe(capsys, logs)


def test_g08_old_files_are_shown_safely(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A state, a journal and a recovery report of a version that kept texts as they came."""
    rejected = ev.OrderChanged(time=at(80), order_ref=STOP, status="working", broker_status=HOSTILE, text=HOSTILE)
    blocked = ev.EntryBlocked(
        time=at(6), symbol=HOSTILE, side="LONG", path=HOSTILE, pivot=1.0, break_time=at(4), filter=HOSTILE
    )
    logs = tmp_path / "logs"
    checkpointed(
        logs,
        [
            *HELD,
            rejected,
            blocked,
            ev.ForeignSeen(time=at(7), symbol=HOSTILE, con_id=1, quantity=7, avg_cost=1.0),
            ev.AlertRaised(time=at(8), text=HOSTILE, symbol=HOSTILE),
            ev.SymbolHalted(time=at(9), symbol="TSLA", reason=HOSTILE, cause="conflict"),
            ev.Paused(time=at(10), reason=HOSTILE),
            ev.BreakerTripped(time=at(11), reason=HOSTILE),
            ev.BrokerErrorCounted(time=at(12), text=HOSTILE),
            executed("3.01", TRADE, "BOT", 1, 100.0, 13),
            *SOLD,
            ev.SessionEnded(time=at(100), session_id="s1", status="completed", reason=HOSTILE),
        ],
    )
    session = Session(session_id="s1", started_at=at(0), trading_date=DATE, status="completed", reason=HOSTILE)
    with Folder.open(logs) as opened:
        SessionStore(opened).start(session)
    report = {
        "session_id": "s1",
        "time": at(0).isoformat(),
        "rows": [{"symbol": HOSTILE, "decision": HOSTILE, "words": HOSTILE}],
        "notes": [HOSTILE],
    }
    folder = logs / "recovery" / DATE
    folder.mkdir(parents=True)
    (folder / "s1.json").write_text(json.dumps(report), encoding="utf-8")
    assert SHOWN in assert_commands_are_safe(capsys, logs)
