"""The runs of the trader: one readable file each in `sessions/`, from active to completed or crashed.

A session is active while its process runs. One that is still active when the next run holds the lock has crashed
and is marked so. Files are replaced whole and never deleted. A damaged one is logged and skipped, since nothing is
decided by it.
"""

import logging
import re
import secrets
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from state.domain.model import Timestamp
from state.errors import CorruptFileError, DiskError, StateError
from state.storage.checkpoints import CheckpointStore
from state.storage.files import Folder, existing_subfolder
from state.storage.layout import CHECKPOINTS, SESSIONS

SessionStatus = Literal["active", "completed", "crashed"]
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_log = logging.getLogger("trader.sessions")


class Session(msgspec.Struct, kw_only=True):
    """One run. Times are real (not the session's clock), values in US dollars.

    initial_value, final_value: portfolio value in the first and last account answer, None if there was none.
    pnl: realized by the day's trades up to its end; pnl_pct: of initial_value. Of a crashed run, ended_at is the
    last write that its files show, and the results are those of its last checkpoint.
    """

    session_id: str
    status: SessionStatus = "active"
    started_at: Timestamp
    ended_at: Timestamp | None = None
    trading_date: str = ""
    account: str = ""
    gateway: str = ""
    pid: int = 0
    symbols: list[str] = []
    initial_value: float | None = None
    final_value: float | None = None
    pnl: float = 0.0
    pnl_pct: float = 0.0
    trades: int = 0
    parameters: dict[str, Any] = {}
    resumed_from: str = ""
    reason: str = ""


Sessions = list[Session]
Damaged = list[tuple[str, str]]  # (file name, what is wrong with it)
_decode = msgspec.json.Decoder(Session).decode


def make_session_id(now: datetime) -> str:
    """A readable id that sorts by time: `20251006-094400-1f2e`. now: real time, aware."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class SessionStore:
    """Reads and writes `sessions/` of a logs folder. Blocking; writers hold the folder's lock."""

    def __init__(self, folder: Folder) -> None:
        """folder: the logs folder, which stays the caller's to close."""
        self._folder = folder

    def start(self, session: Session) -> None:
        """Keep a new session. StateError if its id was used before; DiskError, SyncFailedError."""
        with self._folder.subfolder(SESSIONS) as folder:
            if folder.exists(_file_name(session.session_id)):
                raise StateError(
                    f"The session {session.session_id} exists already.", "Start again: a new id will be made."
                )
            folder.write_new(_file_name(session.session_id), _encode(session))

    def update(self, session: Session) -> None:
        """Replace what is kept of a session. DiskError, SyncFailedError."""
        with self._folder.subfolder(SESSIONS) as folder:
            folder.write_new(_file_name(session.session_id), _encode(session))

    def finish(
        self,
        session_id: str,
        status: Literal["completed", "crashed"],
        ended_at: datetime,
        final_value: float | None,
        pnl: float,
        trades: int,
        reason: str,
    ) -> Session:
        """End a session with its results. StateError if there is no readable session of that id."""
        session = self.get(session_id)
        if session is None:
            raise StateError(
                f"The session {session_id} is not in {self._folder.path / SESSIONS}, or its file is damaged.",
                "The journal holds its trades. Look at the file.",
            )
        session.status, session.ended_at, session.reason = status, ended_at, reason
        session.pnl, session.trades = pnl, trades
        if final_value is not None:
            session.final_value = final_value
        session.pnl_pct = 100 * pnl / session.initial_value if session.initial_value else 0.0
        self.update(session)
        return session

    def active(self) -> Sessions:
        """Sessions without a recorded end, oldest first."""
        return [session for session in self.list() if session.status == "active"]

    def mark_crashed(self, now: datetime) -> Sessions:
        """Mark every active session as crashed and return them, oldest first.

        To be called under the folder's lock and before the own session starts: the process of every active session
        has ended then. now: real time, aware.
        """
        crashed = self.active()
        for session in crashed:
            session.status = "crashed"
            session.ended_at = self._last_write(session)
            found = now.isoformat(timespec="seconds")
            session.reason = f"the process {session.pid} ended without closing the session; found {found}"
            self._take_last_results(session)
            self.update(session)
        return crashed

    def list(self) -> Sessions:
        """Every readable session, oldest first. Damaged files are logged."""
        found, damaged = self.read_all()
        for name, problem in damaged:
            _log.warning("%s/%s was skipped: %s", SESSIONS, name, problem)
        return found

    def read_all(self) -> tuple[Sessions, Damaged]:
        """Every readable session, oldest first, and the damaged files as (name, problem)."""
        folder = existing_subfolder(self._folder, SESSIONS)
        if folder is None:
            return [], []
        found: Sessions = []
        damaged: Damaged = []
        with folder:
            for name in folder.names():
                if not name.endswith(".json"):
                    continue
                try:
                    session = _read(folder, name)
                except (CorruptFileError, DiskError) as error:  # nothing is decided by it
                    damaged.append((name, error.what))
                    continue
                if session is not None:
                    found.append(session)
        return sorted(found, key=lambda session: (session.started_at, session.session_id)), damaged

    def get(self, session_id: str) -> Session | None:
        """One session, or None where there is none of that id, or its file is damaged (the log says so)."""
        folder = existing_subfolder(self._folder, SESSIONS) if _ID.fullmatch(session_id) else None
        if folder is None:
            return None
        with folder:
            try:
                return _read(folder, _file_name(session_id))
            except (CorruptFileError, DiskError) as error:  # nothing is decided by it
                _log.warning("%s", error)
                return None

    def _take_last_results(self, session: Session) -> None:
        """Take the results of its last checkpoint. The journal may hold later ones, which the next run has."""
        last = CheckpointStore(self._folder).newest(session.session_id)
        if last is None:
            return
        session.pnl, session.trades = round(last.state.daily_pnl, 2), len(last.state.closed)
        session.pnl_pct = 100 * session.pnl / session.initial_value if session.initial_value else 0.0
        value = last.extra.account.get("portfolio_value")
        session.final_value = float(value) if isinstance(value, int | float) else session.final_value

    def _last_write(self, session: Session) -> datetime:
        """When a crashed session last wrote its own file or a checkpoint."""
        root = self._folder.path
        left = [root / SESSIONS / _file_name(session.session_id)]
        left += (root / CHECKPOINTS / session.session_id).glob("*.json")
        newest_s = max((path.lstat().st_mtime for path in left if path.exists()), default=0.0)
        return max(session.started_at, datetime.fromtimestamp(newest_s, UTC))


def _file_name(session_id: str) -> str:
    if not _ID.fullmatch(session_id):
        raise StateError(
            f"{session_id!r} is not a session id.",
            "Take one that `sessions list` shows, such as 20251006-094400-1f2e.",
        )
    return f"{session_id}.json"


def _encode(session: Session) -> bytes:
    return msgspec.json.format(msgspec.json.encode(session), indent=2) + b"\n"


def _read(folder: Folder, name: str) -> Session | None:
    """A session's file; None where there is none. CorruptFileError for other content, or another session's."""
    data = folder.read_file(name)
    if data is None:
        return None
    try:
        session = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptFileError(folder.path / name, str(error)) from error
    if f"{session.session_id}.json" != name:
        raise CorruptFileError(folder.path / name, f"its content is that of session {session.session_id!r}")
    return session
