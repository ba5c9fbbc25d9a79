"""Loading the state from disk: the snapshots, the journal, the checkpoints. Writes nothing.

The valid snapshot with the highest sequence is used, and the journal's later events are applied to it by the
function that applied them live. Checkpoints are used if neither snapshot is valid. The notes say which files were
not used and why. Read-only commands use this too, also beside a running trader.
"""

from datetime import datetime
from pathlib import Path

import msgspec

from state.domain.apply import new_state
from state.domain.events import SessionStarted
from state.domain.model import TraderState, is_date
from state.errors import CorruptFileError, DiskError, StateError
from state.storage.codec import NewerSchemaError, decode_event, decode_state, replay_event
from state.storage.files import Folder
from state.storage.journal import JournalReport, Verdict, read_journal
from state.storage.layout import CHECKPOINTS, JOURNAL
from state.storage.snapshot import BACKUP, MAIN


class Generation(msgspec.Struct):
    """One snapshot file as found: the state it holds, or what is wrong with it."""

    name: str
    state: TraderState | None = None
    saved_at: datetime | None = None
    problem: str = ""
    present: bool = True


class Loaded(msgspec.Struct):
    """What was found on disk. `state` is None where there was nothing, or nothing valid."""

    state: TraderState | None = None
    source: str = "nothing"  # main, backup, a checkpoint's name, journal
    saved_at: datetime | None = None
    replayed: int = 0  # events applied on top of the snapshot
    snapshot_sequence: int = 0
    main_valid: bool = False
    journal: JournalReport | None = None
    notes: list[str] = msgspec.field(default_factory=list)
    damaged: list[tuple[str, str]] = msgspec.field(default_factory=list)  # (file, problem), for quarantine
    doubtful: bool = False  # events may be missing; IBKR's records replace them

    @property
    def found_anything(self) -> bool:
        """Whether there were any files: a start with damaged ones only is not a clean start."""
        return self.state is not None or bool(self.damaged) or self.doubtful


def load(folder: Folder) -> Loaded:
    """Read the newest trustworthy state of the folder.

    Raises:
        NewerSchemaError: a file of a newer version; it is left alone.
        DiskError: the folder cannot be read.
    """
    loaded = Loaded()
    generations = [_read_generation(folder, MAIN), _read_generation(folder, BACKUP)]
    loaded.main_valid = generations[0].state is not None
    for generation in generations:
        if generation.problem:
            loaded.damaged.append((generation.name, generation.problem))
            loaded.notes.append(f"{generation.name} was not used. {generation.problem}")
    best = max((g for g in generations if g.state is not None), key=_rank, default=None)
    if best is None and any(g.present for g in generations):
        best = _newest_checkpoint(folder)
    if best is not None and best.state is not None:
        loaded.state, loaded.source, loaded.saved_at = best.state, best.name, best.saved_at
        loaded.snapshot_sequence = best.state.sequence
        _note_older_main(loaded, generations, best)
        _replay_journal(folder.path, loaded)
    else:
        _journal_alone(folder.path, loaded)
    return loaded


def journal_dates(logs_dir: Path) -> list[str]:
    """The trading dates that have a journal, oldest first."""
    root = logs_dir / JOURNAL
    if not root.is_dir() or root.is_symlink():
        return []
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and is_date(entry.name))


def _read_generation(folder: Folder, name: str) -> Generation:
    try:
        data = folder.read_file(name)
        if data is None:
            return Generation(name, present=False)
        state, saved_at = decode_state(data)
    except NewerSchemaError:
        raise
    except (CorruptFileError, StateError) as error:
        return Generation(name, problem=error.what)
    return Generation(name, state, saved_at)


def _note_older_main(loaded: Loaded, generations: list[Generation], best: Generation) -> None:
    for other in generations:
        if other.state is None or other is best or best.state is None:
            continue
        if other.name == MAIN:
            loaded.notes.append(
                f"{best.name} holds event {best.state.sequence} and {MAIN} only {other.state.sequence}: "
                f"the newer one was used."
            )


