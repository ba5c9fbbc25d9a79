"""The small part of the power-loss campaign, and that it can fail: writers that forget a flush lose something."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crashlab import groups, powerloss
from crashlab.images import carried_out, images, overlay
from crashlab.powerloss import History, SmallManager, inline_run, judge, look
from crashlab.recording import Acked, Named, Operation, RecordingDisk, Synced, Tree, Wrote
from crashlab.report import Tally

Check = Callable[..., None]


def test_i7_i9_every_power_loss_during_saves_segment_changes_and_restarts(nothing_lost: Check) -> None:
    nothing_lost(*powerloss.snapshots(every=4000, kills=5))


def test_every_power_loss_in_a_journal_group_and_in_the_one_after_the_repair(nothing_lost: Check) -> None:
    nothing_lost(groups.groups(every=12))


class Forgetful(RecordingDisk):
    """Says that it flushed, and did not: what a writer without that flush would leave behind."""

    forgets = ""

    def fsync(self, fd: int) -> None:
        is_folder = Path(f"/proc/self/fd/{fd}").is_dir()
        if self.forgets != ("folder" if is_folder else "file"):
            super().fsync(fd)

    def fdatasync(self, fd: int) -> None:
        if self.forgets != "journal":
            super().fdatasync(fd)


@pytest.mark.parametrize("forgets", ["folder", "file", "journal"])
def test_a_forgotten_flush_is_found(tmp_path: Path, forgets: str) -> None:
    disk = Forgetful(tmp_path / "logs")
    disk.forgets = forgets
    history = History()
    inline_run(tmp_path / "logs", disk, history, "first", events=3)
    tally, bench = Tally("forgotten"), powerloss.Bench()
    for image in images(Tree(), disk.operations[:24], step_bytes=200):
        look(tally, bench, image, history)
    bench.close()
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
    later = [image.tree.paths()["main"] for image in images(Tree(), operations) if image.promised.sequence]
    assert set(later) == {b"ab", b"ac", b"acd", b"ab\0", b"ac\0"}
    assert carried_out(Tree(), operations).paths() == {"main": b"acd"}


def test_a_gap_before_a_write_reads_as_zeros() -> None:
    assert overlay(b"a", Wrote(1, 3, b"b")) == b"a\0\0b"


def test_what_was_promised_and_is_gone_is_lost() -> None:
    tally = Tally("lost")
    bench = powerloss.Bench()
    image = next(images(Tree(), [Acked(1)], since=1))
    look(tally, bench, image, History())
    bench.close()
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
