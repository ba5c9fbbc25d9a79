"""A small part of the power-loss campaign, and proof that it can fail: a writer without a flush loses events."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crashlab import groups, powerloss
from crashlab.images import carried_out, images, overlay
from crashlab.powerloss import History, ImageFolder, SmallManager, inline_run, judge, load_and_judge
from crashlab.recording import Acked, Named, Operation, RecordingDisk, Synced, Tree, Wrote
from crashlab.report import Tally

Check = Callable[..., None]


def test_i7_i9_every_power_loss_during_saves_segment_changes_and_restarts(nothing_lost: Check) -> None:
    nothing_lost(*powerloss.snapshots(every=4000, kills=5))


def test_every_power_loss_in_a_journal_group_and_in_the_one_after_the_repair(nothing_lost: Check) -> None:
    nothing_lost(groups.groups(every=12))


class SkippingDisk(RecordingDisk):
    """Skips one kind of flush, as a writer without that flush."""

    skips = ""

    def fsync(self, fd: int) -> None:
        is_folder = Path(f"/proc/self/fd/{fd}").is_dir()
        if self.skips != ("folder" if is_folder else "file"):
            super().fsync(fd)

    def fdatasync(self, fd: int) -> None:
        if self.skips != "journal":
            super().fdatasync(fd)


@pytest.mark.parametrize("skips", ["folder", "file", "journal"])
def test_a_missing_flush_is_found(tmp_path: Path, skips: str) -> None:
    disk = SkippingDisk(tmp_path / "logs")
    disk.skips = skips
    history = History()
    inline_run(tmp_path / "logs", disk, history, "first", events=3)
    tally, image_folder = Tally("forgotten"), ImageFolder()
    for image in images(Tree(), disk.operations[:24], step_bytes=200):
        load_and_judge(tally, image_folder, image, history)
    image_folder.close()
    assert tally.bad > 0


def test_images_are_all_states_that_posix_allows() -> None:
    renamed = Named(0, (("temp", None), ("main", 1)))
    operations: list[Operation] = [Named(0, (("temp", 1),)), Wrote(1, 0, b"ab"), Synced(1), renamed]
    contents = {tuple(sorted(image.tree.paths().items())) for image in images(Tree(), operations)}
    assert contents == {
        (),
        (("temp", b""),),
        (("temp", b"a"),),
        (("temp", b"ab"),),
        (("temp", b"\0\0"),),
        (("temp", b"a\0"),),
        (("main", b"ab"),),
    }


def test_a_flushed_write_is_there_in_every_image_after_it() -> None:
    flushed: list[Operation] = [Named(0, (("main", 1),)), Wrote(1, 0, b"ab"), Synced(1), Synced(0)]
    operations = [*flushed, Acked(1), Wrote(1, 1, b"cd")]
    later = [image.tree.paths()["main"] for image in images(Tree(), operations) if image.acked.sequence]
    assert set(later) == {b"ab", b"ac", b"acd", b"ab\0", b"ac\0"}
    assert carried_out(Tree(), operations).paths() == {"main": b"acd"}


def test_a_gap_before_a_write_reads_as_zeros() -> None:
    assert overlay(b"a", Wrote(1, 3, b"b")) == b"a\0\0b"


def test_acknowledged_events_that_are_gone_are_lost() -> None:
    tally = Tally("lost")
    image_folder = ImageFolder()
    image = next(images(Tree(), [Acked(1)], since=1))
    load_and_judge(tally, image_folder, image, History())
    image_folder.close()
    assert (tally.points, tally.lost) == (1, 1)


def test_another_state_under_the_same_number_is_resurrected(tmp_path: Path) -> None:
    disk, history = RecordingDisk(tmp_path / "logs"), History()
    inline_run(tmp_path / "logs", disk, history, "first", events=1)
    with SmallManager.open(tmp_path / "logs", "look") as manager:
        found = manager.loaded
    tally = Tally("resurrected")
    image = next(images(Tree(), []))
    judge(tally, found, image, History(dict.fromkeys(history.states, b"{}")))
    assert tally.resurrected == 1
