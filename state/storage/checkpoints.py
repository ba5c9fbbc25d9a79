"""Kept copies of the state: `checkpoints/<session>/<saved at>-<sequence>.json`, written once and never changed.

A checkpoint is a state file like `trader_state.json`, so that the loader can use it and a person can read it. Its
`checkpoint` object holds the account's values, the strategy's parameters and counts. The number of failed writes is
kept in the next checkpoint that succeeds, so that there is no second file.
"""

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec

from state.domain.model import TraderState
from state.errors import CorruptFileError, DiskError, SnapshotFailedError, StateError, SyncFailedError
from state.storage.codec import decode_state, encode_state
from state.storage.files import Folder, existing_subfolder
from state.storage.layout import CHECKPOINTS

OVERDUE_INTERVALS = 5  # no checkpoint for so many intervals raises an alert
_NAME = re.compile(r"(\d{8}T\d{6}\.\d{3})Z-(\d{8,})\.json")
_STAMP = "%Y%m%dT%H%M%S.%f"

Values = Mapping[str, Any]  # what can be written as JSON, by name
_log = logging.getLogger("trader.checkpoints")


class CheckpointExtra(msgspec.Struct, kw_only=True):
    """What a checkpoint holds beside the state.

    account: portfolio_value, buying_power, cash and other account values, in US dollars. attempts, failures,
    write_s: writes of this session before this one: how many were tried, how many failed, the seconds of all.
    """

    account: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    active_positions: int = 0
    closed_trades: int = 0
    live_orders: int = 0
    attempts: int = 0
    failures: int = 0
    write_s: float = 0.0


class CheckpointInfo(msgspec.Struct, frozen=True):
    """What is known of a checkpoint from its name and size. saved_at: real time."""

    session_id: str
    name: str
    saved_at: datetime
    sequence: int
    bytes: int

    @property
    def path(self) -> str:
        """As the operator names it: session/file."""
        return f"{self.session_id}/{self.name}"


class CheckpointStats(msgspec.Struct, frozen=True):
    """Statistics of checkpoints. Times are real; success_rate is between 0 and 1, None where there is none."""

    number: int = 0
    first: datetime | None = None
    last: datetime | None = None
    span_s: float = 0.0
    mean_interval_s: float | None = None
    bytes: int = 0
    attempts: int = 0
    failures: int = 0
    success_rate: float | None = None
    mean_write_ms: float | None = None
    last_age_s: float | None = None


class _ExtraOnly(msgspec.Struct):
    checkpoint: CheckpointExtra | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """One that was read and verified."""

    info: CheckpointInfo
    state: TraderState
    extra: CheckpointExtra


class Prepared(msgspec.Struct, frozen=True):
    """A checkpoint as bytes, taken at one moment, still to be written. sequence: the last event that it holds."""

    data: bytes
    sequence: int
    saved_at: datetime


class StateSource(Protocol):
    """What `CheckpointStore.take` needs of the StateManager."""

    @property
    def state(self) -> TraderState: ...

    async def durable(self, sequence: int) -> None: ...


