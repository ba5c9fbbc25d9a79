"""The probe: what it measures, and how it reads the kernel's list of mounts."""

from pathlib import Path

import pytest

from state.storage.disk import Disk
from state.storage.files import Folder
from state.storage.probe import file_system, probe

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:26 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=10k
31 22 0:40 / /srv/my\\040logs rw,relatime - nfs4 server:/logs rw,vers=4.2
32 22 0:41 / /data rw,relatime - ext4 /dev/sdb rw
33 22 0:42 / /data rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b,volatile
34 22 0:43 / /mnt rw - fuse.sshfs host: rw
a line that is cut
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/user/logs", "ext4"),
        ("/run/logs", "tmpfs"),
        ("/running", "ext4"),
        ("/srv/my logs/x", "nfs4"),
        ("/data/logs", "overlay"),
        ("/mnt/x", "fuse.sshfs"),
    ],
)
def test_the_innermost_and_latest_mount_counts(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS)[0] == kind


def test_overlay_is_only_suspicious_when_volatile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder.open(tmp_path)
    for options, warned in (("rw,volatile", True), ("rw", False)):
        monkeypatch.setattr("state.storage.probe.file_system", lambda _, found=options: ("overlay", found))
        assert any("volatile" in warning for warning in probe(folder).warnings) is warned


def test_flush_that_reaches_no_disk_is_warned_about(tmp_path: Path) -> None:
    class Idle(Disk):
        def fdatasync(self, fd: int) -> None:
            """Returns at once."""

    report = probe(Folder.open(tmp_path, disk=Idle()))
    assert any("cannot be reaching a disk" in warning for warning in report.warnings) == (report.median_us < 20)
    assert report.median_us < 1000


def test_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    report = probe(Folder.open(tmp_path))
    assert report.median_us > 0
    assert list(tmp_path.iterdir()) == []
