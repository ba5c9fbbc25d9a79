"""Opening after a crash or damage: torn tails are blanked, and damage is always reported."""

from pathlib import Path

import pytest
from disk_faults import PowerCut, TearingDisk
from journal_cases import damage, numbers, open_journal, payload, segment, used_bytes, write_each

from state.errors import CorruptFileError
from state.storage.journal import Verdict, read_journal


def tear_group(path: Path, group: list[int], survives: range | None = None) -> None:
    """Append a group whose write is cut: of its bytes only those in `survives` reach the disk."""
    disk = TearingDisk()
    journal = open_journal(path, disk=disk)
    for number in group:
        journal.append("test", payload(number))
    disk.survives = (lambda at: at in survives) if survives is not None else (lambda _: False)
    with pytest.raises(PowerCut):
        journal.flush()


def record_bytes(path: Path) -> int:
    """The length of one record of these tests."""
    lines = segment(path).read_bytes().rstrip(b"\n").split(b"\n")
    return len(lines[-1]) + 1


def test_first_start_has_an_empty_journal(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "absent").verdict is Verdict.EMPTY
    journal = open_journal(tmp_path)
    assert (journal.report.verdict, journal.report.records, journal.sequence) == (Verdict.EMPTY, [], 0)
    journal.close()
    assert open_journal(tmp_path).report.verdict is Verdict.CLEAN


def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 3)
    write_each(tmp_path, 4, 5)
    report = open_journal(tmp_path).report
    assert (report.verdict, numbers(report), report.last_sequence) == (Verdict.CLEAN, [1, 2, 3, 4, 5], 5)
    assert [record.sequence for record in report.records] == [1, 2, 3, 4, 5]
    assert [record.durable for record in report.records] == [0, 1, 2, 3, 4]
    assert len({record.run for record in report.records}) == 2


def test_torn_tail_is_blanked_and_kept_in_quarantine(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 2)
    tear_group(tmp_path, [3, 4], range(40))
    before = used_bytes(segment(tmp_path))
    journal = open_journal(tmp_path)
    assert (journal.report.verdict, numbers(journal.report)) == (Verdict.TORN, [1, 2])
    (kept,) = journal.report.quarantined
    assert (tmp_path / "quarantine" / kept).read_bytes().startswith(b'{"crc":')
    assert used_bytes(segment(tmp_path)) == before - 41  # the tail and the newline that ended it
    journal.append_durable_blocking("test", payload(5))
    journal.close()
    report = read_journal(tmp_path / "journal")
    assert (report.verdict, numbers(report), report.last_sequence) == (Verdict.CLEAN, [1, 2, 5], 3)


def test_reading_changes_nothing(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 2)
    tear_group(tmp_path, [3], range(40))
    before = segment(tmp_path).read_bytes()
    report = read_journal(tmp_path / "journal")
    assert (report.verdict, report.quarantined) == (Verdict.TORN, [])
    assert segment(tmp_path).read_bytes() == before
    assert not (tmp_path / "quarantine").exists()


