"""Gathers a trading date's report from the logs folder. It only reads."""

from datetime import datetime

import msgspec

from state.domain.events import AlertRaised, SessionEnded, SessionStarted
from state.domain.model import Alert, TraderState
from state.errors import StateError
from state.history.trades import (
    Block,
    DaySummary,
    EquityPoint,
    Trade,
    blocks_of,
    equity_curve,
    summarize,
    trades_of,
)
from state.history.trading_day import TradingDay, last_state, read_trading_day
from state.storage.files import Folder, existing_subfolder
from state.storage.layout import ARCHIVE, JOURNAL, RECOVERY
from state.storage.sessions import Session, SessionStore


class RunSpan(msgspec.Struct, kw_only=True):
    """One run by its events in the journal; times are the session's clock.

    status: completed; crashed, if the next run began without an end of this one; or active, if it is the last run
    and has no end: it is running, or it has crashed and no start has marked it yet.
    """

    session_id: str
    began: datetime
    last_event: datetime
    status: str
    reason: str = ""
    resumed_from: str = ""


class Decision(msgspec.Struct):
    """One row of a recovery report."""

    symbol: str
    decision: str
    text: str = msgspec.field(name="words")  # the name in the recovery reports
    severity: str = ""


class Recovery(msgspec.Struct):
    """The recovery report of one start; `time` is the session's clock."""

    session_id: str
    time: datetime
    ready: bool = False
    rows: list[Decision] = []
    notes: list[str] = []
    timings_ms: dict[str, float] = {}


class DayReport(msgspec.Struct, kw_only=True):
    """The report. journal: the result of checking its chain; notes: what could not be read or is missing."""

    trading_date: str
    account: str = ""
    gateway: str = ""
    as_of: datetime | None = None
    summary: DaySummary | None = None
    trades: list[Trade] = []
    equity: list[EquityPoint] = []
    blocks: list[Block] = []
    runs: list[RunSpan] = []
    sessions: list[Session] = []
    recoveries: list[Recovery] = []
    alerts: list[Alert] = []
    journal: str = ""
    broken: bool = False
    notes: list[str] = []


def gather(folder: Folder, trading_date: str) -> DayReport:
    """The report of a date. If the folder has nothing of it: an empty one with a note. Raises DiskError."""
    day = read_trading_day(folder, trading_date)
    report = DayReport(trading_date=trading_date, journal=day.detail, broken=day.broken, notes=list(day.problems))
    state = _state(folder, day, report)
    report.equity = equity_curve(day.entries)
    report.blocks = blocks_of(day.entries)
    report.runs = runs_of(day)
    report.alerts = [
        Alert(time=e.event.time, text=e.event.text, symbol=e.event.symbol, key=e.event.key)
        for e in day.entries
        if isinstance(e.event, AlertRaised)
    ]
    if state is not None:
        report.account, report.gateway, report.as_of = state.account, state.gateway, state.time
        report.trades = trades_of(state)
        report.summary = summarize(state, report.equity)
    report.notes += _set_aside(folder, trading_date)
    _add_sessions(folder, report)
    _add_recoveries(folder, report)
    return report


def _state(folder: Folder, day: TradingDay, report: DayReport) -> TraderState | None:
    try:
        past = last_state(folder, day)
    except StateError as error:
        report.notes.append(str(error))
        return None
    if past is None:
        report.notes.append(f"Nothing is kept of {day.trading_date}.")
        return None
    return past.state


def _set_aside(folder: Folder, trading_date: str) -> list[str]:
    """A note for each journal of this date that was set aside: of another account, or before `--fresh`."""
    root = folder.path / JOURNAL / ARCHIVE
    found = sorted(path.relative_to(folder.path) for path in root.glob(f"*/{trading_date}") if path.is_dir())
    return [f"Not part of this: {path}, a journal of this date that was set aside." for path in found]


def runs_of(day: TradingDay) -> list[RunSpan]:
    """The runs of a date from its events."""
    runs: list[RunSpan] = []
    for entry in day.entries:
        event = entry.event
        if isinstance(event, SessionStarted):
            if runs and runs[-1].status == "active":
                runs[-1].status = "crashed"
            run = RunSpan(
                session_id=event.session_id,
                began=event.time,
                last_event=event.time,
                status="active",
                resumed_from=event.resumed_from,
            )
            runs.append(run)
        elif runs:
            runs[-1].last_event = event.time
            if isinstance(event, SessionEnded):
                runs[-1].status, runs[-1].reason = event.status, event.reason
    return runs


def _add_sessions(folder: Folder, report: DayReport) -> None:
    found, damaged = SessionStore(folder).read_all()
    report.sessions = [session for session in found if session.trading_date == report.trading_date]
    report.notes += [f"sessions/{name} was skipped. {problem}" for name, problem in damaged]


def _add_recoveries(folder: Folder, report: DayReport) -> None:
    """Add the recovery report of each start; one that cannot be read is named in a note and skipped."""
    root = existing_subfolder(folder, RECOVERY)
    if root is None:
        return
    with root:
        day = existing_subfolder(root, report.trading_date)
    if day is None:
        return
    with day:
        for name in day.names():
            try:
                report.recoveries.append(msgspec.json.decode(day.read_file(name) or b"", type=Recovery))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, StateError) as error:
                report.notes.append(f"recovery/{report.trading_date}/{name} was skipped: {error}.")
    report.recoveries.sort(key=lambda recovery: recovery.time.timestamp())
