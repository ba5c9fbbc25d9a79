"""`status` on folders that a real StateManager wrote."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_cases import HELD, answer, call, tree
from state_cases import ACCOUNT, DATE, STOP, at, begun, opened, run

from state.domain import events as ev
from state.domain.events import Event
from state.storage.files import Folder
from state.storage.sessions import Session, SessionStore

REPO = Path(__file__).resolve().parents[2]


def test_status_without_a_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, tmp_path / "none", "status")
    assert code == 0
    assert "no trader has run here" in out
    assert not (tmp_path / "none").exists()
    found = answer(capsys, tmp_path, "status")
    assert (found["running"], found["positions"], found["state_age_s"]) == (False, [], None)


def test_status_while_no_trader_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ev.ConnectionChanged(time=at(6), connected=True, ready=True, entries_open=True, reason="verified")
    run(tmp_path, *HELD, line)
    before = tree(tmp_path)
    found = answer(capsys, tmp_path, "status")
    assert tree(tmp_path) == before
    assert (found["running"], found["pid"], found["account"], found["trading_date"]) == (False, None, ACCOUNT, DATE)
    assert [found[key] for key in ("connected", "ready", "entries_open")] == [
        False
    ] * 3  # although the last event says otherwise
    assert 0 <= found["state_age_s"] < 60
    own, foreign = found["positions"]
    expected = {
        "symbol": "TSLA",
        "quantity": 100,
        "entry_price": 100.0,
        "stop_price": 99.0,
        "stop_perm_id": 4711,
        "remaining": 1.0,
        "managed": True,
        "recovery": "live",
    }
    assert {key: own[key] for key in expected} == expected
    assert (foreign["symbol"], foreign["quantity"], foreign["managed"]) == ("KO", -200, False)
    assert found["attempts"] == [{"symbol": "TSLA", "side": "LONG", "pivot": 100.0, "count": 1}]
    assert found["alerts"][0]["text"].startswith("the <b>line")
    assert found["filter_blocks"] == {"low_volume": 1}


@pytest.mark.parametrize(
    ("limit", "open_entries", "reason"),
    [
        (None, True, "verified"),
        (ev.Paused(time=at(7), reason="lunch"), False, "paused: lunch"),
        (ev.BreakerTripped(time=at(7), reason="4 losses"), False, "4 losses"),
        (ev.LossLimitHit(time=at(7), daily_pnl=-3000.0), False, "daily loss limit"),
    ],
)
def test_status_of_a_running_trader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: Event | None, *, open_entries: bool, reason: str
) -> None:
    with opened(tmp_path) as manager:
        begun(manager)
        for event in HELD:
            manager.record(event)
        manager.record(
            ev.ConnectionChanged(time=at(6), connected=True, ready=True, entries_open=True, reason="verified")
        )
        if limit is not None:
            manager.record(limit)
        manager.flush()  # in the journal alone: no snapshot yet
        found = answer(capsys, tmp_path, "status")
    assert (found["running"], found["pid"], found["session_id"]) == (True, os.getpid(), "s1")
    assert (found["connected"], found["ready"], found["entries_open"]) == (True, True, open_entries)
    assert reason in found["entries_reason"]
    assert found["source"] == "journal"
    assert found["positions"][0]["stop_perm_id"] == 4711


def test_status_of_a_trader_that_is_starting_does_not_show_the_last_sessions_connection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ev.ConnectionChanged(time=at(6), connected=True, ready=True, entries_open=True, reason="verified")
    run(tmp_path, *HELD, line)
    with opened(tmp_path, "s2"):
        found = answer(capsys, tmp_path, "status")
    assert (found["running"], found["session_id"]) == (True, "s2")
    assert (found["ready"], found["entries_open"]) == (False, False)


def test_status_shows_a_missing_stop_and_a_crashed_session(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, *HELD, ev.OrderChanged(time=at(9), order_ref=STOP, status="cancelled"))
    SessionStore(Folder.open(tmp_path)).start(Session(session_id="s1", started_at=at(0), pid=99))
    code, out, _ = call(capsys, tmp_path, "status")
    assert code == 0
    assert "NO STOP" in out
    assert "Session s1 was never ended" in out
    assert answer(capsys, tmp_path, "status")["positions"][0]["stop_perm_id"] is None


def test_status_with_a_damaged_main_file_names_its_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, *HELD)
    run(tmp_path, session="s2")
    (tmp_path / "trader_state.json").write_text("{")
    found = answer(capsys, tmp_path, "status")
    assert found["source"] == "trader_state_backup.json"
    assert found["positions"][0]["symbol"] == "TSLA"
    assert any("not whole JSON" in note for note in found["notes"])


def test_status_runs_without_ib_insync(tmp_path: Path) -> None:
    run(tmp_path, *HELD)
    program = (
        "import sys; from trader.cli.parser import main; code = main(sys.argv[1:]);"
        "assert 'ib_insync' not in sys.modules and 'numpy' not in sys.modules; sys.exit(code)"
    )
    arguments = ["status", "--json", "--logs-dir", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=REPO, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["positions"][0]["quantity"] == 100
    script = [sys.executable, str(REPO / "trader.py"), *arguments]
    assert subprocess.run(script, cwd=tmp_path, capture_output=True, timeout=30).returncode == 0


def blind_symbol(seconds: float) -> ev.DataChanged:
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    return ev.DataChanged(
        time=at(8), symbol="AMD", state="missing", since=since, code=354, text="Requested data is not subscribed."
    )


def test_g28_status_shows_the_symbols_without_live_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the trader that runs now; real time, so the age is no matter of the session's clock."""
    with opened(tmp_path) as manager:
        begun(manager)
        for event in (*HELD, blind_symbol(75.0)):
            manager.record(event)
        manager.flush()
        (row,) = answer(capsys, tmp_path, "status")["market_data"]
        assert (row["symbol"], row["state"], row["code"]) == ("AMD", "missing", 354)
        assert row["text"] == "Requested data is not subscribed."
        assert 75.0 <= row["age_s"] < 90.0
        _, out, _ = call(capsys, tmp_path, "status")
        shown = next(line for line in out.splitlines() if "not subscribed" in line)
        assert all(text in shown for text in ("AMD", "missing", "354"))
        live = ev.DataChanged(time=at(9), symbol="AMD", state="live", since=at(9))
        manager.record(live)
        manager.flush()
        assert answer(capsys, tmp_path, "status")["market_data"] == []


def test_status_shows_no_market_data_of_a_run_that_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, *HELD, blind_symbol(1.0))
    assert answer(capsys, tmp_path, "status")["market_data"] == []
    with opened(tmp_path, "s2") as manager:
        assert answer(capsys, tmp_path, "status")["market_data"] == [], "the new run has recorded nothing"
        begun(manager)
        assert manager.state.market_data == {}
