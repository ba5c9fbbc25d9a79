"""Any history of groups, crashes at any byte and restarts: acknowledged records stay, lost ones never return."""

import tempfile
from pathlib import Path

from disk_faults import PowerCut, TearingDisk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_cases import damage, numbers, open_journal, payload, segment, used_bytes, write_each

from state.storage.journal import Journal, Verdict, read_journal

groups = st.integers(min_value=1, max_value=6)
sectors = st.lists(st.booleans(), min_size=1, max_size=64)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), groups),
        st.tuples(st.just("tear"), groups, st.sampled_from([16, 100, 512]), sectors),
        st.tuples(st.just("lose"), groups, st.sampled_from([16, 100, 512]), st.sets(st.integers(0, 8), min_size=1)),
        st.tuples(st.just("cut"), groups, st.integers(min_value=0, max_value=1200)),
        st.tuples(st.just("tear repair"), groups, st.integers(min_value=0, max_value=600)),
    ),
    max_size=6,
)


class History:
    """What a run of writes and crashes must leave: all of `kept`, and any first part of `hoped`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disk = TearingDisk()
        self.kept: list[int] = []
        self.hoped: list[int] = []
        self.journal: Journal | None = None
        self.restart()

    def restart(self) -> None:
        """Open again, and compare what is found with what must be there; from now on it is `kept`."""
        if self.journal is not None:
            self.journal._keeper.close()  # the threads of a process end with it
        journal = open_journal(self.path, disk=self.disk, size_bytes=1024)
        found = numbers(journal.report)
        assert journal.report.verdict is not Verdict.CORRUPT, journal.report.detail
        assert found[: len(self.kept)] == self.kept
        rest = found[len(self.kept) :]
        assert rest == self.hoped[: len(rest)]
        self.kept, self.hoped = found, []
        assert journal.sequence == len(found)
        self.journal = journal

    def append(self, count: int) -> None:
        self.hoped = list(range(len(self.kept) + 1, len(self.kept) + 1 + count))  # lost numbers are written again
        for number in self.hoped:
            self.opened.append("test", payload(number))

    @property
    def opened(self) -> Journal:
        assert self.journal is not None
        return self.journal

    def write(self, count: int) -> None:
        self.append(count)
        self.opened.flush()
        self.kept += self.hoped
        self.hoped = []

    def crash(self, count: int, survives: list[bool], sector_bytes: int) -> None:
        """A group of which only some sectors reach the disk, then a restart."""
        self.append(count)
        self.disk.survives = lambda at: survives[at // sector_bytes % len(survives)]
        try:
            self.opened.flush()
        except PowerCut:
            self.restart()

    def crash_in_repair(self, count: int, survived: int) -> None:
        """A torn group, then a second crash while its tail is being blanked."""
        self.append(count)
        self.disk.survives = lambda at: at % 200 > 100
        try:
            self.opened.flush()
        except PowerCut:
            self.disk.survives = lambda at: at < survived
            try:
                self.restart()
            except PowerCut:
                self.restart()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_acknowledged_records_survive_and_lost_ones_never_return(history: list[tuple[object, ...]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        run = History(Path(name))
        for step in history:
            match step:
                case ("write", int(count)):
                    run.write(count)
                case ("tear", int(count), int(sector_bytes), list(survives)):
                    run.crash(count, survives, sector_bytes)
                case ("lose", int(count), int(sector_bytes), set(lost)):
                    run.crash(count, [sector not in lost for sector in range(256)], sector_bytes)
                case ("cut", int(count), int(survived)):
                    run.crash(count, [at < survived for at in range(4096)], 1)
                case ("tear repair", int(count), int(survived)):
                    run.crash_in_repair(count, survived)
        run.write(1)
        run.restart()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_changed_byte_before_the_last_record_is_never_taken_for_a_torn_tail(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        write_each(path, 1, 8)
        content = segment(path).read_bytes()
        last = content.rindex(b'{"crc"')
        at = data.draw(st.integers(min_value=0, max_value=last - 1))
        byte = data.draw(st.integers(min_value=0, max_value=255).filter(lambda value: value != content[at]))
        damage(segment(path), at, bytes([byte]))
        report = read_journal(path / "journal")
        assert report.verdict is Verdict.CORRUPT
        assert numbers(report) == list(range(1, len(report.records) + 1))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_garbage_after_the_end_is_a_torn_tail(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        write_each(path, 1, 3)
        at = used_bytes(segment(path)) + data.draw(st.integers(min_value=0, max_value=500))
        damage(segment(path), at, data.draw(st.binary(min_size=1, max_size=1).filter(lambda byte: byte != b"\n")))
        journal = open_journal(path)
        assert (journal.report.verdict, numbers(journal.report)) == (Verdict.TORN, [1, 2, 3])
        journal.close()
        assert open_journal(path).report.verdict is Verdict.CLEAN
