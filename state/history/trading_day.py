"""One trading date from the logs folder: its decoded journal, its last state, its state at any moment.

Only reads. Works beside a running trader.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from state.domain.events import SessionStarted
from state.domain.model import TraderState
from state.errors import StateError
from state.history.trades import Entry, Past, decode, rebuild, sequence_at
from state.storage.checkpoints import CheckpointStore
from state.storage.files import Folder
from state.storage.journal import Verdict, read_journal
from state.storage.layout import JOURNAL
from state.storage.loader import load


@dataclass(frozen=True, slots=True)
class TradingDay:
    """A date's events. verdict, detail: of the journal; problems: a sentence for each unreadable event."""

    trading_date: str
    entries: list[Entry]
    verdict: Verdict
    detail: str
    problems: list[str]
    last_sequence: int

    @property
    def broken(self) -> bool:
        """Whether the journal is damaged, so that events may be missing."""
        return self.verdict is Verdict.CORRUPT or bool(self.problems)

    @property
    def session_ids(self) -> list[str]:
        """The sessions that wrote it, in their order."""
        return [e.event.session_id for e in self.entries if isinstance(e.event, SessionStarted)]


def read_trading_day(folder: Folder, trading_date: str) -> TradingDay:
    """The journal of a date, which may be empty. folder: the logs folder. DiskError, CorruptFileError."""
    report = read_journal(folder.path / JOURNAL / trading_date)
    entries, problems = decode(report.records)
    return TradingDay(trading_date, entries, report.verdict, report.detail, problems, report.last_sequence)


def state_at(folder: Folder, day: TradingDay, moment: datetime) -> Past:
    """The state at a moment (aware, the session's clock). StateError where it is not known."""
    return _rebuilt(folder, day, sequence_at(day.entries, moment))


def last_state(folder: Folder, day: TradingDay) -> Past | None:
    """The date's last known state, None where no file of it is kept.

    StateError where the journal is damaged and no checkpoint is later than the damage.
    """
    loaded = load(folder)
    if loaded.state is not None and loaded.state.trading_date == day.trading_date:
        return Past(loaded.state, loaded.source)
    return _rebuilt(folder, day, day.entries[-1].sequence) if day.entries else None


def _rebuilt(folder: Folder, day: TradingDay, target: int) -> Past:
    return rebuild(day.entries, target, _checkpoints(folder, day, target))


def _checkpoints(folder: Folder, day: TradingDay, target: int) -> Iterator[tuple[str, TraderState]]:
    """Those of the date's sessions up to event `target`, the nearest first. Each is read when it is asked for."""
    store = CheckpointStore(folder)
    sessions = set(day.session_ids)
    usable = [info for info in store.list() if info.session_id in sessions and info.sequence <= target]
    for info in sorted(usable, key=lambda info: info.sequence, reverse=True):
        try:
            checkpoint = store.read(info)
        except StateError:
            continue  # damaged; the one before it and more events give the same state
        if checkpoint.state.trading_date == day.trading_date:
            yield f"checkpoint {info.path}", checkpoint.state
