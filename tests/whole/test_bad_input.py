"""Whatever is wrong with files, settings, flags, ports and disks: an exit code, two sentences, and nothing lost.

Each case runs `python trader.py` as the operator does. "Nothing lost" is the content of the logs folder before and
after: every file that was there is still there, byte for byte, under its name or under archive/ or quarantine/.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lab import DATE, ROOT, Trader, scanner, status, wait_for

from paper_gateway.testing import RunningGateway
from state.storage.codec import decode_state, encode_state

START = ("--speed", "1", "--start", "11:00", "--date", DATE)
SCAN = f"scanner_results_{DATE.replace('-', '')}.json"
GROWING = ("trader.log", "trader.jsonl", "trader.lock", "paper_gateway.log", "paper_gateway.out")


@pytest.fixture(scope="module")
def gateway() -> Iterator[RunningGateway]:
    """One gateway for the cases that place no order."""
    with RunningGateway(*START) as running:
        yield running


def trader(port: int, logs: Path, *flags: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `python trader.py <flags> --logs-dir <logs>` to its end."""
    return run([], port, logs, *flags, **settings)


def run(before: list[str], port: int, logs: Path, *flags: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The same by way of another command, which ends in running the one behind it."""
    environ = os.environ | {"TRADER_GATEWAY_PORT": str(port)} | settings
    command = [*before, sys.executable, str(ROOT / "trader.py"), *flags, "--logs-dir", str(logs)]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *text: str) -> None:
    """The exit code, and on standard error one sentence of what happened and one of what to do."""
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert all(re.fullmatch(r"\S.*[.?]", line) for line in lines), done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for word in text:
        assert word in done.stderr


def contents(logs: Path) -> dict[str, bytes]:
    """Every file that the trader keeps, but those that only grow"""
    return {
        str(path.relative_to(logs)): path.read_bytes()
        for path in logs.rglob("*")
        if path.is_file() and not path.name.startswith(GROWING)
    }


def assert_nothing_lost(before: dict[str, bytes], logs: Path) -> None:
    """Every content is still somewhere below the folder; the journal may have grown behind what it held."""
    after = contents(logs)
    kept = set(after.values())
    for name, data in before.items():
        grown = name.startswith("journal/") and any(
            other.startswith(data.rstrip(b"\n")) for path, other in after.items() if path.endswith(Path(name).name)
        )
        assert data in kept or grown, f"{name} is gone"


@pytest.fixture
def past(gateway: RunningGateway, tmp_path: Path) -> Path:
    """A logs folder as an earlier session of today left it: a state, a backup, a journal."""
    logs = tmp_path / "logs"
    with Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path)) as earlier:
        earlier.wait_ready()
        assert earlier.stop() == 0
    assert (logs / "trader_state_backup.json").exists()
    return logs


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
    content: bytes | None, text: str, gateway: RunningGateway, past: Path, tmp_path: Path
) -> None:
    scans = tmp_path / "bad"
    scans.mkdir()
    if content is not None:
        (scans / SCAN).write_bytes(content)
    before = contents(past)
    done = trader(gateway.port, past, "--scanner-dir", str(scans))
    assert_refused(done, 2, text)
    assert before.keys() <= contents(past).keys()


def test_an_empty_scan_starts_without_setups(gateway: RunningGateway, tmp_path: Path) -> None:
    (tmp_path / SCAN).write_text("{}")
    flags = ("--scanner-dir", str(tmp_path), "--duration", "0.01")
    done = trader(gateway.port, tmp_path / "logs", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Loaded 0 setups" in done.stdout


# The state on disk


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    spoiled = {
        "torn": data[: len(data) // 2],
        "foreign": b'{"name": "somebody else\'s file", "version": 3}\n',
        "not JSON": b"\x00" * 4096,
        "empty": b"",
        "edited": data.replace(b'"sequence": ', b'"sequence": 9', 1),
    }
    path.write_bytes(spoiled[how])


@pytest.mark.parametrize("how", ["torn", "foreign", "not JSON", "empty", "edited"])
def test_a_damaged_main_file_gives_way_to_the_backup(
    how: str, gateway: RunningGateway, past: Path, tmp_path: Path
) -> None:
    damage(past / "trader_state.json", how)
    before = contents(past)
    flags = ("--scanner-dir", str(scanner(tmp_path)), "--duration", "0.01")
    done = trader(gateway.port, past, *flags)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Loaded state file" in done.stdout
    assert "trader_state.json" in done.stdout  # it says which file was not used, and why
    assert_nothing_lost({"trader_state.json": before["trader_state.json"]}, past)
    assert json.loads((past / "trader_state.json").read_text())["date"] == DATE


def rewrite_state(logs: Path, **changes: str) -> None:
    """Main and backup as another trader would have written them, checksums right, and no journal beside them."""
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
    changes: dict[str, str], text: str, gateway: RunningGateway, past: Path, tmp_path: Path
) -> None:
    rewrite_state(past, **changes)
    before = contents(past)
    done = trader(gateway.port, past, "--scanner-dir", str(scanner(tmp_path)), "--duration", "0.01")
    assert (done.returncode, done.stderr) == (0, "")
    assert text in done.stdout
    assert_nothing_lost({"trader_state.json": before["trader_state.json"]}, past)
    now = json.loads((past / "trader_state.json").read_text())
    assert (now["date"], now["account"]) == (DATE, "DU1234567")


# The line


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def stranger(answer: bytes) -> Iterator[int]:
    """Something that accepts connections, says what it says to everybody, and is no gateway."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return  # the test is over
            with peer:
                peer.recv(4096)
                peer.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


@pytest.mark.parametrize("flags", [("--reconcile-only",), ("--reconcile-only", "--json")], ids=["text", "json"])
def test_nobody_listens_and_a_one_shot_command_ends_with_7(flags: tuple[str, ...], past: Path) -> None:
    before = contents(past)
    done = trader(1, past, "--gateway", f"127.0.0.1:{free_port()}", *flags)
    assert_refused(done, 7, "Nothing accepts connections", "Start TWS or IB Gateway")
    assert contents(past) == before


def test_nobody_listens_and_a_run_shows_the_state_and_keeps_trying(past: Path, gateway: RunningGateway) -> None:
    before = contents(past)
    with Trader(gateway, past.parent, "--gateway", f"127.0.0.1:{free_port()}") as waiting:
        wait_for(lambda: "Trying again every" in waiting.output())
        assert f"the state of {DATE} is all there is" in waiting.output()
        assert status(past)["entries_open"] is False
        assert waiting.stop() == 0
        assert "Traceback" not in waiting.output()
    assert_nothing_lost(before, past)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff\xff\xff\xff" + b"\0" * 64],
    ids=["closes", "http", "huge"],
)
def test_something_else_answers_on_the_port(answer: bytes, past: Path) -> None:
    before = contents(past)
    with stranger(answer) as port:
        embedded = trader(port, past, "--reconcile-only")
        assert_refused(embedded, 7, "that is not the embedded paper gateway")
        real = trader(1, past, "--gateway", f"127.0.0.1:{port}", "--reconcile-only")
        assert_refused(real, 7, f"127.0.0.1:{port}")
    assert contents(past) == before


