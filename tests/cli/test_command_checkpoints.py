"""`sessions` and `checkpoints` on folders that a real StateManager wrote."""

import os
from pathlib import Path

import pytest
from command_cases import HELD, SOLD, answer, call, checkpointed, tree
from state_cases import ACCOUNT, DATE, GATEWAY, at, opened, run

from state.storage.files import Folder
from state.storage.loader import load
from state.storage.lock import FolderLock
from state.storage.sessions import Session, SessionStore


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
