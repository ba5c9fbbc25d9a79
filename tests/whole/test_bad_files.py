"""Bad files and full disks at a start: an exit code, two sentences, and nothing lost."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from bad_input_cases import SCAN, assert_nothing_lost, assert_refused, contents, damage, run, trader
from lab import DATE, scanner

from paper_gateway.testing import RunningGateway
from state.storage.codec import decode_state, encode_state

# The scanner's file


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, f"There is no {SCAN}"),
        (b"", "not valid JSON"),
        (b'[{"symbol": "TSLA", "resis', "not valid JSON"),
        (b"\xff\xfe\x00", SCAN),
        (b'"a text"', SCAN),
    ],
    ids=["none", "0 bytes", "torn", "not text", "not a list"],
)
def test_the_scanners_file_is_unusable(
    content: bytes | None, text: str, shared_gateway: RunningGateway, earlier_logs: Path, tmp_path: Path
) -> None:
    scans = tmp_path / "bad"
    scans.mkdir()
    if content is not None:
        (scans / SCAN).write_bytes(content)
    before = contents(earlier_logs)
    done = trader(shared_gateway.port, earlier_logs, "--scanner-dir", str(scans))
    assert_refused(done, 2, text)
    assert before.keys() <= contents(earlier_logs).keys()


def test_an_empty_scan_starts_without_setups(shared_gateway: RunningGateway, tmp_path: Path) -> None:
    (tmp_path / SCAN).write_text("{}")
    flags = ("--scanner-dir", str(tmp_path), "--duration", "0.01")
    done = trader(shared_gateway.port, tmp_path / "logs", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Loaded 0 setups" in done.stdout


# The state on disk


@pytest.mark.parametrize("how", ["torn", "foreign", "not JSON", "empty", "edited"])
def test_a_damaged_main_file_gives_way_to_the_backup(
    how: str, shared_gateway: RunningGateway, earlier_logs: Path, tmp_path: Path
) -> None:
    damage(earlier_logs / "trader_state.json", how)
    before = contents(earlier_logs)
    flags = ("--scanner-dir", str(scanner(tmp_path)), "--duration", "0.01")
    done = trader(shared_gateway.port, earlier_logs, *flags)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Loaded state file" in done.stdout
    assert "trader_state.json" in done.stdout  # the file that was not used is named
    assert_nothing_lost({"trader_state.json": before["trader_state.json"]}, earlier_logs)
    assert json.loads((earlier_logs / "trader_state.json").read_text())["date"] == DATE


def rewrite_state(logs: Path, **changes: str) -> None:
    """Change main and backup, with right checksums, and remove the journal."""
    for name in ("trader_state.json", "trader_state_backup.json"):
        state, saved_at = decode_state((logs / name).read_bytes())
        for key, value in changes.items():
            setattr(state, key, value)
        (logs / name).write_bytes(encode_state(state, saved_at))
    shutil.rmtree(logs / "journal")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"trading_date": "2025-10-03"}, "2025-10-03"),
        ({"account": "DU7777777"}, "DU7777777"),
        ({"gateway": "127.0.0.1:7497"}, "127.0.0.1:7497"),
    ],
    ids=["another date", "another account", "another gateway"],
)
def test_i8_state_of_another_is_set_aside(
    changes: dict[str, str], text: str, shared_gateway: RunningGateway, earlier_logs: Path, tmp_path: Path
) -> None:
    rewrite_state(earlier_logs, **changes)
    before = contents(earlier_logs)
    done = trader(shared_gateway.port, earlier_logs, "--scanner-dir", str(scanner(tmp_path)), "--duration", "0.01")
    assert (done.returncode, done.stderr) == (0, "")
    assert text in done.stdout
    assert_nothing_lost({"trader_state.json": before["trader_state.json"]}, earlier_logs)
    now = json.loads((earlier_logs / "trader_state.json").read_text())
    assert (now["date"], now["account"]) == (DATE, "DU1234567")


# The disk


def mounted(shared_gateway: RunningGateway, logs: Path, mount: str) -> subprocess.CompletedProcess[str]:
    """Run the trader in a mount namespace of its own; `mount` is a shell line about $L, the logs folder."""
    return run(
        ["unshare", "-m", "sh", "-ec", f'L=$1; shift; {mount}; "$@"', "sh", str(logs)], shared_gateway.port, logs
    )


def can_mount() -> bool:
    """Root on Linux can, unless a container forbids it."""
    if os.geteuid() or not shutil.which("unshare"):
        return False
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return tried.returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="needs root, unshare and the right to mount")


@needs_mounts
def test_a_logs_folder_that_may_not_be_written(shared_gateway: RunningGateway, earlier_logs: Path) -> None:
    before = contents(earlier_logs)
    done = mounted(shared_gateway, earlier_logs, 'mount --bind "$L" "$L"; mount -o remount,ro,bind "$L"')
    assert_refused(done, 6, str(earlier_logs))
    assert contents(earlier_logs) == before


@needs_mounts
def test_the_disk_is_full(shared_gateway: RunningGateway, earlier_logs: Path, tmp_path: Path) -> None:
    """A disk of 256 KB holds the state already: the journal cannot be made, and the state is unchanged."""
    shutil.rmtree(earlier_logs / "journal")
    kept = tmp_path / "kept"
    shutil.copytree(earlier_logs, kept)
    mount = (
        f'mount -t tmpfs -o size=256k none "$L"; cp -a "{kept}/." "$L/"; rm -rf "{kept}"; '
        f'trap \'cp -a "$L" "{kept}"\' EXIT'
    )
    done = mounted(shared_gateway, earlier_logs, mount)
    assert_refused(done, 6, str(earlier_logs))
    assert_nothing_lost(contents(earlier_logs), kept)


@pytest.mark.usefixtures("unmeasured")
def test_a_file_may_not_grow(shared_gateway: RunningGateway, earlier_logs: Path) -> None:
    """Files may not grow beyond 64 KB (128 blocks): the journal's next segment cannot be made."""
    shutil.rmtree(earlier_logs / "journal")
    before = contents(earlier_logs)
    done = run(["sh", "-c", 'ulimit -f 128; exec "$@"', "sh"], shared_gateway.port, earlier_logs)
    assert_refused(done, 6, str(earlier_logs))
    assert_nothing_lost(before, earlier_logs)
    again = trader(
        shared_gateway.port, earlier_logs, "--scanner-dir", str(scanner(earlier_logs.parent)), "--duration", "0.01"
    )
    assert (again.returncode, again.stderr) == (0, "")


# The status command


def json_of(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def test_status_of_nothing_and_of_a_damaged_folder(earlier_logs: Path, tmp_path: Path) -> None:
    empty = trader(1, tmp_path / "none", "status", "--json")
    assert (empty.returncode, json_of(empty)["positions"]) == (0, [])
    assert not (tmp_path / "none").exists()
    for name in ("trader_state.json", "trader_state_backup.json"):
        damage(earlier_logs / name, "torn")
    before = contents(earlier_logs)
    damaged = trader(1, earlier_logs, "status", "--json")
    assert damaged.returncode == 0
    assert json_of(damaged)["notes"]
    assert contents(earlier_logs) == before
