"""`checkpoints`: list, show, prune and restore copies of the state; show the state at any moment."""

import argparse
from datetime import UTC, datetime

import msgspec

from observers.report.formats import duration, real_time, settings_lines
from state.domain.model import TraderState
from state.errors import LockHeldError, StateError
from state.history.restore import differences, refuse_other, restore
from state.history.trading_day import read_trading_day, state_at
from state.storage.checkpoints import CheckpointInfo, CheckpointStore, overdue
from state.storage.codec import encode_state
from state.storage.files import Folder
from state.storage.loader import load
from state.storage.lock import LOCK_NAME, holder
from state.storage.sessions import SessionStore
from trader.cli.commands.reading import logs_folder, moment_of, trading_date
from trader.cli.status.builder import status_of
from trader.cli.status.view import describe_past
from trader.config.sections import Config
from trader.errors import UsageError
from trader.output import say, say_block, say_json, say_lines, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `checkpoints`."""
    actions = ["list", "show", "stats", "prune", "restore"]
    parser.add_argument("action", nargs="?", choices=actions, default="list")
    parser.add_argument(
        "checkpoint", nargs="?", metavar="NAME", help="session/file, a session (its last one) or latest (default)"
    )
    parser.add_argument("--at", metavar="TIME", help="show: the state as it was at 10:14:50 (US Eastern)")
    parser.add_argument("--date", metavar="YYYY-MM-DD", help="show --at: the trading date (default: the last one)")
    parser.add_argument("--session", metavar="ID", default="", help="list, stats: only this session's")
    parser.add_argument(
        "--limit", type=int, metavar="N", default=20, help="list: at most this many, 0 for all (20)"
    )
    parser.add_argument("--keep", type=int, metavar="N", help="prune: keep this many of finished sessions")
    parser.add_argument("--older-than-hours", type=float, metavar="H", help="prune: remove what is older")
    parser.add_argument("--yes", action="store_true", help="restore: do it; without it the difference is shown")
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(args: argparse.Namespace, config: Config) -> int:
    """Run one of the actions."""
    with logs_folder(config) as folder:
        if args.action == "show":
            return _show_moment(args, folder) if args.at else _show(args, folder)
        if args.action == "stats":
            return _stats(args, config, folder)
        if args.action == "prune":
            return _prune(args, config, folder)
        if args.action == "restore":
            return _restore(args, folder)
        return _list(args, folder)


def _list(args: argparse.Namespace, folder: Folder) -> int:
    store = CheckpointStore(folder)
    infos = store.list(args.session)
    shown = infos[-args.limit :] if args.limit > 0 else infos
    if args.json:
        say_json({"number": len(infos), "checkpoints": [_plain(info) for info in shown]})
        return 0
    rows: list[list[object]] = [_row(store, info) for info in shown]
    headings = ["checkpoint", "saved", "event", "bytes", "positions", "trades", "P&L", "value"]
    say_block(table(headings, rows) if rows else "There is no checkpoint yet.")
    if len(shown) < len(infos):
        say(f"The last {len(shown)} of {len(infos)}; --limit 0 shows all.")
    return 0


def _plain(info: CheckpointInfo) -> dict[str, object]:
    return {
        "checkpoint": info.path,
        "session_id": info.session_id,
        "saved_at": info.saved_at,
        "sequence": info.sequence,
        "bytes": info.bytes,
    }


def _row(store: CheckpointStore, info: CheckpointInfo) -> list[object]:
    start: list[object] = [info.path.removesuffix(".json"), real_time(info.saved_at), info.sequence, info.bytes]
    try:
        found = store.read(info)
    except StateError:
        return [*start, "DAMAGED", None, None, None]
    value = found.extra.account.get("portfolio_value")
    return [
        *start,
        found.extra.active_positions,
        found.extra.closed_trades,
        found.state.daily_pnl,
        float(value) if isinstance(value, int | float) else None,
    ]


def _find(folder: Folder, name: str | None) -> CheckpointInfo:
    info = CheckpointStore(folder).find(name or "latest")
    if info is None:
        wanted = f"no checkpoint {name}" if name else "no checkpoint yet"
        raise UsageError(f"There is {wanted} in {folder.path}.", "`checkpoints list` shows those that are kept.")
    return info


def _show(args: argparse.Namespace, folder: Folder) -> int:
    info = _find(folder, args.checkpoint)
    found = CheckpointStore(folder).read(info)
    if args.json:
        say_json(
            {
                **_plain(info),
                "checkpoint": info.path,
                **msgspec.to_builtins(found.extra),
                "state": _state_file(found.state, info.saved_at),
            }
        )
        return 0
    say(f"Checkpoint {info.path}, saved {real_time(info.saved_at)}, event {info.sequence}")
    if found.extra.account:
        say("Values       " + ", ".join(f"{key} {value}" for key, value in found.extra.account.items()))
    say_block(describe_past(status_of(found.state)))
    if found.extra.parameters:
        say_lines(["", "Parameters", *settings_lines(found.extra.parameters)])
    return 0


def _show_moment(args: argparse.Namespace, folder: Folder) -> int:
    """The state at any moment of a date, from a checkpoint before it and the journal."""
    date = trading_date(folder, args.date)
    moment = moment_of(date, args.at)
    past = state_at(folder, read_trading_day(folder, date), moment)
    if args.json:
        say_json(
            {
                "at": moment,
                "source": past.source,
                "sequence": past.state.sequence,
                "state": _state_file(past.state, moment),
            }
        )
        return 0
    say(f"The state at {moment.isoformat()}, from {past.source}")
    say_block(describe_past(status_of(past.state)))
    return 0


def _state_file(state: TraderState, saved_at: datetime) -> msgspec.Raw:
    return msgspec.Raw(encode_state(state, saved_at).strip())


def _stats(args: argparse.Namespace, config: Config, folder: Folder) -> int:
    now = datetime.now(UTC)
    store = CheckpointStore(folder)
    stats = store.stats(args.session, now)
    alert = _alert(config, folder, store, now)
    if args.json:
        say_json({**msgspec.to_builtins(stats), "alert": alert})
        return 0
    rate = f"{stats.success_rate:.1%} of {stats.attempts}" if stats.success_rate is not None else "-"
    lines = {
        "Number": f"{stats.number}, {stats.bytes:,} bytes",
        "First": real_time(stats.first),
        "Last": real_time(stats.last) + (f", {duration(stats.last_age_s)} ago" if stats.last_age_s else ""),
        "Span": duration(stats.span_s),
        "Mean interval": f"{stats.mean_interval_s:.1f} s" if stats.mean_interval_s is not None else "-",
        "Written": rate + (f", {stats.mean_write_ms:.1f} ms each" if stats.mean_write_ms is not None else ""),
    }
    say_lines(f"{name:<15}{text}" for name, text in lines.items())
    if alert:
        say(f"ALERT          {alert}")
    return 0


def _alert(config: Config, folder: Folder, store: CheckpointStore, now: datetime) -> str:
    """A sentence if a trader is running and has written no checkpoint for five intervals, else empty."""
    alive = holder(folder.path / LOCK_NAME)
    if alive is None:
        return ""
    last, interval_s = None, config.files.checkpoint_idle_interval_s
    infos = store.list(alive.session_id)
    if infos:
        last = infos[-1].saved_at
        if store.read(infos[-1]).extra.active_positions:
            interval_s = config.files.checkpoint_interval_s
    elif (session := SessionStore(folder).get(alive.session_id)) is not None:
        last = session.started_at
    return overdue(last, interval_s, now) if last is not None else ""


def _prune(args: argparse.Namespace, config: Config, folder: Folder) -> int:
    files = config.files
    keep = args.keep if args.keep is not None else files.keep_checkpoints
    max_age_h = args.older_than_hours if args.older_than_hours is not None else files.keep_checkpoint_hours
    if keep < 0 or not max_age_h >= 0:
        raise UsageError("--keep and --older-than-hours must not be negative.", "Leave them out for the default.")
    active = {session.session_id for session in SessionStore(folder).active()}
    alive = holder(folder.path / LOCK_NAME)
    if alive is not None:
        active.add(alive.session_id)
    gone = CheckpointStore(folder).prune(keep, max_age_h, active, datetime.now(UTC))
    left = len(CheckpointStore(folder).list())
    if args.json:
        say_json({"removed": [info.path for info in gone], "left": left})
    else:
        say(f"{len(gone)} checkpoints removed, {left} left. Those of active sessions were not touched.")
    return 0


def _restore(args: argparse.Namespace, folder: Folder) -> int:
    """Show what would change; with --yes change it. Refused while a trader runs."""
    alive = holder(folder.path / LOCK_NAME)
    if alive is not None:
        raise LockHeldError(folder.path / LOCK_NAME, alive.pid or None)
    info = _find(folder, args.checkpoint)
    checkpoint = CheckpointStore(folder).read(info)
    current = load(folder).state
    refuse_other(current, checkpoint.state)
    changes = differences(current, checkpoint.state)
    sequence = restore(folder.path, checkpoint) if args.yes else None
    if args.json:
        say_json(
            {
                "checkpoint": info.path,
                "restored": args.yes,
                "sequence": sequence,
                "changes": [{"what": c.what, "now": c.now, "then": c.then} for c in changes],
            }
        )
        return 0
    say(f"Going back to {info.path}, saved {real_time(info.saved_at)}:")
    rows = [[c.what, c.now, c.then] for c in changes]
    say_block(table(["what", "now", "then"], rows) if changes else "No difference.")
    if args.yes:
        say(f"Done, as event {sequence}. The next start compares it with IBKR before anything else.")
    else:
        say("Nothing was changed. Add --yes to do it.")
    return 0
