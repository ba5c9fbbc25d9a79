"""`run`: trade a session. The default command; the flags here override trader.toml for one run."""

import argparse
import asyncio
import math

from trader.config.sections import Config, RunOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `run`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--resume", action="store_true", help="resume today's state (the default where there is one)"
    )
    which.add_argument("--resume-session", type=_name, metavar="ID", help="resume this session's last state")
    which.add_argument("--fresh", action="store_true", help="set today's state aside; IBKR's records still count")
    parser.add_argument(
        "--reconcile-only", action="store_true", help="compare with IBKR, print the plan, send and write nothing"
    )
    parser.add_argument("--json", action="store_true", help="with --reconcile-only: the plan as JSON")
    parser.add_argument(
        "--accept-broker", action="store_true", help="take IBKR's share count for symbols in conflict"
    )
    parser.add_argument("--dry-run", action="store_true", help="decide everything, send no order")
    parser.add_argument(
        "--live",
        dest="gateway.live",
        action="store_const",
        const=True,
        help="allow the live account of trader.toml",
    )
    parser.add_argument(
        "--symbols", dest="universe.symbols", type=_symbols, metavar="A,B", help="trade these symbols only"
    )
    parser.add_argument("--duration", type=_minutes, metavar="MIN", help="stop after this many session minutes")
    parser.add_argument(
        "--checkpoint-interval",
        dest="files.checkpoint_interval_s",
        metavar="S",
        help="seconds between checkpoints while positions are open",
    )


def _name(text: str) -> str:
    """Refuses an empty name: an unset variable in a script would otherwise resume any session."""
    if not text.strip():
        raise argparse.ArgumentTypeError("name a session, as `sessions list` shows it")
    return text.strip()


def _minutes(text: str) -> float:
    minutes = float(text)
    if not math.isfinite(minutes) or minutes <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number of minutes above 0")
    return minutes


def _symbols(text: str) -> str:
    """Refuses an empty list: in the settings it means every symbol."""
    if not text.strip(", "):
        raise argparse.ArgumentTypeError("name at least one symbol")
    return text


def run(args: argparse.Namespace, config: Config) -> int:
    """Trade until the session is over or a signal stops the trader."""
    options = RunOptions(
        fresh=args.fresh,
        resume_session=args.resume_session or "",
        accept_broker=args.accept_broker,
        dry_run=args.dry_run,
        duration_min=args.duration,
    )
    if args.reconcile_only:
        from trader.runtime.reconcile_only import compare_once

        return asyncio.run(compare_once(config, as_json=args.json))
    from trader.runtime.app import App

    return asyncio.run(App(config, options).run())
