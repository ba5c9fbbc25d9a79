"""A trader process that has just entered a position, for tests that kill it then."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lab import Trader, wait_for

from paper_gateway.testing import RunningGateway
from state.storage.journal import read_journal
from trader.core.orders.order_ref import parse_ref

AT_THE_BREAK = ("--speed", "1", "--start", "09:46:00", "--date", "2025-10-06")
BOTH_SIDES = ("--symbols", "TSLA,NVDA")  # TSLA breaks upward, NVDA downward
LONG_ONLY = ("--symbols", "TSLA")
FAST = 60.0


def shares(gateway: RunningGateway) -> dict[str, int]:
    """What the account holds, signed."""
    return {row["symbol"]: row["quantity"] for row in gateway.truth()["positions"]}


def run_to(gateway: RunningGateway, reached: Callable[[], Any], bound_s: float = 30.0, speed: float = FAST) -> None:
    """Run session time at `speed` until the condition holds, then at speed 1."""
    gateway.ctl("speed", speed=speed)
    wait_for(reached, bound_s)
    gateway.ctl("speed", speed=1.0)


@contextmanager
def in_position(tmp_path: Path, *flags: str) -> Iterator[tuple[RunningGateway, Trader]]:
    """A trader whose entries have just filled and whose stops are live."""
    wanted = set(flags[1].split(","))
    with RunningGateway(*AT_THE_BREAK) as gateway, Trader(gateway, tmp_path, *flags) as trader:
        subscribed(trader)
        run_to(gateway, lambda: shares(gateway).keys() >= wanted)
        trader.wait_agreed()
        yield gateway, trader


def subscribed(trader: Trader) -> None:
    """Wait until it trades: the protection gate has passed and the market is open."""
    trader.wait_ready()
    wait_for(lambda: "Subscribed to" in trader.output())


def events(logs: Path, kind: str) -> list[dict[str, Any]]:
    """The journal's events of one kind, of all days."""
    found = []
    for day in sorted((logs / "journal").iterdir()):
        for record in read_journal(day).records:
            if record.type == kind:
                found.append(json.loads(bytes(record.data)))
    return found


def assert_nothing_twice(truth: dict[str, Any], logs: Path) -> None:
    """One permId an orderRef, one entry an attempt, one entry a signal (invariant 5)."""
    perm_ids: dict[str, set[int]] = {}
    for item in (*truth["open_orders"], *truth["completed_orders"], *truth["executions"]):
        perm_ids.setdefault(item["order_ref"], set()).add(item["perm_id"])
    assert {ref: ids for ref, ids in perm_ids.items() if ref and len(ids) > 1} == {}
    entries = [ref for text in perm_ids if (ref := parse_ref(text)) is not None and ref.role == "entry"]
    attempts = Counter((ref.symbol, ref.side, ref.attempt) for ref in entries)
    assert {key: count for key, count in attempts.items() if count > 1} == {}
    signals = Counter((e["symbol"], e["side"], e["break_time"]) for e in events(logs, "SignalTaken"))
    assert {key: count for key, count in signals.items() if count > 1} == {}
    assert len(signals) >= len(entries)