class CheckpointStore:
    """Writes one session's checkpoints and reads those of all. One writer; blocking except for `take`."""

    def __init__(self, folder: Folder, session_id: str = "") -> None:
        """folder: the logs folder, the caller's to close. session_id: under which `write` keeps them."""
        self._folder = folder
        self.session_id = session_id
        self.attempts = 0
        self.failures = 0
        self.write_s = 0.0

    async def take(
        self, manager: StateSource, account_values: Values, parameters: Values, saved_at: datetime
    ) -> str:
        """A checkpoint of this moment, for an event loop: encoded here, written in a thread; returns its name.

        It is written once the journal holds its events durably. SnapshotFailedError: this one was not written, go
        on. SyncFailedError: final.
        """
        prepared = self.prepare(manager.state, account_values, parameters, saved_at)
        await manager.durable(prepared.sequence)
        return await asyncio.to_thread(self.put, prepared)

    def write(self, state: TraderState, account_values: Values, parameters: Values, saved_at: datetime) -> str:
        """`prepare` and `put` in one, where nothing changes the state meanwhile; returns the name."""
        return self.put(self.prepare(state, account_values, parameters, saved_at))

    def prepare(
        self, state: TraderState, account_values: Values, parameters: Values, saved_at: datetime
    ) -> Prepared:
        """The checkpoint's bytes. saved_at: real time, aware. To be called in the thread that changes the state."""
        extra = CheckpointExtra(
            account=dict(account_values),
            parameters=dict(parameters),
            active_positions=len(state.positions),
            closed_trades=len(state.closed),
            live_orders=sum(order.is_live for order in state.orders.values()),
            attempts=self.attempts,
            failures=self.failures,
            write_s=round(self.write_s, 6),
        )
        return Prepared(encode_state(state, saved_at, extra), state.sequence, saved_at)

    def put(self, prepared: Prepared) -> str:
        """Write a prepared checkpoint under a new name and return the name.

        Raises:
            SnapshotFailedError: it was not written and nothing has changed; counted as a failure.
            SyncFailedError: a flush failed: final.
            StateError: the bytes would not load again; nothing was written.
        """
        self.attempts += 1
        started_s = time.perf_counter()
        try:
            decode_state(prepared.data)
            return self._put(prepared)
        except SyncFailedError:
            self.failures += 1
            raise
        except DiskError as error:
            self.failures += 1
            raise SnapshotFailedError(error.operation, error.path, error.cause) from error
        except StateError:
            self.failures += 1
            raise
        finally:
            self.write_s += time.perf_counter() - started_s

    def _put(self, prepared: Prepared) -> str:
        with self._folder.subfolder(CHECKPOINTS) as root, root.subfolder(self.session_id) as folder:
            saved_at = prepared.saved_at
            while folder.exists(name := checkpoint_name(saved_at, prepared.sequence)):
                saved_at += timedelta(milliseconds=1)  # never the name of an existing checkpoint
            folder.write_new(name, prepared.data)
        return name

    def list(self, session_id: str = "") -> "CheckpointInfos":
        """Every checkpoint, or those of one session, oldest first. Reads names and sizes only."""
        root = existing_subfolder(self._folder, CHECKPOINTS)
        if root is None:
            return []
        found: CheckpointInfos = []
        with root:
            for session in root.names():
                if session_id in ("", session) and (folder := _session_folder(root, session)) is not None:
                    with folder:
                        found += _infos(folder, session)
        return sorted(found, key=lambda info: (info.saved_at, info.sequence))

    def read(self, info: CheckpointInfo) -> Checkpoint:
        """One checkpoint, verified. CorruptFileError if it is damaged or gone; NewerSchemaError."""
        path = self._folder.path / CHECKPOINTS / info.session_id / info.name
        with (
            self._folder.subfolder(CHECKPOINTS, create=False) as root,
            root.subfolder(info.session_id, create=False) as folder,
        ):
            data = folder.read_file(info.name)
        if data is None:
            raise CorruptFileError(path, "it does not exist any more", "List them again: `checkpoints list`.")
        state, _ = decode_state(data)
        try:
            extra = msgspec.json.decode(data, type=_ExtraOnly).checkpoint
        except msgspec.ValidationError as error:
            raise CorruptFileError(path, f"its checkpoint object is invalid: {error}") from error
        return Checkpoint(info, state, extra or CheckpointExtra())

    def newest(self, session_id: str) -> Checkpoint | None:
        """The last readable checkpoint of a session."""
        for info in reversed(self.list(session_id)):
            found = self._read_or_warn(info)
            if found is not None:
                return found
        return None

    def find(self, name: str) -> CheckpointInfo | None:
        """The checkpoint that the operator means: session/file, file, a session (its last one) or `latest`."""
        infos = self.list()
        if name == "latest":
            return infos[-1] if infos else None
        wanted = name.removesuffix(".json")
        exact = [i for i in infos if wanted in (i.path.removesuffix(".json"), i.name.removesuffix(".json"))]
        return next(reversed(exact or [i for i in infos if i.session_id == name]), None)

    def stats(self, session_id: str = "", now: datetime | None = None) -> CheckpointStats:
        """Statistics of all checkpoints or one session's. now: real time, for the age of the last one."""
        infos = self.list(session_id)
        lasts = {info.session_id: info for info in infos}.values()
        extras = [found.extra for info in lasts if (found := self._read_or_warn(info)) is not None]
        return stats_of(infos, extras, now or datetime.now(UTC))

    def _read_or_warn(self, info: CheckpointInfo) -> Checkpoint | None:
        try:
            return self.read(info)
        except (StateError, DiskError) as error:
            _log.warning("%s", error)
            return None

    def prune(
        self, keep: int, max_age_h: float, active_sessions: Collection[str], now: datetime
    ) -> "CheckpointInfos":
        """Remove those beyond the newest `keep` or older than `max_age_h` hours; returns what was removed.

        Those of active sessions stay, and so does the newest of all, which the loader may need. now: real time.
        DiskError.
        """
        infos = self.list()
        newest = infos[-1:]
        finished = [info for info in infos if info.session_id not in active_sessions]
        oldest = now - timedelta(hours=max_age_h)
        beyond = finished[: max(0, len(finished) - keep)]
        gone = [i for i in finished if (i in beyond or i.saved_at < oldest) and i not in newest]
        by_session: dict[str, CheckpointInfos] = {}
        for info in gone:
            by_session.setdefault(info.session_id, []).append(info)
        for session_id, removed in by_session.items():
            self._remove(session_id, removed)
        return gone

    def _remove(self, session_id: str, infos: "CheckpointInfos") -> None:
        with self._folder.subfolder(CHECKPOINTS, create=False) as root:
            with root.subfolder(session_id, create=False) as folder:
                for info in infos:
                    folder.discard(info.name)
                folder.sync()
                empty = not folder.names()
            if empty:
                with contextlib.suppress(OSError):  # a file came meanwhile: then the folder stays
                    os.rmdir(session_id, dir_fd=root.fd)


