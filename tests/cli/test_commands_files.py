"""The commands that only read files, on folders that a real StateManager wrote."""

import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from state_cases import ACCOUNT, DATE, GATEWAY, STOP, TRADE, at, begun, bracket, executed, opened, run, segment

from state.domain import events as ev
from state.domain.events import Event
from state.storage.bars import BarStore, StoredBar
from state.storage.checkpoints import CheckpointStore
from state.storage.files import Folder
from state.storage.loader import load
from state.storage.lock import FolderLock
from state.storage.sessions import Session, SessionStore
from trader.cli.parser import main

REPO = Path(__file__).resolve().parents[2]
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


# status


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


# sessions


def test_sessions_are_listed_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = SessionStore(Folder.open(tmp_path))
    for number in (1, 2):
        store.start(Session(session_id=f"s{number}", started_at=at(number), parameters={"risk": {"losses": 4}}))
    store.finish("s1", "completed", at(60), 100_100.0, 100.0, 2, "SIGTERM")
    (tmp_path / "sessions" / "s3.json").write_text("{")
    found = answer(capsys, tmp_path, "sessions")
    statuses = [(one["session_id"], one["status"]) for one in found["sessions"]]
    assert statuses == [("s1", "completed"), ("s2", "active")]
    assert found["damaged"][0]["file"] == "s3.json"
    _, out, _ = call(capsys, tmp_path, "sessions", "list")
    assert "active (dead)" in out
    assert "s3.json was skipped" in out
    _, out, _ = call(capsys, tmp_path, "sessions", "show", "s1")
    assert "completed: SIGTERM" in out
    assert answer(capsys, tmp_path, "sessions", "show")["session"]["session_id"] == "s2"
    assert call(capsys, tmp_path, "sessions", "show", "../x")[0] == 2
    assert call(capsys, tmp_path / "none", "sessions")[0] == 2


# checkpoints


def test_checkpoints_are_listed_shown_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpointed(tmp_path, HELD)
    listed = answer(capsys, tmp_path, "checkpoints")
    assert listed["number"] == 1
    name = listed["checkpoints"][0]["checkpoint"]
    shown = answer(capsys, tmp_path, "checkpoints", "show", name)
    assert shown["account"] == {"portfolio_value": 100_500.0}
    assert shown["state"]["positions"]["TSLA"]["remaining"] == 1.0
    _, out, _ = call(capsys, tmp_path, "checkpoints", "show")
    assert "breaker_losses 4" in out
    assert "TSLA" in out
    stats = answer(capsys, tmp_path, "checkpoints", "stats")
    assert (stats["number"], stats["success_rate"], stats["alert"]) == (1, 1.0, "")
    assert call(capsys, tmp_path, "checkpoints", "stats")[0] == 0
    assert call(capsys, tmp_path, "checkpoints", "show", "nothing")[0] == 2


def test_the_state_at_any_moment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpointed(tmp_path, HELD)
    with opened(tmp_path, "s2") as manager:
        manager.begin(DATE, ACCOUNT, GATEWAY, at(80))
        for event in SOLD:
            manager.record(event)
        manager.flush()
    early = answer(capsys, tmp_path, "checkpoints", "show", "--at", "09:45:01")
    assert early["state"]["positions"] == {}
    held = answer(capsys, tmp_path, "checkpoints", "show", "--at", "09:46:00")
    assert held["state"]["positions"]["TSLA"]["held"] == 100
    late = answer(capsys, tmp_path, "checkpoints", "show", "--at", "2025-10-06T16:00:00-04:00")
    assert late["state"]["positions"] == {}
    assert late["state"]["analytics"]["losers"] == 1
    assert call(capsys, tmp_path, "checkpoints", "show", "--at", "25:00")[0] == 2
    code, _, err = call(capsys, tmp_path, "checkpoints", "show", "--at", "08:00")
    assert code == 5
    assert "Nothing is known" in err


def test_an_alert_when_no_checkpoint_came_for_five_intervals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpointed(tmp_path, HELD)  # dated years ago
    assert answer(capsys, tmp_path, "checkpoints", "stats")["alert"] == ""  # no trader runs
    with FolderLock.acquire(Folder.open(tmp_path), "s1", "now"):
        assert "every 30 s" in answer(capsys, tmp_path, "checkpoints", "stats")["alert"]


def test_prune_keeps_the_running_sessions_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpointed(tmp_path, HELD)
    checkpointed(tmp_path, [], session="s2")
    with FolderLock.acquire(Folder.open(tmp_path), "s1", "now"):
        pruned = answer(capsys, tmp_path, "checkpoints", "prune", "--keep", "0")
    assert (pruned["removed"], pruned["left"]) == ([], 2)  # s1 runs, and s2 has the newest
    assert answer(capsys, tmp_path, "checkpoints", "prune", "--keep", "0")["left"] == 1
    assert call(capsys, tmp_path, "checkpoints", "prune", "--keep", "-1")[0] == 2