def _newest_checkpoint(folder: Folder) -> Generation | None:
    """The valid checkpoint with the highest sequence of the newest date, over all sessions.

    None if there is a journal of a later date, which is then used alone. A checkpoint from before the day's journal
    began anew (`--fresh`, another account) does not belong to it and is skipped.
    """
    root = folder.path / CHECKPOINTS
    if not root.is_dir() or root.is_symlink():
        return None
    newest = max(journal_dates(folder.path), default="")
    began = _sessions_of(folder.path, newest)
    best: Generation | None = None
    for path in sorted(root.glob("*/*.json"), reverse=True):
        try:
            with Folder.open(path.parent, create=False) as session_folder:
                found = _read_generation(session_folder, path.name)
        except (DiskError, StateError):
            continue  # unreadable; an earlier one may do
        if found.state is None or found.state.trading_date < newest or (best and _rank(found) <= _rank(best)):
            continue
        if began is None or found.state.trading_date > newest or found.state.session_id in began:
            best = Generation(f"{CHECKPOINTS}/{path.parent.name}/{path.name}", found.state, found.saved_at)
    return best


def _sessions_of(logs_dir: Path, trading_date: str) -> set[str] | None:
    """The sessions that began in a date's journal; None where it is not complete."""
    report = read_journal(logs_dir / JOURNAL / trading_date) if trading_date else None
    if report is None or report.verdict == Verdict.CORRUPT or not _begins_at_the_first_event(report):
        return None
    starts = [record for record in report.records if record.type == SessionStarted.kind()]
    try:
        events = [decode_event(record.type, record.data) for record in starts]
    except StateError:
        return None
    return {event.session_id for event in events if isinstance(event, SessionStarted)}


def _begins_at_the_first_event(report: JournalReport) -> bool:
    return bool(report.records) and (report.records[0].sequence, report.records[0].type) == (
        1,
        SessionStarted.kind(),
    )


def _rank(generation: Generation) -> tuple[str, int]:
    """The order of generations: by date first, as sequences begin at 1 on each trading date."""
    state = generation.state
    return (state.trading_date, state.sequence) if state is not None else ("", -1)


def _replay_journal(logs_dir: Path, loaded: Loaded) -> None:
    """Apply the journal's events that come after the snapshot."""
    state = loaded.state
    if state is None:
        return
    report = read_journal(logs_dir / JOURNAL / state.trading_date, state.sequence)
    loaded.journal = report
    _note_verdict(loaded, report)
    if report.verdict == Verdict.EMPTY:
        loaded.notes.append(
            f"The snapshot holds event {state.sequence}, but the journal is empty: "
            f"what happened after the snapshot is not known."
        )
        loaded.doubtful = True
    _apply_records(loaded, report, state)


def _apply_records(loaded: Loaded, report: JournalReport, state: TraderState) -> None:
    for record in report.records:
        if record.sequence <= state.sequence:
            continue
        try:
            replay_event(state, record.type, record.data, record.sequence)
        except StateError as error:
            loaded.notes.append(f"The journal could not be followed beyond event {state.sequence}. {error.what}")
            loaded.doubtful = True
            return
        loaded.replayed += 1


def _journal_alone(logs_dir: Path, loaded: Loaded) -> None:
    """Without a snapshot: rebuild the state from the newest journal, if it has its first event."""
    dates = journal_dates(logs_dir)
    if not dates:
        return
    report = read_journal(logs_dir / JOURNAL / dates[-1])
    loaded.journal = report
    _note_verdict(loaded, report)
    if not report.records:
        return
    first = report.records[0]
    if not _begins_at_the_first_event(report):
        loaded.notes.append(f"The journal of {dates[-1]} does not reach back to its first event.")
        loaded.doubtful = True
        return
    try:
        start = decode_event(first.type, first.data)
    except StateError as error:
        loaded.notes.append(error.what)
        loaded.doubtful = True
        return
    if not isinstance(start, SessionStarted):
        return
    state = new_state(start.trading_date, start.account, start.gateway)
    _apply_records(loaded, report, state)
    loaded.state, loaded.source = state, JOURNAL


def _note_verdict(loaded: Loaded, report: JournalReport) -> None:
    if report.verdict == "corrupt":
        loaded.doubtful = True
        loaded.notes.append(f"The journal is damaged. {report.detail}")
    elif report.verdict == "torn":
        loaded.notes.append(f"The journal's last write was cut short by the crash. {report.detail}")
