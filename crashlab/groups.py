"""Journal groups torn at every byte, repaired by a real start, continued, and torn at every byte again.

Three events are durable; the write of three more is torn in every way. The journal is opened, which blanks the
torn tail, and two more events are written. All events have the same length, so that an old record that was not
blanked would follow a new one directly. The second write is torn at every byte, too, and the real reader reads
each resulting disk.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from crashlab.images import images, overlay, torn
from crashlab.parallel import cores, spread
from crashlab.powerloss import ImageFolder, scratch
from crashlab.recording import Acked, RecordingDisk, Tree, Wrote
from crashlab.report import Tally
from state.storage.files import Folder
from state.storage.journal import Journal, JournalReport, Verdict
from state.storage.journal.reader import read_segments

FAULT = "power loss: journal groups"
SEGMENT = "journal/segment-00000001.jsonl"
SEGMENT_BYTES = 2048
HOLES = 10  # the last ones: missing sectors before complete records
RUN_BYTES = 75  # makes the groups as long as those of real events
CLOCK = "2025-10-06T09:45:00-04:00"


def groups(every: int = 1) -> Tally:
    """Each `every`-th state of the first torn group, combined with every state of the second."""
    tally = Tally(FAULT)
    with tally.timed():
        found = torn_segments()
        starts = list(dict.fromkeys([*found[::every], *found[-HOLES:]]))
        share = max(1, cores() * 4)
        for part in spread(_all_of, [starts[at::share] for at in range(share) if starts[at::share]]):
            tally.add(part)
    return tally


def torn_segments() -> list[bytes]:
    """A journal of one durable group and a second one, in every state that a crash can leave."""
    root = scratch()
    disk = RecordingDisk(root)
    try:
        journal, folder = _open(root, disk)
        _append(journal, "a")
        durable = (root / SEGMENT).read_bytes()
        _append(journal, "a")
        # The last write can be that of the next segment, which is filled from its start in the background.
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
    """Write and flush a group of events. Returns them, in order."""
    filling = run.encode() * RUN_BYTES
    written = [b'{"event":%d,"run":"%s"}' % (journal.sequence + 1 + at, filling) for at in range(events)]
    for data in written:
        journal.append("lab", data)
    journal.flush()
    return written


def _all_of(starts: list[bytes]) -> Tally:
    tally, image_folder = Tally(FAULT), ImageFolder()
    (image_folder.root / "journal").mkdir(mode=0o700)
    with Folder.open(image_folder.root / "journal") as folder:
        for content in starts:
            _cut_second(tally, folder, content)
    image_folder.close()
    return tally


def _cut_second(tally: Tally, reader: Folder, content: bytes) -> None:
    """Repair a torn segment, write a group after it, and read every disk that a crash during that can leave."""
    root = scratch()
    (root / "journal").mkdir(mode=0o700)
    (root / SEGMENT).write_bytes(content)
    start = Tree.of({"journal": None, SEGMENT: content})
    disk = RecordingDisk(root, start)
    journal, folder = _open(root, disk)
    kept = _events(journal.report)
    if journal.report.verdict is Verdict.CORRUPT:
        tally.fail("wrong", f"a torn write was reported as damage: {journal.report.detail}")
    written = _append(journal, "b", events=2)
    disk.acknowledge(journal.sequence, saved=False)
    journal.close()
    folder.close()
    shutil.rmtree(root)
    node = next(node for node, found in start.files.items() if found == content)
    operations = [op for op in disk.operations if isinstance(op, Acked) or getattr(op, "node", None) == node]
    if len(kept) < 3:
        tally.fail("lost", f"{len(kept)} of 3 durable events remain after the first crash")
    for image in images(start, operations):
        (reader.path / Path(SEGMENT).name).write_bytes(image.tree.files[node])
        _judge(tally, read_segments(reader, 0).report, kept, written, acked=image.acked.sequence)


def _judge(tally: Tally, found: JournalReport, kept: list[bytes], written: list[bytes], acked: int) -> None:
    tally.points += 1
    events_read = _events(found)
    if len(events_read) < max(len(kept), acked):
        tally.fail("lost", f"{len(events_read)} events were read, {max(len(kept), acked)} were acknowledged")
    elif events_read != (kept + written)[: len(events_read)]:
        tally.fail("resurrected", f"{[bytes(one) for one in events_read]} is not the head of {kept + written}")
    if acked and found.verdict is not Verdict.CLEAN:
        tally.fail("wrong", f"records of the first run are still there: {found.detail}")
    if found.verdict is Verdict.CORRUPT:
        tally.fail("wrong", f"an ordinary crash was reported as damage: {found.detail}")


def _events(report: JournalReport) -> list[bytes]:
    return [bytes(record.data) for record in report.records]