def test_f22_the_client_id_is_taken(gateway: RunningGateway, tmp_path: Path) -> None:
    """No other id is tried, since only this one may manage the stops."""
    scans = scanner(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with Trader(gateway, elsewhere, scanner_dir=scans) as first:
        first.wait_ready()
        with Trader(gateway, tmp_path, scanner_dir=scans) as second:
            wait_for(lambda: "is already in use" in second.output() or "client id" in second.output().lower())
            assert gateway.ctl("info")["clients"] == [2001]
            first.kill()
            second.wait_ready()  # as soon as the id is free it goes on, without a person


# The lock


def test_i14_a_second_trader_is_refused(gateway: RunningGateway, tmp_path: Path) -> None:
    with Trader(gateway, tmp_path, scanner_dir=scanner(tmp_path)) as first:
        first.wait_ready()
        done = trader(gateway.port, first.logs)
        assert_refused(done, 4, f"pid {first.process.pid}", "--logs-dir")
        assert first.process.poll() is None
        assert first.status()["ready"]
        assert first.stop() == 0


# The disk


def mounted(gateway: RunningGateway, logs: Path, mount: str) -> subprocess.CompletedProcess[str]:
    """Run the trader in a mount namespace of its own; `mount` is a shell line about $L, the logs folder."""
    return run(["unshare", "-m", "sh", "-ec", f'L=$1; shift; {mount}; "$@"', "sh", str(logs)], gateway.port, logs)


def can_mount() -> bool:
    """Root on Linux can, unless a container forbids it."""
    if os.geteuid() or not shutil.which("unshare"):
        return False
    tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return tried.returncode == 0


needs_mounts = pytest.mark.skipif(not can_mount(), reason="needs root, unshare and the right to mount")


@needs_mounts
def test_a_logs_folder_that_may_not_be_written(gateway: RunningGateway, past: Path) -> None:
    before = contents(past)
    done = mounted(gateway, past, 'mount --bind "$L" "$L"; mount -o remount,ro,bind "$L"')
    assert_refused(done, 6, str(past))
    assert contents(past) == before


@needs_mounts
def test_the_disk_is_full(gateway: RunningGateway, past: Path, tmp_path: Path) -> None:
    """A disk of 256 KB that already holds the state: the journal cannot be made, and the state stays."""
    shutil.rmtree(past / "journal")
    kept = tmp_path / "kept"
    shutil.copytree(past, kept)
    mount = (
        f'mount -t tmpfs -o size=256k none "$L"; cp -a "{kept}/." "$L/"; rm -rf "{kept}"; '
        f'trap \'cp -a "$L" "{kept}"\' EXIT'
    )
    done = mounted(gateway, past, mount)
    assert_refused(done, 6, str(past))
    assert_nothing_lost(contents(past), kept)


@pytest.mark.usefixtures("unmeasured")
def test_a_file_may_not_grow(gateway: RunningGateway, past: Path) -> None:
    """Files may not grow beyond 64 KB (128 blocks): the journal's next segment cannot be made."""
    shutil.rmtree(past / "journal")
    before = contents(past)
    done = run(["sh", "-c", 'ulimit -f 128; exec "$@"', "sh"], gateway.port, past)
    assert_refused(done, 6, str(past))
    assert_nothing_lost(before, past)
    again = trader(gateway.port, past, "--scanner-dir", str(scanner(past.parent)), "--duration", "0.01")
    assert (again.returncode, again.stderr) == (0, "")


# Settings and flags


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("[gateway]\nclient_idd = 3", "Did you mean client_id?"),
        ("[gatway]\nclient_id = 3", "Did you mean"),
        ('[gateway]\nclient_id = "three"', "gateway.client_id"),
        ("[risk]\nmax_daily_loss_pct = nan", "risk.max_daily_loss_pct"),
        ("[size]\nmax_shares = -5", "size.max_shares"),
        ('[entry]\nwindow_start = "25:99"', "entry.window_start"),
        ("[gateway\n", "not valid TOML"),
    ],
)
def test_a_wrong_setting(line: str, text: str, past: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(line)
    before = contents(past)
    assert_refused(trader(1, past, "--config", str(config)), 2, text, "mine.toml")
    assert contents(past) == before


def test_a_wrong_environment_variable(past: Path) -> None:
    done = trader(1, past, TRADER_GATEWAY_SPED="3")
    assert_refused(done, 2, "TRADER_GATEWAY_SPED", "Did you mean TRADER_GATEWAY_SPEED?")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("frobnicate",), "no command 'frobnicate'"),
        (("statsu",), "Did you mean status?"),
        (("--durration", "3"), "--durration"),
        (("--duration", "nan"), "--duration"),
        (("--duration", "-5"), "--duration"),
        (("--symbols", ","), "--symbols"),
        (("--symbols", "TS LA!"), "symbol"),
        (("--client-id", "abc"), "client_id"),
        (("--client-id", "-1"), "client_id"),
        (("--gateway", "nonsense"), "HOST:PORT"),
        (("--gateway", "127.0.0.1:99999"), "HOST:PORT"),
        (("--resume", "--fresh"), "--fresh"),
        (("--checkpoint-interval", "0"), "checkpoint_interval_s"),
        (("--config", "no/such/file.toml"), "no/such/file.toml"),
    ],
)
def test_a_wrong_flag(flags: tuple[str, ...], text: str, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    assert_refused(trader(1, logs, *flags), 2, text)
    assert not logs.exists()  # it did not even begin


def test_an_unknown_session_to_resume(gateway: RunningGateway, past: Path) -> None:
    before = contents(past)
    assert_refused(trader(gateway.port, past, "--resume-session", "no-such-session"), 5, "no-such-session")
    assert_nothing_lost(before, past)


def test_the_word_live_alone_opens_nothing(gateway: RunningGateway, tmp_path: Path) -> None:
    """The embedded gateway stays what it is, and never calls itself a live session."""
    flags = ("--live", "--scanner-dir", str(scanner(tmp_path)), "--duration", "0.01")
    done = trader(gateway.port, tmp_path / "logs", *flags)
    assert done.returncode == 0
    assert "PAPER TRADING SESSION" in done.stdout
    assert "LIVE TRADING SESSION" not in done.stdout


def json_of(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def test_status_of_nothing_and_of_a_damaged_folder(past: Path, tmp_path: Path) -> None:
    empty = trader(1, tmp_path / "none", "status", "--json")
    assert (empty.returncode, json_of(empty)["positions"]) == (0, [])
    assert not (tmp_path / "none").exists()
    for name in ("trader_state.json", "trader_state_backup.json"):
        damage(past / name, "torn")
    before = contents(past)
    damaged = trader(1, past, "status", "--json")
    assert damaged.returncode == 0
    assert json_of(damaged)["notes"]
    assert contents(past) == before