CheckpointInfos = list[CheckpointInfo]


def _session_folder(root: Folder, session: str) -> Folder | None:
    """The folder of a session; None, and a warning, for anything that cannot be opened as a folder."""
    try:
        return root.subfolder(session, create=False)
    except (DiskError, StateError) as error:
        _log.warning("%s", error)
        return None


def _infos(folder: Folder, session: str) -> CheckpointInfos:
    found = []
    for name in folder.names():
        with contextlib.suppress(FileNotFoundError):  # pruned since the listing
            size = os.stat(name, dir_fd=folder.fd, follow_symlinks=False).st_size
            info = read_name(session, name, size)
            if info is not None:
                found.append(info)
    return found


def checkpoint_name(saved_at: datetime, sequence: int) -> str:
    """The file name: `20251006T134430.123Z-00000042.json`. saved_at: real time, aware."""
    stamp = saved_at.astimezone(UTC).strftime(_STAMP)[:-3]
    return f"{stamp}Z-{sequence:08d}.json"


def read_name(session_id: str, name: str, size_bytes: int) -> CheckpointInfo | None:
    """The checkpoint of a file name, None if it is not a checkpoint's name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        saved_at = datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
    except ValueError:  # digits, but not a time
        return None
    return CheckpointInfo(session_id, name, saved_at, int(match[2]), size_bytes)


def stats_of(
    infos: Sequence[CheckpointInfo], last_extras: Iterable[CheckpointExtra], now: datetime
) -> CheckpointStats:
    """Statistics of checkpoints, oldest first. last_extras: of each session's last one, which has its counts."""
    if not infos:
        return CheckpointStats()
    attempts = failures = timed = 0
    write_s = 0.0
    for extra in last_extras:
        attempts += extra.attempts + 1
        failures += extra.failures
        timed += extra.attempts
        write_s += extra.write_s
    span_s = (infos[-1].saved_at - infos[0].saved_at).total_seconds()
    return CheckpointStats(
        number=len(infos),
        first=infos[0].saved_at,
        last=infos[-1].saved_at,
        span_s=span_s,
        mean_interval_s=span_s / (len(infos) - 1) if len(infos) > 1 else None,
        bytes=sum(info.bytes for info in infos),
        attempts=attempts,
        failures=failures,
        success_rate=(attempts - failures) / attempts if attempts else None,
        mean_write_ms=1000 * write_s / timed if timed else None,
        last_age_s=(now - infos[-1].saved_at).total_seconds(),
    )


def overdue(last: datetime, interval_s: float, now: datetime) -> str:
    """A sentence if there was no checkpoint for five intervals, else "". Times are real."""
    age_s = (now - last).total_seconds()
    if age_s <= OVERDUE_INTERVALS * interval_s:
        return ""
    return f"No checkpoint for {age_s:.0f} s; one is due every {interval_s:g} s. Look at the log and at the disk."