def test_restore_changes_nothing_without_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpointed(tmp_path, HELD)
    run(tmp_path, *SOLD, session="s2")
    before = tree(tmp_path)
    code, out, _ = call(capsys, tmp_path, "checkpoints", "restore")
    assert code == 0
    assert "position TSLA" in out
    assert "Nothing was changed" in out
    assert tree(tmp_path) == before
    with FolderLock.acquire(Folder.open(tmp_path), "s3", "now"):
        assert call(capsys, tmp_path, "checkpoints", "restore")[0] == 4
        code, _, err = call(capsys, tmp_path, "checkpoints", "restore", "--yes")
    assert code == 4
    assert str(os.getpid()) in err
    sequence = answer(capsys, tmp_path, "checkpoints", "restore", "--yes")["sequence"]
    state = load(Folder.open(tmp_path)).state
    assert state is not None
    assert (state.sequence, list(state.positions)) == (sequence, ["TSLA"])
    assert not any(
        "position" in change["what"]
        for change in answer(capsys, tmp_path, "checkpoints", "restore", "s1")["changes"]
    )


# orders


def test_orders_of_the_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, *HELD, *SOLD)
    found = answer(capsys, tmp_path, "orders")
    assert found["journal"]["verdict"] == "clean"
    statuses = [(life["order_ref"], life["status"]) for life in found["orders"]]
    assert statuses[:2] == [(TRADE, "filled"), (STOP, "filled")]
    assert answer(capsys, tmp_path, "orders", "--symbol", "amd")["orders"] == []
    _, out, _ = call(capsys, tmp_path, "orders", "--steps", "--date", DATE)
    assert "SLD 100 at 98.90" in out
    assert STOP in call(capsys, tmp_path, "orders")[1]
    assert call(capsys, tmp_path, "orders", "--date", "yesterday")[0] == 2


def test_orders_name_a_broken_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, *HELD)
    run(tmp_path, *SOLD, session="s2")  # the later records prove that the earlier ones were durable
    data = segment(tmp_path).read_bytes()
    segment(tmp_path).write_bytes(data.replace(b'"perm_id":4711', b'"perm_id":4712'))
    code, out, err = call(capsys, tmp_path, "orders")
    assert code == 5
    assert TRADE in out  # the order before the damage is shown
    assert "damaged" in err
    assert "segment-00000001.jsonl" in err
    assert call(capsys, tmp_path, "report")[0] == 0


# report


class Page(HTMLParser):
    """Collects the page's tags, its text, and the attributes that would load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "data", "onclick")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text())
    return page


def write_bars(logs: Path) -> None:
    prices = [100 + number / 10 for number in range(60)]
    bars = [StoredBar(at(5 * i), p, p + 0.2, p - 0.1, p + 0.1, 1e3) for i, p in enumerate(prices)]
    BarStore(Folder.open(logs), DATE).append({"TSLA": bars})


def test_report_as_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "logs"
    run(logs, *HELD)
    run(logs, *SOLD, ev.SessionEnded(time=at(99), session_id="s2", status="completed"), session="s2")
    write_bars(logs)
    file = tmp_path / "day.html"
    code, out, _ = call(capsys, logs, "report", "--html", str(file))
    assert code == 0
    assert "stop_loss_hit" in out
    page = page_of(file)
    assert page.loads == []
    assert not {"script", "link", "img", "iframe", "object", "b-line"} & set(page.tags)
    assert page.tags.count("svg") == 2  # the equity and TSLA's prices
    text = " ".join(page.text)
    assert "the <b>line</b> to IBKR is slow" in text  # as text, not as markup
    for expected in ("stop_loss_hit", "low_volume", "crashed", "TSLA", ACCOUNT):
        assert expected in text, expected
    text = file.read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "nan" not in text.lower().split("<style>")[0]


def test_report_as_json_and_of_a_date_without_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, *HELD, *SOLD)
    recovery = tmp_path / "recovery" / DATE
    recovery.mkdir(parents=True)
    row = {"symbol": "TSLA", "decision": "matched", "words": "LONG 100", "severity": "ok", "evidence": []}
    good = {"session_id": "s1", "time": "2025-10-06T09:45:00-04:00", "ready": True, "rows": [row], "notes": []}
    (recovery / "s1.json").write_text(json.dumps(good))
    (recovery / "s2.json").write_text("{")
    found = answer(capsys, tmp_path, "report")
    assert found["summary"]["pnl"] == pytest.approx(-110.0)
    assert found["trades"][0]["reason"] == "stop_loss_hit"
    assert [(run["session_id"], run["status"]) for run in found["runs"]] == [("s1", "active")]
    assert found["recoveries"][0]["rows"][0]["decision"] == "matched"
    assert any("s2.json was skipped" in note for note in found["notes"])
    with opened(tmp_path, "s2") as manager:
        begun(manager, fresh=True)
    notes = answer(capsys, tmp_path, "report")["notes"]
    assert any(note.startswith("Not part of this: journal/archive/") for note in notes)
    empty = answer(capsys, tmp_path, "report", "--date", "2025-10-07")
    assert (empty["trades"], empty["summary"]) == ([], None)
    page = tmp_path / "empty.html"
    assert call(capsys, tmp_path, "report", "--date", "2025-10-07", "--html", str(page))[0] == 0
    assert "svg" not in page_of(page).tags
    code, _, err = call(capsys, tmp_path, "report", "--html", str(tmp_path / "no" / "such" / "folder.html"))
    assert code == 6
    assert "--html" in err
