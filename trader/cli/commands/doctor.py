"""`doctor`: checks port, account, clock, permissions, the disk's durability and versions. It changes nothing.

While a trader runs, its client id is in use, so that the checks that need a connection are left out.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import disk_usage
from typing import Literal

import msgspec

from state.errors import TraderError
from state.storage.files import Folder
from state.storage.loader import load
from state.storage.lock import LOCK_NAME, holder
from state.storage.probe import probe
from state.storage.retention import FREE_BYTES_MIN
from trader.clock import Clock
from trader.config.sections import Config
from trader.output import say_block, say_json, table

PACKAGES = ("ib_insync", "msgspec", "pytz", "python-dateutil", "numpy")
PYTHONS = ((3, 11), (3, 13))
FAILED_EXIT, UNREACHABLE_EXIT = 1, 7


class Finding(msgspec.Struct):
    """The result of one check."""

    what: str
    result: Literal["ok", "warning", "failed"]
    text: str = msgspec.field(name="words")  # the key of `doctor --json`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `doctor`."""
    parser.add_argument("--json", action="store_true", help="the findings as JSON")


def run(args: argparse.Namespace, config: Config) -> int:
    """Run all checks; 0 if none failed, 7 if IBKR cannot be reached, else 1."""
    running = holder(config.files.logs_dir / LOCK_NAME) if config.files.logs_dir.is_dir() else None
    findings = [*_versions(), *_settings(config), *_files(config)]
    if running is not None:
        findings.append(
            Finding("connection", "ok", f"not checked: a trader is running (pid {running.pid}); see `status`")
        )
        unreachable = False
    else:
        found = asyncio.run(_connection(config))
        unreachable = any(f.what == "connection" and f.result == "failed" for f in found)
        findings += found
    if args.json:
        say_json(findings)
    else:
        marks = {"ok": "✓", "warning": "⚠️", "failed": "✗"}
        say_block(table(("", "what", "found"), [(marks[f.result], f.what, f.text) for f in findings]))
    if unreachable:
        return UNREACHABLE_EXIT
    return FAILED_EXIT if any(f.result == "failed" for f in findings) else 0


def _versions() -> Iterator[Finding]:
    known = PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
    text = f"{sys.version.split()[0]} (tested on 3.11 to 3.13)"
    yield Finding("Python", "ok" if known else "warning", text)
    for name in PACKAGES:
        try:
            yield Finding(name, "ok", version(name))
        except PackageNotFoundError:
            yield Finding(name, "failed", "not installed; run `make setup`")


def _settings(config: Config) -> Iterator[Finding]:
    where = str(config.source) if config.source is not None else "no trader.toml: defaults"
    yield Finding("settings", "ok", where)
    if config.gateway.live:
        yield Finding("live", "warning", f"real money: account {config.gateway.live_account or 'not named'}")


def _files(config: Config) -> Iterator[Finding]:
    """The logs folder: its owner, the state in it, the free space and the durability of its disk."""
    logs_dir = config.files.logs_dir
    if not logs_dir.is_dir():
        yield Finding("logs folder", "ok", f"{logs_dir} will be made at the first start")
        return
    try:
        with Folder.open(logs_dir, create=False) as folder:
            yield Finding("logs folder", "ok", f"{logs_dir} belongs to this user alone")
            yield _space(logs_dir)
            report = probe(folder)
            text = f"{report.fs_type or 'unknown file system'}, a flush takes {report.median_us:.0f} µs"
            yield Finding("durability", "warning" if report.warnings else "ok", "; ".join([text, *report.warnings]))
            loaded = load(folder)
    except TraderError as error:
        yield Finding("logs folder", "failed", str(error))
        return
    for note in loaded.notes:
        yield Finding("state", "warning", note)
    if loaded.state is not None:
        age_s = (datetime.now(UTC) - loaded.saved_at).total_seconds() if loaded.saved_at is not None else 0.0
        state = loaded.state
        text = f"{state.trading_date}, event {state.sequence} from {loaded.source}, saved {age_s:.0f} s ago"
        yield Finding("state", "ok", text)


def _space(logs_dir: Path) -> Finding:
    free = disk_usage(logs_dir).free
    return Finding("disk space", "ok" if free >= FREE_BYTES_MIN else "failed", f"{free / 2**30:.1f} GiB free")


async def _connection(config: Config) -> list[Finding]:
    """Connect as the trader would, check, and disconnect."""
    from trader.runtime.connection import connect, find_endpoint, make_broker

    clock = Clock(real_gateway=not config.gateway.embedded)
    findings: list[Finding] = []
    try:
        endpoint = await find_endpoint(config)
        broker = make_broker(config, endpoint, clock, lambda _: None)
        account = await connect(config, endpoint, broker, clock, tries=1)
    except TraderError as error:
        return [Finding("connection", "failed", str(error))]
    try:
        kind = "EMBEDDED PAPER GATEWAY, not IBKR" if endpoint.embedded else "IBKR"
        findings.append(Finding("connection", "ok", f"{kind} at {endpoint.host}:{endpoint.port}"))
        findings.append(Finding("account", "ok", f"{account} ({'paper' if account.startswith('D') else 'LIVE'})"))
        warning = clock.warning()
        findings.append(
            Finding("clock", "warning" if warning else "ok", warning or f"{clock.now():%Y-%m-%d %H:%M:%S} ET")
        )
        findings.append(_scanner(config, clock.trading_date()))
    finally:
        with suppress(TraderError):  # the connection may be lost already
            await broker.disconnect()
    return findings


def _scanner(config: Config, day: date) -> Finding:
    from trader.runtime.scanner_file import load_setups

    try:
        setups = load_setups(config.files.scanner_dir, day, config.universe)
    except TraderError as error:
        return Finding("scanner file", "failed", str(error))
    return Finding("scanner file", "ok", f"{len(setups.setups)} setups in {setups.path.name}")
