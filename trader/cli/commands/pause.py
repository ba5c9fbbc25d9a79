"""`pause`: no new entries from now on, durably. Without a running trader it applies to the next start."""

import argparse
from datetime import UTC, datetime

from state.storage.files import Folder
from state.storage.pause_request import write_pause_request
from trader.cli.commands.operator_request import ask_trader, report_answer
from trader.config.sections import Config
from trader.plain_text import plain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `pause`."""
    parser.add_argument("reason", nargs="?", default="by the operator", help="why, for the log and for `status`")
    parser.add_argument("--json", action="store_true", help="the answer as JSON")


def run(args: argparse.Namespace, config: Config) -> int:
    """Tell the running trader, or leave a request for the next start."""
    return set_paused(args, config, paused=True, reason=args.reason)


def set_paused(args: argparse.Namespace, config: Config, *, paused: bool, reason: str) -> int:
    """Pause or unpause: `pause` and `unpause` differ in the flag only."""
    command, reason = "pause" if paused else "unpause", plain(reason)
    answer = ask_trader(config, command, {"reason": reason})
    text = "Paused: no new entries; stops and exits go on." if paused else "Unpaused: entries are possible again."
    if answer is None:
        with Folder.open(config.files.logs_dir) as folder:
            write_pause_request(folder, paused=paused, reason=reason, at=datetime.now(UTC))
        # A trader that started meanwhile may have looked for the request before it was written; it answers by now.
        answer = ask_trader(config, command, {"reason": reason})
    if answer is None:
        answer = {"ok": True, "paused": paused, "running": False}
        text = f"No trader is running; the next start will be {'paused' if paused else 'unpaused'}."
    return report_answer(answer, command, text, as_json=args.json)
