"""What a checkpoint's name, size and extra content tell, and numbers over many of them. Pure."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

OVERDUE_INTERVALS = 5  # no checkpoint for so many intervals is an alarm
_NAME = re.compile(r"(\d{8}T\d{6}\.\d{3})Z-(\d{8,})\.json")
_STAMP = "%Y%m%dT%H%M%S.%f"


class CheckpointExtra(msgspec.Struct, kw_only=True):
    """What a checkpoint holds beside the state.

    account: portfolio_value, buying_power, cash and what else the account told, in its currency. attempts,
    failures, write_s: of this session up to and without this one: how often one was tried, how often that
    failed, and the seconds it took in all.
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
    """What a checkpoint's name and size tell, without reading it. saved_at: real time."""

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
    """Over the checkpoints asked for. Times are real; success_rate is between 0 and 1, None where there is none."""

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


def checkpoint_name(saved_at: datetime, sequence: int) -> str:
    """The file name: `20251006T134430.123Z-00000042.json`. saved_at: real time, aware."""
    stamp = saved_at.astimezone(UTC).strftime(_STAMP)[:-3]
    return f"{stamp}Z-{sequence:08d}.json"


def read_name(session_id: str, name: str, size_bytes: int) -> CheckpointInfo | None:
    """What a file name says, or None if it is not a checkpoint's."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        saved_at = datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
    except ValueError:  # digits, but no moment
        return None
    return CheckpointInfo(session_id, name, saved_at, int(match[2]), size_bytes)


def stats_of(
    infos: Sequence[CheckpointInfo], last_extras: Iterable[CheckpointExtra], now: datetime
) -> CheckpointStats:
    """Numbers over checkpoints, oldest first. last_extras: of each session's last one, which has its counts."""
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
    """A sentence where no checkpoint came for five intervals, else "". Times are real."""
    age_s = (now - last).total_seconds()
    if age_s <= OVERDUE_INTERVALS * interval_s:
        return ""
    return f"No checkpoint for {age_s:.0f} s; one is due every {interval_s:g} s. Look at the log and at the disk."
