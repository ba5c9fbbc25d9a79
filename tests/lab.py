"""A laboratory for whole-system tests: a real gateway process, a real trader on it, and the comparison of the two.

    with RunningGateway(*CALM) as gateway:
        with Trader(gateway, tmp_path) as trader:            # a process of its own: `python trader.py ...`
            trader.wait_ready()
            trader.kill()                                    # SIGKILL
        with Trader(gateway, tmp_path) as trader:
            wait_for(lambda: not differences(trader.status(), gateway.truth()))

`lab_live.live` runs a trader inside the test instead, over the same real socket, with its parts within reach.
`scanner(folder)` writes setups that never break, so that a trader only does what the test asks for; leave it out
(`scanner_dir=None`) and the shipped scan breaks out within the first session minute. Nothing here waits for luck:
every wait has a condition and a bound.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from paper_gateway.testing import RunningGateway
from trader.commands.status import read_status
from trader.orders.ref import parse_ref

ROOT = Path(__file__).resolve().parent.parent
DATE = "2025-10-06"
ACCOUNT = "DU1234567"
CLIENT_ID = 2001
CALM = ("--speed", "1", "--start", "11:00", "--date", DATE)
"""A gateway whose session runs as fast as real time, far from the open, the close and the time rule."""
WAIT_S = 15.0
SYMBOLS = ("TSLA", "NVDA", "AMD")


def wait_for(condition: Callable[[], Any], bound_s: float = WAIT_S, what: str = "the condition") -> Any:
    """Poll until the condition is true, and return what it gave; AssertionError after the bound."""
    deadline = time.monotonic() + bound_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come true within {bound_s} s"
        time.sleep(0.02)


def scanner(folder: Path, *symbols: str) -> Path:
    """A scanner folder whose pivots lie far from the market; returns it."""
    scans = folder / "scans"
    scans.mkdir(exist_ok=True)
    records = [
        {"symbol": symbol, "resistance": 5000.0, "support": 1.0, "score": 50} for symbol in symbols or SYMBOLS
    ]
    (scans / f"scanner_results_{DATE.replace('-', '')}.json").write_text(json.dumps(records))
    return scans


# What the trader says against what the gateway knows


def differences(status: dict[str, Any], truth: dict[str, Any], client_id: int = CLIENT_ID) -> list[str]:
    """Where `status --json` and `ctl truth --json` disagree, in words; empty where nothing is left to settle.

    Shares of every symbol; one live stop of the right side, size, account and permId a managed position; no
    stop of ours without a position; the day's P&L to the cent; attempts by the entries that filled.
    """
    account = status["account"] or truth["account"]
    said = {row["symbol"]: row["quantity"] for row in status["positions"]}
    held = {row["symbol"]: row["quantity"] for row in truth["positions"] if row["account"] == account}
    found = [
        f"{symbol}: the trader says {said.get(symbol, 0):+d} shares, the gateway {held.get(symbol, 0):+d}"
        for symbol in sorted({*said, *held})
        if said.get(symbol, 0) != held.get(symbol, 0)
    ]
    found += _stop_differences(status, truth, client_id)
    pnl = realized_pnl(truth, account)
    if abs(status["daily_pnl"] - pnl) > 0.0051:
        found.append(f"the trader says a P&L of {status['daily_pnl']:.2f}, the gateway {pnl:.2f}")
    counted = {(row["symbol"], row["side"]): row["count"] for row in status["attempts"]}
    if sum(counted.values()) != len(filled_entries(truth)):
        found.append(f"the trader counts {counted} attempts, the gateway filled {sorted(filled_entries(truth))}")
    return found


def live_stops(truth: dict[str, Any], symbol: str = "") -> list[dict[str, Any]]:
    """Stops of ours that work at the gateway, of one symbol or of all."""
    return [
        order
        for order in truth["open_orders"]
        if (ref := parse_ref(order["order_ref"])) is not None
        and ref.role == "stop"
        and symbol in ("", order["symbol"])
        and order["status"] not in ("PendingCancel", "Cancelled")
    ]


def realized_pnl(truth: dict[str, Any], account: str = ACCOUNT) -> float:
    """What the gateway realized in the symbols that we traded, dollars, whoever's hand closed."""
    ours = {ref.symbol for text in filled_entries(truth) if (ref := parse_ref(text)) is not None}
    counting = [
        e for e in truth["executions"] if e["symbol"] in ours and e["account"] == account and not e["superseded"]
    ]
    return round(sum(e["realized_pnl"] or 0.0 for e in counting), 2)


def filled_entries(truth: dict[str, Any]) -> set[str]:
    """OrderRefs of our entries that filled at least in part."""
    refs = [parse_ref(e["order_ref"]) for e in truth["executions"] if not e["superseded"]]
    return {ref.text for ref in refs if ref is not None and ref.role == "entry"}


