"""State of another date, account or gateway: never applied, set aside, never deleted."""

from pathlib import Path

import pytest
from state_cases import ACCOUNT, DATE, at, begun, opened, plain, reloaded, replayed, segment, two_generations

from state.domain import events as ev
from state.errors import StateError
from state.storage.archive import set_aside
from state.storage.files import Folder
from state.storage.snapshot import BACKUP, MAIN


@pytest.mark.parametrize(
    ("date", "account", "gateway", "named"),
    [
        ("2025-10-07", ACCOUNT, "127.0.0.1:17497", "the trading date is 2025-10-07"),
        (DATE, "DU7654321", "127.0.0.1:17497", "this is account DU7654321"),
        (DATE, ACCOUNT, "127.0.0.1:7497", "this is 127.0.0.1:7497"),
    ],
)
@pytest.mark.parametrize("source", ["snapshots", "backup", "journal"])
def test_i8_state_of_another_date_account_or_gateway_is_set_aside(
    tmp_path: Path, date: str, account: str, gateway: str, named: str, source: str
) -> None:
    two_generations(tmp_path)
    if source != "snapshots":
        (tmp_path / MAIN).unlink()
    if source == "journal":
        (tmp_path / BACKUP).unlink()
    files = {path.read_bytes() for name in (MAIN, BACKUP) if (path := tmp_path / name).exists()}
    events = segment(tmp_path).read_bytes()
    with opened(tmp_path, "s2") as manager:
        result = begun(manager, date, account, gateway)
        assert (result.resumed, named in result.why) == (False, True)
        assert result.previous is not None
        assert result.previous.positions["TSLA"].held == 100
        assert (manager.state.positions, manager.state.sequence, manager.state.account) == ({}, 1, account)
        manager.save_blocking()
    kept = {path.read_bytes() for path in tmp_path.rglob("archive/**/*") if path.is_file()}
    assert files <= kept
    moved = [path.read_bytes() for path in tmp_path.rglob("segment-*.jsonl")]
    assert events in moved
    again = reloaded(tmp_path).loaded
    assert again.state is not None
    assert (again.state.trading_date, again.state.account, again.state.gateway) == (date, account, gateway)


def test_fresh_sets_todays_state_aside_too(tmp_path: Path) -> None:
    two_generations(tmp_path)
    with opened(tmp_path, "s2") as manager:
        result = begun(manager, fresh=True)
        assert (result.resumed, result.why) == (False, "--fresh was given")
        assert (manager.state.positions, manager.state.sequence) == ({}, 1)
        manager.flush()
    assert plain(replayed(tmp_path)) == plain(manager.state)


def test_i8_begin_never_applies_events_of_another_account(tmp_path: Path) -> None:
    with opened(tmp_path) as manager:
        begun(manager)
        with pytest.raises(StateError, match="DU7654321"):
            manager.record(
                ev.SessionStarted(
                    time=at(0), session_id="x", trading_date=DATE, account="DU7654321", gateway="127.0.0.1:17497"
                )
            )
        assert manager.state.sequence == 1


def test_files_that_were_set_aside_are_never_overwritten(tmp_path: Path) -> None:
    with Folder.open(tmp_path) as folder:
        for content in (b"one", b"two"):
            folder.write_new("file", content)
            set_aside(folder, ["file", "not-there"], "2025-10-03-DU1234567")
        assert not folder.exists("file")
        assert set_aside(folder, ["file"], "2025-10-03-DU1234567") == ""
    assert sorted(path.read_bytes() for path in tmp_path.glob("archive/*/file")) == [b"one", b"two"]
