"""The state of a running trader: one state, one journal, two snapshots, one lock.

    with StateManager.open(logs_dir, session_id) as manager:    # lock, read, verify
        manager.loaded                                          # what was found on disk
        manager.begin(date, account, gateway, now)              # take it or set it aside; open the journal
        manager.record(event)                                   # apply, queue for the journal
        await manager.record_durably(event)                     # ... and return once it is on disk
        await manager.save()                                    # a snapshot, in a worker thread

The event loop waits for the disk only where it awaits durability (invariant 10).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Self

import msgspec

from state.domain.apply import new_state
from state.domain.events import Event, SessionStarted
from state.domain.model import TraderState
from state.domain.recording import Recorded, record
from state.errors import InvariantError, SnapshotFailedError, SyncFailedError
from state.storage.archive import set_aside
from state.storage.codec import decode_state, encode_state
from state.storage.disk import Disk
from state.storage.files import Folder
from state.storage.journal import Journal
from state.storage.journal.segment import SEGMENT_BYTES
from state.storage.layout import JOURNAL
from state.storage.loader import Loaded, load
from state.storage.lock import FolderLock
from state.storage.snapshot import BACKUP, MAIN, SnapshotStore

_log = logging.getLogger(__name__)


class Begun(msgspec.Struct):
    """Where this run's state comes from.

    previous: the state of another date, account or gateway, which was not applied. set_aside: where its files
    went. why: what did not match.
    """

    resumed: bool = False
    previous: TraderState | None = None
    set_aside: str = ""
    why: str = ""
    notes: list[str] = msgspec.field(default_factory=list)


class StateManager:
    """The only writer of a logs folder while it is open (invariant 14)."""

    segment_bytes: ClassVar[int] = SEGMENT_BYTES

    def __init__(self, folder: Folder, lock: FolderLock, session_id: str, loaded: Loaded) -> None:
        """Use `StateManager.open`."""
        self.folder = folder
        self.session_id = session_id
        self.loaded = loaded
        self.failure: SyncFailedError | None = None
        self.on_failure: Callable[[SyncFailedError], None] = _log_failure
        self.saves = 0
        self.encoding_s = 0.0  # how long the event loop was busy with the last snapshot
        self._main_sequence = self._backup_sequence = 0  # of the snapshots written by this run
        self.last_save_error = ""
        self._lock = lock
        self._store = SnapshotStore(folder)
        self._store.mark_main_valid(loaded.main_valid)
        self._journal: Journal | None = None
        self._journal_folder: Folder | None = None
        self._state: TraderState | None = None
        self._saving = asyncio.Lock()

    @classmethod
    def open(cls, logs_dir: Path, session_id: str, disk: Disk | None = None) -> Self:
        """Lock the folder, remove temp files, move damaged files to quarantine, and read what can be trusted.

        Raises:
            LockHeldError: another trader runs on this folder.
            StateError, DiskError: the folder cannot be used, or belongs to a newer version.
        """
        folder = Folder.open(logs_dir, disk=disk)
        try:
            lock = FolderLock.acquire(folder, session_id, datetime.now(UTC).isoformat())
        except BaseException:
            folder.close()
            raise
        try:
            folder.remove_leftovers()
            loaded = load(folder)
            for name, problem in loaded.damaged:
                kept = folder.quarantine(name, problem)
                loaded.notes.append(f"{name} is kept as quarantine/{kept}.")
        except BaseException:
            lock.release()
            folder.close()
            raise
        return cls(folder, lock, session_id, loaded)

    @property
    def state(self) -> TraderState:
        """The state as of the last recorded event."""
        if self._state is None:
            raise InvariantError("The state was asked for before `begin`.")
        return self._state

    @property
    def begun(self) -> bool:
        """Whether `begin` has been called."""
        return self._state is not None

    @property
    def durable_sequence(self) -> int:
        """The highest sequence known to be on disk."""
        return self._journal.durable_sequence if self._journal is not None else 0

    def begin(
        self,
        trading_date: str,
        account: str,
        gateway: str,
        now: datetime,
        *,
        client_id: int = 0,
        loop: asyncio.AbstractEventLoop | None = None,
        fresh: bool = False,
    ) -> Begun:
        """Apply what was loaded if it is of this date, account and gateway; else set it aside (invariant 8).

        now: the session's clock. client_id: of the API. fresh: set it aside in any case. Blocking; called before
        trading.
        """
        begun = Begun()
        found = self.loaded.state
        if found is not None:
            begun.why = mismatch(found, trading_date, account, gateway) or ("--fresh was given" if fresh else "")
            if begun.why:
                begun.previous = found
                begun.set_aside = self._set_aside(found)
                begun.notes.append(
                    f"The state on disk was not applied: {begun.why}. It is kept in {begun.set_aside}."
                )
                found = None
        begun.resumed = found is not None
        self._state = found if found is not None else new_state(trading_date, account, gateway)
        self._open_journal(trading_date, loop)
        self.record(
            SessionStarted(
                time=now,
                session_id=self.session_id,
                trading_date=trading_date,
                account=account,
                gateway=gateway,
                resumed_from=found.session_id if found is not None else "",
                client_id=client_id,
            )
        )
        if self.loaded.doubtful:
            self.save_blocking()  # a replay could not get past the missing events without this snapshot
        return begun

    def record(self, event: Event) -> int:
        """Apply an event and queue it for the journal; returns its sequence. Never waits.

        The event is encoded and decoded before it is applied, so that nothing enters the state that a replay
        could not give (invariant 9).

        Raises:
            SyncFailedError: the disk failed before; nothing may be recorded any more (invariant 11).
            InvariantError, BadContentError: the event could not be replayed.
        """
        self._refuse_after_failure()
        if self._journal is None:
            raise InvariantError(f"{event.kind()} was recorded before `begin`.")
        recorded = record(self.state, event)
        self.journal([recorded])
        return recorded.sequence

    def journal(self, recorded: Sequence[Recorded]) -> None:
        """Queue events that are part of the state already for the journal. Never waits. Raises as `record`."""
        for item in recorded:
            self._refuse_after_failure()
            if self._journal is None:
                raise InvariantError(f"{item.kind} was recorded before `begin`.")
            if self._journal.append(item.kind, item.data) != item.sequence:
                raise InvariantError(
                    f"The journal and the state disagree about the number of event {item.sequence}."
                )

    async def durable(self, sequence: int) -> None:
        """Return once everything up to `sequence` is on disk. Raises SyncFailedError if it never will be."""
        if self._journal is not None:
            await self._journal.wait_durable(sequence)

    async def record_durably(self, *events: Event) -> int:
        """Record events and return once all are on disk; an order is sent after that (invariant 1)."""
        sequence = self.state.sequence
        for event in events:
            sequence = self.record(event)
        await self.durable(sequence)
        return sequence

    async def save(self) -> bool:
        """Write a snapshot of this moment; False if it failed and a later one may succeed.

        Raises SyncFailedError if a flush failed: final.
        """
        async with self._saving:
            self._refuse_after_failure()
            sequence, began_s = self.state.sequence, time.perf_counter()
            data = encode_state(self.state, datetime.now(UTC))
            self.encoding_s = time.perf_counter() - began_s
            await self.durable(sequence)
            try:
                await asyncio.to_thread(self._store.write, data, _validate)
            except SnapshotFailedError as error:
                self.last_save_error = str(error)
                return False
            except SyncFailedError as error:
                self._fail(error)
                raise
            self._saved(sequence)
            return True

    def save_blocking(self) -> None:
        """A snapshot for programs without an event loop. Raises SnapshotFailedError, SyncFailedError."""
        self.flush()
        try:
            self._store.write(encode_state(self.state, datetime.now(UTC)), _validate)
        except SyncFailedError as error:
            self._fail(error)
            raise
        self._saved(self.state.sequence)

    def flush(self) -> None:
        """Return once everything recorded is on disk; for programs without an event loop. SyncFailedError."""
        self._refuse_after_failure()
        if self._journal is None:
            return
        try:
            self._journal.flush()
        except SyncFailedError as error:
            self._fail(error)
            raise

    def close(self) -> None:
        """End the threads and release the lock. Blocking."""
        if self._journal is not None:
            self._journal.close()
        if self._journal_folder is not None:
            self._journal_folder.close()
        self._lock.release()
        self.folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refuse_after_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    def drop_covered(self) -> None:
        """Remove, in the background, journal segments whose events both snapshots of this run hold.

        For a disk that runs full: the day's earlier history is lost, what a restart needs is not.
        """
        if self._journal is not None and self._backup_sequence:
            self._journal.drop_below(self._backup_sequence)

    def _saved(self, sequence: int) -> None:
        self.saves += 1
        self.last_save_error = ""
        self._backup_sequence, self._main_sequence = self._main_sequence, sequence

    def _set_aside(self, found: TraderState) -> str:
        label = f"{found.trading_date}-{found.account or 'no-account'}"
        names = [MAIN, BACKUP]
        kept = set_aside(self.folder, names, label)
        with self.folder.subfolder(JOURNAL) as journals:
            moved = set_aside(journals, [found.trading_date], label)
        self._store.mark_main_valid(valid=False)
        return kept or (f"{JOURNAL}/{moved}" if moved else "")

    def _open_journal(self, trading_date: str, loop: asyncio.AbstractEventLoop | None) -> None:
        with self.folder.subfolder(JOURNAL) as journals:
            self._journal_folder = journals.subfolder(trading_date)
            journals.sync()  # a killed run may have made these names without flushing them
            self.folder.sync()
        journal = Journal.open(
            self._journal_folder,
            snapshot_sequence=self.loaded.snapshot_sequence if self.loaded.state is self._state else 0,
            clock=_real_time,
            loop=loop,
            on_failure=self._fail,
            segment_bytes=self.segment_bytes,
        )
        self.loaded.notes += [
            f"A copy of the damaged part is quarantine/{name}." for name in journal.report.quarantined
        ]
        if journal.sequence != self.state.sequence:
            # The journal has events that could not be replayed. Their numbers are never used again.
            self.loaded.doubtful = True
            self.state.sequence = max(journal.sequence, self.state.sequence)
        self._journal = journal

    def _fail(self, error: SyncFailedError) -> None:
        if self.failure is None:
            self.failure = error
            self.on_failure(error)


def mismatch(found: TraderState, trading_date: str, account: str, gateway: str) -> str:
    """Why a state may not be applied, "" if it may."""
    if found.trading_date != trading_date:
        return f"it is of {found.trading_date}, and the trading date is {trading_date}"
    if found.account != account:
        return f"it is of account {found.account}, and this is account {account}"
    if found.gateway != gateway:
        return f"it is of the gateway {found.gateway}, and this is {gateway}"
    return ""


def _validate(data: bytes) -> None:
    """Raise if the loader would refuse these bytes."""
    decode_state(data)


def _real_time() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _log_failure(error: SyncFailedError) -> None:
    _log.critical("%s", error)
