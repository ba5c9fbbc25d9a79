"""`sessions`: the runs of the trader, from `logs/sessions/`."""

import argparse
from datetime import UTC, datetime

from observers.report.formats import duration, real_time, settings_lines
from state.storage.checkpoints import CheckpointStore
from state.storage.files import Folder
from state.storage.lock import LOCK_NAME, holder
from state.storage.sessions import Session, SessionStore
from trader.cli.commands.reading import logs_folder
from trader.config.sections import Config
from trader.errors import UsageError
from trader.output import say, say_block, say_json, say_lines, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `sessions`."""
    parser.add_argument("action", nargs="?", choices=["list", "show"], default="list")
    parser.add_argument("session", nargs="?", metavar="ID", help="the session to show (default: the last one)")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(args: argparse.Namespace, config: Config) -> int:
    """List all sessions, or show one."""
    with logs_folder(config) as folder:
        store = SessionStore(folder)
        found, damaged = store.read_all()
        if args.action == "show":
            return _show(folder, _pick(found, args.session), as_json=args.json)
        if args.json:
            problems = [{"file": name, "problem": problem} for name, problem in damaged]
            say_json({"sessions": found, "damaged": problems})
            return 0
        say_block(_listing(found, running_id=_running_id(folder)) if found else "There is no session yet.")
        for name, problem in damaged:
            say(f"{name} was skipped and left as it is: {problem}")
    return 0


def _pick(found: list[Session], session_id: str | None) -> Session:
    if session_id is None and found:
        return found[-1]
    for session in found:
        if session.session_id == session_id:
            return session
    wanted = f"There is no session {session_id}" if session_id else "There is no session"
    raise UsageError(f"{wanted} that can be read.", "`sessions list` shows those that are kept.")


def _running_id(folder: Folder) -> str:
    alive = holder(folder.path / LOCK_NAME)
    return alive.session_id if alive is not None else ""


def _status(session: Session, running_id: str) -> str:
    """A session that is active on disk without a process that holds the lock has died; the next start marks it."""
    dead = session.status == "active" and session.session_id != running_id
    return "active (dead)" if dead else session.status


def _listing(found: list[Session], *, running_id: str) -> str:
    headings = ["session", "status", "started", "lasted", "date", "account", "trades", "P&L", "%", "resumed"]
    rows: list[list[object]] = [
        [
            session.session_id,
            _status(session, running_id),
            real_time(session.started_at),
            _lasted(session),
            session.trading_date,
            session.account,
            session.trades,
            session.pnl,
            session.pnl_pct,
            session.resumed_from or None,
        ]
        for session in found
    ]
    return table(headings, rows)


def _lasted(session: Session) -> str:
    end = session.ended_at or datetime.now(UTC)
    return duration((end - session.started_at).total_seconds())


def _show(folder: Folder, session: Session, *, as_json: bool) -> int:
    checkpoints = CheckpointStore(folder).stats(session.session_id)
    if as_json:
        say_json({"session": session, "checkpoints": checkpoints})
        return 0
    lines = {
        "Session": session.session_id,
        "Status": _status(session, _running_id(folder)) + (f": {session.reason}" if session.reason else ""),
        "Started": real_time(session.started_at),
        "Ended": real_time(session.ended_at) + f" ({_lasted(session)})",
        "Trading date": session.trading_date,
        "Account": f"{session.account} at {session.gateway}",
        "Process": str(session.pid),
        "Resumed": session.resumed_from or "nothing",
        "Symbols": ", ".join(session.symbols) or "-",
        "Value": f"{_money(session.initial_value)} at the start, {_money(session.final_value)} at the end",
        "P&L": f"{session.pnl:+,.2f} ({session.pnl_pct:+.2f}%) from {session.trades} trades",
        "Checkpoints": f"{checkpoints.number}, {checkpoints.bytes:,} bytes",
    }
    say_lines(f"{name:<14}{text}" for name, text in lines.items())
    if session.parameters:
        say_lines(["Parameters", *settings_lines(session.parameters)])
    return 0


def _money(value: float | None) -> str:
    return f"{value:,.2f}" if value is not None else "unknown"
