"""Journal groups torn at every byte, mended by the real start, written on, and torn at every byte again.

Three events are durable; a group of three more is torn in every way. The journal is opened (which blanks the torn
tail) and two more are written, each as long as those before, so that an old record that was not blanked would come
right behind a new one. That too is cut off at every byte, and the real reader looks at each of the disks.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from crashlab.images import images, overlay, torn
from crashlab.parallel import cores, spread
from crashlab.powerloss import Bench, scratch
from crashlab.recording import Acked, RecordingDisk, Tree, Wrote
from crashlab.report import Tally
from state.storage.files import Folder
from state.storage.journal import Journal, JournalReport, Verdict
from state.storage.journal.reader import read_segments

FAULT = "power loss: journal groups"
SEGMENT = "journal/segment-00000001.jsonl"
SEGMENT_BYTES = 2048
HOLES = 10  # the last ones: sectors missing, with whole records behind them
RUN_BYTES = 75  # makes the groups as long as those of real events
CLOCK = "2025-10-06T09:45:00-04:00"


def groups(every: int = 1) -> Tally:
    """Each `every`-th way in which the first group may be torn, times every way for the second."""
    tally = Tally(FAULT)
    with tally.timed():
        found = torn_segments()
        starts = list(dict.fromkeys([*found[::every], *found[-HOLES:]]))
        share = max(1, cores() * 4)
        for part in spread(_all_of, [starts[at::share] for at in range(share) if starts[at::share]]):
            tally.add(part)
    return tally


def torn_segments() -> list[bytes]:
    """A journal of one durable group, with a second one left in every state that a crash may leave."""
    root = scratch()
    disk = RecordingDisk(root)
    try:
        journal, folder = _open(root, disk)
        _append(journal, "a")
        durable = (root / SEGMENT).read_bytes()
        _append(journal, "a")
        # The next segment, filled from its start in the background, may have been written last.
        write = next(op for op in reversed(disk.operations) if isinstance(op, Wrote) and op.offset)
        journal.close()
        folder.close()
    finally:
        shutil.rmtree(root)
    return list(dict.fromkeys([*torn(durable, write), overlay(durable, write)]))


def _open(root: Path, disk: RecordingDisk) -> tuple[Journal, Folder]:
    folder = Folder.open(root, disk=disk)
    opened = Journal.open(
        folder.subfolder("journal"),
        snapshot_sequence=0,
        clock=lambda: CLOCK,
        loop=None,
        segment_bytes=SEGMENT_BYTES,
    )
    return opened, folder


def _append(journal: Journal, run: str, events: int = 3) -> list[bytes]:
    """A group: one write, one flush. Returns what was said, in order."""
    filling = run.encode() * RUN_BYTES
    said = [b'{"event":%d,"run":"%s"}' % (journal.sequence + 1 + at, filling) for at in range(events)]
    for data in said:
        journal.append("lab", data)
    journal.flush()
    return said


def _all_of(starts: list[bytes]) -> Tally:
    tally, bench = Tally(FAULT), Bench()
    (bench.root / "journal").mkdir(mode=0o700)
    with Folder.open(bench.root / "journal") as folder:
        for content in starts:
            _cut_second(tally, folder, content)
    bench.close()
    return tally


def _cut_second(tally: Tally, reader: Folder, content: bytes) -> None:
    """Mend one torn segment, write a group after it, and read every disk that a crash meanwhile may leave."""
    root = scratch()
    (root / "journal").mkdir(mode=0o700)
    (root / SEGMENT).write_bytes(content)
    start = Tree.of({"journal": None, SEGMENT: content})
    disk = RecordingDisk(root, start)
    journal, folder = _open(root, disk)
    kept = _said(journal.report)
    if journal.report.verdict is Verdict.CORRUPT:
        tally.fail("wrong", f"a torn write was taken for damage: {journal.report.detail}")
    written = _append(journal, "b", events=2)
    disk.acknowledge(journal.sequence, saved=False)
    journal.close()
    folder.close()
    shutil.rmtree(root)
    node = next(node for node, found in start.files.items() if found == content)
    operations = [op for op in disk.operations if isinstance(op, Acked) or getattr(op, "node", None) == node]
    if len(kept) < 3:
        tally.fail("lost", f"{len(kept)} of 3 durable events are there after the first crash")
    for image in images(start, operations):
        (reader.path / Path(SEGMENT).name).write_bytes(image.tree.files[node])
        _judge(tally, read_segments(reader, 0).report, kept, written, promised=image.promised.sequence)


def _judge(tally: Tally, found: JournalReport, kept: list[bytes], written: list[bytes], promised: int) -> None:
    tally.points += 1
    said = _said(found)
    if len(said) < max(len(kept), promised):
        tally.fail("lost", f"{len(said)} events are there, {max(len(kept), promised)} were promised")
    elif said != (kept + written)[: len(said)]:
        tally.fail("resurrected", f"{[bytes(one) for one in said]} is not the head of {kept + written}")
    if promised and found.verdict is not Verdict.CLEAN:
        tally.fail("wrong", f"something of the first run is still there: {found.detail}")
    if found.verdict is Verdict.CORRUPT:
        tally.fail("wrong", f"an ordinary crash was taken for damage: {found.detail}")


def _said(report: JournalReport) -> list[bytes]:
    return [bytes(record.data) for record in report.records]
