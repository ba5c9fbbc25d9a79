"""The folder: whole files or none, no link followed, no other user's file read, nothing in quarantine lost."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from disk_faults import CountingDisk, FailingDisk, PowerCut, ShortWriteDisk

from state.errors import CorruptFileError, DiskError, InvariantError, StateError, SyncFailedError, TraderError
from state.storage.files import Folder

REPO = Path(__file__).resolve().parents[2]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def listing(path: Path) -> list[str]:
    """Every name, temp files too."""
    return sorted(entry.name for entry in path.iterdir())


def test_missing_parents_are_created_private(tmp_path: Path) -> None:
    Folder.open(tmp_path / "a" / "b").subfolder("c").write_new("file", b"x")
    assert [mode(tmp_path / p) for p in ("a", "a/b", "a/b/c", "a/b/c/file")] == [0o700, 0o700, 0o700, 0o600]


def test_absent_folder_is_not_created_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="absent"):
        Folder.open(tmp_path / "absent", create=False)
    assert not (tmp_path / "absent").exists()


def test_symlinked_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "logs").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DiskError, match="logs"):
        Folder.open(tmp_path / "logs")


def test_world_writable_folder_is_refused_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs").chmod(0o777)
    with pytest.raises(StateError, match="chmod 700"):
        Folder.open(tmp_path / "logs")


def test_a_folder_that_a_checkout_left_readable_is_made_private_by_its_writer_alone(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs").chmod(0o755)
    Folder.open(tmp_path / "logs", create=False).close()
    assert mode(tmp_path / "logs") == 0o755
    Folder.open(tmp_path / "logs").close()
    assert mode(tmp_path / "logs") == 0o700


def test_group_writable_folder_of_this_user_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs").chmod(0o775)
    Folder.open(tmp_path / "logs")
    assert mode(tmp_path / "logs") == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_folder_and_file_of_another_user_are_refused(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path / "logs")
    folder.write_new("state.json", b"{}")
    os.chown(tmp_path / "logs" / "state.json", 12345, -1)
    with pytest.raises(CorruptFileError, match="12345"):
        folder.read_file("state.json")
    os.chown(tmp_path / "logs", 12345, -1)
    with pytest.raises(StateError, match="12345"):
        Folder.open(tmp_path / "logs")


def test_symlink_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = Folder.open(tmp_path / "logs")
    (tmp_path / "logs" / "state.json").symlink_to(victim)
    with pytest.raises(CorruptFileError, match="symbolic link"):
        folder.read_file("state.json")
    folder.write_new("state.json", b"new")
    assert victim.read_text() == "precious"
    assert folder.read_file("state.json") == b"new"


def test_planted_temp_name_cannot_redirect_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = Folder.open(tmp_path / "logs")
    monkeypatch.setattr("state.storage.files.secrets.token_hex", lambda _: "0" * 16)
    (tmp_path / "logs" / folder.temp_name("state.json")).symlink_to(victim)
    with pytest.raises(DiskError, match="exists"):
        folder.write_new("state.json", b"new")
    assert victim.read_text() == "precious"


def test_absent_folder_device_and_huge_files(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path)
    assert folder.read_file("absent") is None
    folder.subfolder("inside")
    os.mkfifo(tmp_path / "fifo")
    folder.write_new("huge", b"x" * 101)
    for name, reason in (("inside", "not a plain file"), ("fifo", "not a plain file"), ("huge", "101 bytes")):
        with pytest.raises(CorruptFileError, match=reason):
            folder.read_file(name, limit_bytes=100)
    assert folder.read_file("huge", limit_bytes=101) == b"x" * 101


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvariantError):
        Folder.open(tmp_path).read_file(name)


def test_short_writes_go_on(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path, disk=ShortWriteDisk())
    folder.write_new("state.json", bytes(range(256)))
    assert folder.read_file("state.json") == bytes(range(256))


@pytest.mark.parametrize(
    ("call", "code"),
    [("create", errno.EROFS), ("pwrite", errno.ENOSPC), ("pwrite", errno.EIO), ("rename", errno.EACCES)],
)
def test_refused_write_leaves_the_old_file_and_no_leftovers(tmp_path: Path, call: str, code: int) -> None:
    Folder.open(tmp_path).write_new("state.json", b"old")
    with pytest.raises(DiskError, match=os.strerror(code)) as caught:
        Folder.open(tmp_path, disk=FailingDisk(**{call: code})).write_new("state.json", b"new")
    assert caught.value.exit_code == 6
    assert caught.value.hint
    assert listing(tmp_path) == ["state.json"]
    assert (tmp_path / "state.json").read_bytes() == b"old"


def test_failed_flush_is_final(tmp_path: Path) -> None:
    with pytest.raises(SyncFailedError):
        Folder.open(tmp_path, disk=FailingDisk(fsync=errno.EIO)).write_new("state.json", b"new")


def test_power_cut_at_every_call_leaves_old_or_new(tmp_path: Path) -> None:
    def cut() -> None:
        raise PowerCut

    seen = set()
    for at in range(1, 20):
        path = tmp_path / str(at)
        Folder.open(path).write_new("state.json", b"old")
        disk = CountingDisk(at, cut)
        try:
            Folder.open(path, disk=disk).write_new("state.json", b"new")
        except PowerCut:
            folder = Folder.open(path)
            seen.add(folder.read_file("state.json"))
            assert folder.names() == ["state.json"]
            folder.remove_leftovers()
            assert listing(path) == ["state.json"]
        else:
            assert disk.calls == ["create", "pwrite", "fsync", "rename", "fsync"]
            break
    assert seen == {b"old", b"new"}


def test_only_temp_files_of_this_program_are_removed(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path)
    ours = folder.temp_name("state.json")
    for name in (ours, ".state.json.tmp", ".state.json.12.xyz.tmp", "state.json", ".hidden"):
        (tmp_path / name).write_text("x")
    directory = folder.temp_name("folder")
    (tmp_path / directory).mkdir()
    assert folder.remove_leftovers() == [ours]
    assert ours not in listing(tmp_path)
    assert len(listing(tmp_path)) == 5


def test_a_temp_file_that_is_gone_once_it_was_listed_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder.open(tmp_path)
    gone = folder.temp_name("state.json")
    monkeypatch.setattr(folder, "_entries", lambda: [gone])
    assert folder.remove_leftovers() == []


def test_quarantine_keeps_every_file_and_says_why(tmp_path: Path) -> None:
    folder = Folder.open(tmp_path).subfolder("journal")
    kept = []
    for content in (b"first", b"second", b"third"):
        folder.write_new("bad.json", content)
        kept.append(folder.quarantine("bad.json", "The checksum is wrong."))
    kept.append(folder.quarantine_copy("bad.json", b"fourth", "A copy."))
    quarantine = tmp_path / "quarantine"
    assert [(quarantine / name).read_bytes() for name in kept] == [b"first", b"second", b"third", b"fourth"]
    reason = (quarantine / f"{kept[0]}.reason.txt").read_text()
    assert "The checksum is wrong." in reason
    assert str(tmp_path / "journal" / "bad.json") in reason
    assert folder.names() == []


def test_errors_form_one_tree_with_exit_codes() -> None:
    codes = {kind.__name__: kind.exit_code for kind in (TraderError, StateError, InvariantError, DiskError)}
    assert codes == {"TraderError": 1, "StateError": 5, "InvariantError": 5, "DiskError": 6}
    assert str(TraderError("It broke.", "Repair it.")) == "It broke. Repair it."


def test_file_size_limit_of_the_system_is_a_clear_error(tmp_path: Path) -> None:
    code = (
        "import signal, sys; from pathlib import Path; from state.storage.files import Folder\n"
        "from state.errors import DiskError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: Folder.open(Path(sys.argv[1])).write_new('big', b'x' * 100_000)\n"
        "except DiskError as error: sys.exit(str(error))\n"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=REPO,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.returncode == 1
    assert "File too large" in run.stderr
    assert "ulimit -f" in run.stderr
    assert listing(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        with Folder.open(tmp_path) as folder:
            folder.write_new("state.json", b"old")
            with pytest.raises(DiskError, match=r"No space left.*Free some space"):
                folder.write_new("state.json", b"x" * 200_000)
            assert folder.read_file("state.json") == b"old"
            folder.write_new("state.json", b"new")
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