def rewrite_the_lost_record(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Group [2, 3] loses its first record; 2 is written again, the same to the byte. Returns what is read then."""
    monkeypatch.setattr("state.storage.journal.journal.secrets.token_hex", lambda _: "samerun0")
    write_each(path, 1, 1)
    size = record_bytes(path)
    tear_group(path, [2, 3], range(size, 2 * size))
    journal = open_journal(path)
    journal.append_durable_blocking("test", payload(2))
    journal.close()
    return numbers(read_journal(path / "journal"))


def test_stale_records_do_not_come_back_after_a_torn_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rewrite_the_lost_record(tmp_path, monkeypatch) == [1, 2]


def test_without_blanking_a_stale_record_would_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.storage.journal.journal.make_durable", lambda *_: None)
    assert rewrite_the_lost_record(tmp_path, monkeypatch) == [1, 2, 3]  # so the test above can fail


def test_torn_first_line_of_a_new_segment(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 5, size_bytes=1024)
    disk = TearingDisk()
    journal = open_journal(tmp_path, disk=disk)
    while journal._room > record_bytes(tmp_path):
        journal.append_durable_blocking("test", payload(6))
    before = numbers(read_journal(tmp_path / "journal"))
    journal.append("test", payload(8))
    disk.survives = lambda at: at < 30
    with pytest.raises(PowerCut):
        journal.flush()
    journal = open_journal(tmp_path, size_bytes=1024)
    assert (journal.report.verdict, numbers(journal.report)) == (Verdict.TORN, before)
    journal.append_durable_blocking("test", payload(7))
    journal.close()
    report = read_journal(tmp_path / "journal")
    assert (report.verdict, numbers(report)) == (Verdict.CLEAN, [*before, 7])


def test_a_changed_byte_in_the_middle_is_corruption(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 6)
    before = bytearray(segment(tmp_path).read_bytes())
    at = before.index(b'"00003"')
    damage(segment(tmp_path), at + 1, b"9")
    damaged = segment(tmp_path).read_bytes()
    journal = open_journal(tmp_path)
    report = journal.report
    assert (report.verdict, numbers(report), report.last_sequence) == (Verdict.CORRUPT, [1, 2], 6)
    assert "damaged after sequence 2" in report.detail
    assert segment(tmp_path).read_bytes() == damaged
    assert (tmp_path / "quarantine" / report.quarantined[0]).read_bytes() == damaged


def test_corruption_is_reported_until_a_snapshot_is_past_it_and_writing_goes_on(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 6)
    damage(segment(tmp_path), segment(tmp_path).read_bytes().index(b'"00003"') + 1, b"9")
    journal = open_journal(tmp_path)
    assert journal.append_durable_blocking("test", payload(7)) == 7
    journal.close()
    again = open_journal(tmp_path)
    assert (again.report.verdict, numbers(again.report)) == (Verdict.CORRUPT, [1, 2, 7])
    assert "earlier start" in again.report.detail
    assert again.report.quarantined == []
    assert again.append_durable_blocking("test", payload(8)) == 8
    again.close()
    assert read_journal(tmp_path / "journal").verdict is Verdict.CORRUPT
    assert read_journal(tmp_path / "journal", snapshot_sequence=7).verdict is Verdict.CLEAN
    past = open_journal(tmp_path, snapshot=7)
    assert (past.report.verdict, numbers(past.report)[-2:]) == (Verdict.CLEAN, [7, 8])
    assert past.sequence == 8


def test_snapshot_beyond_the_journal_is_corruption(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 3)
    journal = open_journal(tmp_path, snapshot=5)
    assert (journal.report.verdict, journal.report.last_sequence) == (Verdict.CORRUPT, 5)
    assert "snapshot holds sequence 5" in journal.report.detail
    assert journal.append_durable_blocking("test", payload(6)) == 6
    journal.close()
    assert open_journal(tmp_path, snapshot=5).report.verdict is Verdict.CLEAN


def test_a_journal_beside_a_snapshot_alone_begins_one_above_it(tmp_path: Path) -> None:
    journal = open_journal(tmp_path, snapshot=41)
    assert journal.report.verdict is Verdict.EMPTY
    assert "41" in journal.report.detail
    assert journal.append_durable_blocking("test", payload(1)) == 42
    journal.close()
    assert open_journal(tmp_path, snapshot=41).report.verdict is Verdict.CLEAN


def test_segment_missing_in_the_middle_is_corruption(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 20, size_bytes=1024)
    segment(tmp_path, 2).unlink()
    report = open_journal(tmp_path).report
    assert report.verdict is Verdict.CORRUPT
    assert numbers(report) == list(range(1, report.records[-1].sequence + 1))
    assert report.last_sequence == 20


def test_removed_segments_that_no_snapshot_holds_are_corruption(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 20, size_bytes=1024)
    segment(tmp_path, 1).unlink()
    first = read_journal(tmp_path / "journal").records[0].sequence
    assert open_journal(tmp_path, snapshot=first - 1).report.verdict is Verdict.CLEAN
    assert open_journal(tmp_path, snapshot=first - 2).report.verdict is Verdict.CORRUPT


def test_torn_tail_before_a_later_segment_is_corruption(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 20, size_bytes=1024)
    damage(segment(tmp_path, 1), used_bytes(segment(tmp_path, 1)) - 5)
    report = open_journal(tmp_path).report
    assert report.verdict is Verdict.CORRUPT
    assert "later segment" in report.detail
    assert report.last_sequence == 20


def test_truncated_segment_is_corruption(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 3)
    content = segment(tmp_path).read_bytes()
    segment(tmp_path).write_bytes(content[: used_bytes(segment(tmp_path))])
    report = open_journal(tmp_path).report
    assert (report.verdict, numbers(report)) == (Verdict.CORRUPT, [1, 2, 3])
    assert "was made with 4096" in report.detail


def test_first_segment_without_a_valid_first_line_is_corruption(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 3)
    content = segment(tmp_path).read_bytes()
    segment(tmp_path).write_bytes(b"\n" * len(content))
    assert read_journal(tmp_path / "journal").verdict is Verdict.CORRUPT
    segment(tmp_path).write_bytes(b"x" + content[1:])
    assert read_journal(tmp_path / "journal").verdict is Verdict.CORRUPT
    journal = open_journal(tmp_path)
    assert journal.report.last_sequence == 3
    assert journal.append_durable_blocking("test", payload(4)) == 4


def test_symlinked_segment_is_not_followed(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 3)
    segment(tmp_path).rename(tmp_path / "elsewhere")
    segment(tmp_path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptFileError, match="symbolic link"):
        open_journal(tmp_path)


def test_records_that_only_the_page_cache_may_hold_are_written_again(tmp_path: Path) -> None:
    write_each(tmp_path, 1, 3)
    journal = open_journal(tmp_path)
    for number in (4, 5, 6):
        journal.append("test", payload(number))
    journal.flush()
    journal.close()

    class Watching(TearingDisk):
        written: list[bytes] = []  # noqa: RUF012 - one instance, one test

        def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
            self.written.append(bytes(data))
            return super().pwrite(fd, data, offset)

    disk = Watching()
    open_journal(tmp_path, disk=disk)
    assert [line.count(b"\n") for line in disk.written] == [3]
    assert b'"sequence":4' in disk.written[0]