def _stop_differences(status: dict[str, Any], truth: dict[str, Any], client_id: int) -> list[str]:
    found = []
    managed = {row["symbol"]: row for row in status["positions"] if row["managed"] and not row["halted"]}
    for symbol, row in managed.items():
        stops = live_stops(truth, symbol)
        if len(stops) != 1:
            found.append(f"{symbol}: {len(stops)} live stops for {row['quantity']:+d} shares")
            continue
        stop, exits = stops[0], _pending_exits(truth, symbol)
        side = "SELL" if row["quantity"] > 0 else "BUY"
        facts = {
            "side": (stop["action"], side),
            "size": (stop["remaining"], abs(row["quantity"]) - exits),
            "permId": (stop["perm_id"], row["stop_perm_id"]),
            "client id": (stop["client_id"], client_id),
            "account": (stop["account"], status["account"]),
            "price": (stop["aux_price"], row["stop_price"]),
        }
        found += [f"{symbol}: the stop's {name} is {a}, not {b}" for name, (a, b) in facts.items() if a != b]
    entering = {o["symbol"] for o in truth["open_orders"] if (r := parse_ref(o["order_ref"])) and r.role == "entry"}
    halted = set(status["halted"])
    for stop in live_stops(truth):
        if stop["symbol"] not in {*managed, *entering, *halted}:
            found.append(f"{stop['symbol']}: the stop {stop['order_ref']} guards nothing")
    return found


def _pending_exits(truth: dict[str, Any], symbol: str) -> int:
    refs = [(o, parse_ref(o["order_ref"])) for o in truth["open_orders"] if o["symbol"] == symbol]
    return sum(o["remaining"] for o, ref in refs if ref is not None and ref.role == "exit")


def rows(logs: Path) -> dict[str, list[str]]:
    """The decisions of the last start, by symbol, from its report in the logs folder."""
    reports = sorted((logs / "recovery").glob("*/*.json"), key=lambda path: path.stat().st_mtime_ns)
    found: dict[str, list[str]] = {}
    for row in json.loads(reports[-1].read_text())["rows"] if reports else []:
        found.setdefault(row["symbol"], []).append(row["decision"])
    return found


def words(logs: Path) -> str:
    """Everything the last start decided, in words."""
    reports = sorted((logs / "recovery").glob("*/*.json"), key=lambda path: path.stat().st_mtime_ns)
    return "\n".join(row["words"] for row in json.loads(reports[-1].read_text())["rows"])


# A trader in a process of its own


class Trader:
    """`python trader.py --logs-dir <folder>/logs <flags>` on a running gateway; ended at exit of the context.

    settings: by their environment name, such as `risk_max_trades_per_day="3"`. scanner_dir: None for the shipped
    scan, else a folder made by `scanner`.
    """

    def __init__(
        self, gateway: RunningGateway, folder: Path, *flags: str, scanner_dir: Path | None = None, **settings: str
    ) -> None:
        self.gateway = gateway
        self.logs = folder / "logs"
        self._out = (folder / f"trader-{time.monotonic_ns()}.out").open("w+b")
        command = [sys.executable, str(ROOT / "trader.py"), "--logs-dir", str(self.logs), *flags]
        environ = {"TRADER_GATEWAY_PORT": str(gateway.port)} | {
            f"TRADER_{name.upper()}": value for name, value in settings.items()
        }
        if scanner_dir is not None:
            command += ["--scanner-dir", str(scanner_dir)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=self._out, stderr=subprocess.STDOUT, env=os.environ | environ
        )

    def status(self) -> dict[str, Any]:
        """What `status --json` prints: from the files alone."""
        return status(self.logs)

    def output(self) -> str:
        """Everything it printed so far."""
        return Path(self._out.name).read_text(encoding="utf-8", errors="replace")

    def wait_ready(self, bound_s: float = WAIT_S) -> dict[str, Any]:
        """Its status once the gate has passed; AssertionError, with its output, if it ends before."""
        return self.wait_status(lambda found: bool(found["ready"]), bound_s)

    def wait_status(self, condition: Callable[[dict[str, Any]], bool], bound_s: float = WAIT_S) -> dict[str, Any]:
        """Its status once the condition holds of it while this very process runs."""
        deadline = time.monotonic() + bound_s
        while True:
            assert self.process.poll() is None, f"the trader ended: {self.process.returncode}\n{self.output()}"
            found = self.status() if self.logs.is_dir() else {"pid": None}
            if found["pid"] == self.process.pid and condition(found):
                return found
            assert time.monotonic() < deadline, f"not within {bound_s} s: {found}\n{self.output()}"
            time.sleep(0.03)

    def wait_agreed(self, bound_s: float = WAIT_S) -> dict[str, Any]:
        """Its status once it is ready and says what the gateway knows."""
        return self.wait_status(lambda s: bool(s["ready"]) and not differences(s, self.gateway.truth()), bound_s)

    def wait_exit(self, bound_s: float = WAIT_S) -> int:
        """The exit code."""
        return self.process.wait(bound_s)

    def kill(self) -> None:
        """SIGKILL: no handler runs, nothing is flushed."""
        self.process.kill()
        self.process.wait()

    def stop(self, bound_s: float = WAIT_S) -> int:
        """SIGTERM, as Ctrl+C does; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(bound_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        self._out.close()


def status(logs: Path) -> dict[str, Any]:
    """What `status --json` prints of a logs folder."""
    found: dict[str, Any] = json.loads(msgspec.json.encode(read_status(logs, datetime.now(UTC))))
    return found
