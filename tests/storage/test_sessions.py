"""Session files: crashes, damaged files and hostile names."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from disk_faults import CountingDisk, PowerCut
from state_cases import STOP, TRADE, bracket, executed, state_after

from state.errors import StateError
from state.storage.checkpoints import CheckpointStore
from state.storage.files import Folder
from state.storage.sessions import Session, SessionStore, make_session_id

START = datetime(2025, 10, 6, 13, 44, tzinfo=UTC)


def session(session_id: str = "20251006-134400-1f2e", **changes: object) -> Session:
    values: dict[str, object] = {
        "session_id": session_id,
        "started_at": START,
        "trading_date": "2025-10-06",
        "account": "DU1234567",
        "pid": 4711,
        "symbols": ["TSLA"],
        "initial_value": 100_000.0,
        "parameters": {"risk": {"pct": 1.0}},
    }
    return Session(**{**values, **changes})  # type: ignore[arg-type]  # as JSON has them


def store_in(path: Path) -> SessionStore:
    return SessionStore(Folder.open(path))


def test_a_session_goes_from_active_to_completed(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.start(session())
    assert [found.session_id for found in store.active()] == ["20251006-134400-1f2e"]
    end = START + timedelta(hours=1)
    store.finish("20251006-134400-1f2e", "completed", end, 100_250.0, 250.0, 3, "SIGTERM")
    found = store_in(tmp_path).get("20251006-134400-1f2e")
    assert found == session(
        status="completed", ended_at=end, final_value=100_250.0, pnl=250.0, pnl_pct=0.25, trades=3, reason="SIGTERM"
    )
    assert store.active() == []


def test_its_file_is_readable_by_this_user_only(tmp_path: Path) -> None:
    store_in(tmp_path).start(session())
    file = tmp_path / "sessions" / "20251006-134400-1f2e.json"
    assert '\n  "status": "active",\n' in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_session_still_active_at_the_next_start_has_crashed(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.start(session("20251006-100000-aaaa", status="completed"))
    store.start(session())
    seen = START + timedelta(minutes=7)
    checkpoints = tmp_path / "checkpoints" / "20251006-134400-1f2e"
    checkpoints.mkdir(parents=True)
    (checkpoints / "c.json").write_text("{}")
    for file in (checkpoints / "c.json", tmp_path / "sessions" / "20251006-134400-1f2e.json"):
        os.utime(file, (seen.timestamp(), seen.timestamp()))
    crashed = store.mark_crashed(START + timedelta(hours=5))
    assert [(found.session_id, found.status, found.ended_at) for found in crashed] == [
        ("20251006-134400-1f2e", "crashed", seen)  # its last write, not when it was found
    ]
    assert "4711" in crashed[0].reason
    assert store.active() == []
    assert store.mark_crashed(START) == []
    assert [found.status for found in store.list()] == ["completed", "crashed"]


def test_a_crashed_session_has_the_results_of_its_last_readable_checkpoint(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.start(session())
    bought = executed("1.01", TRADE, "BOT", 100, 100.0, 5)
    lost = state_after(*bracket(), bought, executed("2.01", STOP, "SLD", 100, 99.0, 9))
    checkpoints = CheckpointStore(Folder.open(tmp_path), "20251006-134400-1f2e")
    checkpoints.write(lost, {"portfolio_value": 99_900.0}, {}, START)
    torn = checkpoints.write(lost, {"portfolio_value": 1.0}, {}, START + timedelta(seconds=30))
    (tmp_path / "checkpoints" / "20251006-134400-1f2e" / torn).write_text("{")
    (crashed,) = store.mark_crashed(START + timedelta(hours=1))
    assert (crashed.pnl, crashed.pnl_pct, crashed.trades, crashed.final_value) == (-100.0, -0.1, 1, 99_900.0)
    assert store.get(crashed.session_id) == crashed


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b'{"session_id": "20251006-134400-1f2e"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"session_id":"other","started_at":"2025-10-06T09:44:00-04:00"}',
        b'{"session_id":"20251006-134400-1f2e","started_at":"2025-10-06T09:44:00"}',
    ],
)
def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path: Path, damage: bytes) -> None:
    store = store_in(tmp_path)
    store.start(session())
    store.start(session("20251006-150000-bbbb"))
    file = tmp_path / "sessions" / "20251006-134400-1f2e.json"
    file.write_bytes(damage)
    found, damaged = store.read_all()
    assert [one.session_id for one in found] == ["20251006-150000-bbbb"]
    assert [name for name, _ in damaged] == ["20251006-134400-1f2e.json"]
    assert [one.session_id for one in store.mark_crashed(START)] == ["20251006-150000-bbbb"]
    assert store.get("20251006-134400-1f2e") is None
    with pytest.raises(StateError, match="damaged"):
        store.finish("20251006-134400-1f2e", "completed", START, None, 0.0, 0, "")
    assert file.read_bytes() == damage


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    store = store_in(tmp_path)
    store.start(session())
    (tmp_path / "sessions" / "20251006-160000-cccc.json").symlink_to(secret)
    found, damaged = store.read_all()
    assert len(found) == 1
    assert "symbolic link" in damaged[0][1]


@pytest.mark.parametrize("name", ["../trader_state", "", ".", "a/b", "x" * 200, "a\nb"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "trader_state.json").write_text("{}")
    store = store_in(tmp_path)
    store.start(session())
    assert store.get(name) is None
    with pytest.raises(StateError):
        store.start(session(name))


def test_an_id_is_used_once(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    store.start(session())
    with pytest.raises(StateError, match="exists already"):
        store.start(session())
    ids = {make_session_id(START) for _ in range(51)}
    assert len(ids) > 40
    assert all(one.startswith("20251006-134400-") for one in ids)


def test_a_power_cut_leaves_the_old_session_or_the_new(tmp_path: Path) -> None:
    def cut() -> None:
        raise PowerCut

    outcomes = []
    for number in range(1, 20):
        path = tmp_path / str(number)
        store_in(path).start(session())
        folder = Folder.open(path, disk=CountingDisk(number, cut))
        try:
            SessionStore(folder).update(session(status="completed"))
        except PowerCut:
            found, damaged = store_in(path).read_all()
            assert damaged == []
            outcomes.append(found[0].status)
        else:
            break
    assert set(outcomes) == {"active", "completed"}
    assert outcomes == sorted(outcomes)
