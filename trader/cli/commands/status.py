"""`status`: positions, stops, attempts and limits from the files alone, also while no trader runs.

Neither the trader nor IBKR is asked, so every figure has an age: that of the newest record on disk.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from state.storage.files import existing_folder
from state.storage.loader import load
from state.storage.lock import LOCK_NAME, holder
from state.storage.sessions import SessionStore
from trader.cli.status.builder import build_status
from trader.cli.status.model import Status
from trader.cli.status.view import describe
from trader.config.sections import Config
from trader.output import say_block, say_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `status`."""
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")


def run(args: argparse.Namespace, config: Config) -> int:
    """Print the status; 0 also where there is no state at all, which is said."""
    status = read_status(config.files.logs_dir, datetime.now(UTC))
    if args.json:
        say_json(status)
    else:
        say_block(describe(status))
    return 0


def read_status(logs_dir: Path, now: datetime) -> Status:
    """The status of a logs folder. now: real time, aware. Raises NewerSchemaError, DiskError, StateError."""
    folder = existing_folder(logs_dir)
    if folder is None:
        return Status(notes=[f"There is no folder {logs_dir}: no trader has run here."])
    with folder:
        alive = holder(logs_dir / LOCK_NAME)
        status = build_status(load(folder), alive, now)
        if alive is None:
            status.notes += [
                f"Session {session.session_id} was never ended: its process {session.pid} died. "
                "The next start marks it as crashed and compares everything with IBKR."
                for session in SessionStore(folder).active()
            ]
    return status
