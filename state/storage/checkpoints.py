"""Kept copies of the state: `checkpoints/<session>/<saved at>-<sequence>.json`, written once and never changed.

A checkpoint is a state file like `trader_state.json`, so that the loader can fall back on it and a person can
read it, with a `checkpoint` object beside the state: the account's values, the strategy's parameters, counts.
How often writing failed is carried by the next one that succeeds: no second file can disagree with the first.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec

from state.domain.model import TraderState
from state.errors import CorruptFileError, DiskError, SnapshotFailedError, StateError, SyncFailedError
from state.storage.checkpoint_info import (
    CheckpointExtra,
    CheckpointInfo,
    CheckpointStats,
    checkpoint_name,
    overdue,
    read_name,
    stats_of,
)
from state.storage.codec import decode_state, encode_state
from state.storage.files import Folder
from state.storage.loader import CHECKPOINTS
from state.storage.lookup import existing_subfolder

__all__ = ["Checkpoint", "CheckpointExtra", "CheckpointInfo", "CheckpointStats", "CheckpointStore", "overdue"]

Values = Mapping[str, Any]  # what can be written as JSON, by name
_log = logging.getLogger("trader.checkpoints")


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


class Memory(Protocol):
    """What `CheckpointStore.take` needs of the StateManager."""

    @property
    def state(self) -> TraderState: ...

    async def durable(self, sequence: int) -> None: ...


class CheckpointStore:
    """Writes one session's checkpoints, and looks at those of all. One writer; blocking but for `take`."""

    def __init__(self, folder: Folder, session_id: str = "") -> None:
        """folder: the logs folder, the caller's to close. session_id: under which `write` keeps them."""
        self._folder = folder
        self.session_id = session_id
        self.attempts = 0
        self.failures = 0
        self.write_s = 0.0

    async def take(self, manager: Memory, account_values: Values, parameters: Values, saved_at: datetime) -> str:
        """A checkpoint of this moment, for an event loop: encoded here, written in a thread; returns its name.

        It never holds an event that the journal may still lose. SnapshotFailedError: this one was not written,
        go on. SyncFailedError: final.
        """
        prepared = self.prepare(manager.state, account_values, parameters, saved_at)
        await manager.durable(prepared.sequence)
        return await asyncio.to_thread(self.put, prepared)

    def write(self, state: TraderState, account_values: Values, parameters: Values, saved_at: datetime) -> str:
        """`prepare` and `put` in one, where nobody changes the state meanwhile; returns the name."""
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
            SnapshotFailedError: it was not written, everything is as before; counted as a failure.
            SyncFailedError: a flush failed: final.
            StateError: what was prepared would not load again; nothing was written.
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
                saved_at += timedelta(milliseconds=1)  # immutable: never the name of one that is there
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
            raise CorruptFileError(path, "it is not there any more", "List them again: `checkpoints list`.")
        state, _ = decode_state(data)
        try:
            extra = msgspec.json.decode(data, type=_ExtraOnly).checkpoint
        except msgspec.ValidationError as error:
            raise CorruptFileError(path, f"its checkpoint object is not one: {error}") from error
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
        """Numbers over all checkpoints or one session's. now: real time, for the age of the last (default: now)."""
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
        """Remove what is beyond the newest `keep` or older than `max_age_h` hours; returns what was removed.

        Of active sessions nothing is removed, and the newest of all always stays: it is the loader's last resort.
        now: real time. DiskError.
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
    """The folder of a session; None, and a warning, for what is none of ours."""
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
