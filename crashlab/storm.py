"""A storm: a fast session with random faults of the gateway, in which the trader is killed again and again.

After every fault the trader must agree with the gateway's truth within a time limit: shares, the one stop of each
position, attempts, P&L to the cent. No order may be sent twice; foreign shares stay untouched; no traceback; no
file is lost. The gateway's exposure log is judged as well, also for the time in which the trader was dead. `spans`
records what does not count: outages, lost connections, and for what was under way the time without a trader.
"""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crashlab.compare import CLIENT_ID, differences, filled_entries, kind_of_failure, live_stops, sent_twice
from crashlab.exposure import Bounds, Context, Span
from crashlab.faults import FOREIGN, MANUAL_FAULTS, Step, apply, draw, end_fault, unreachable_s
from crashlab.parallel import cores, spread
from crashlab.processes import DATE, Trader, wait_for
from crashlab.report import Tally
from crashlab.verdict import RECONNECT_S, judge_gateway, without_trader
from paper_gateway.testing import RunningGateway
from state.storage.journal import read_journal

FAULT = "storm"
STEPS = 14  # of a round
SPEED = "30"  # session seconds for one real second
AGREE_S = 25.0
SECOND_ID = 2002
FOREIGN_SHARES = 70
KEPT = ("journal", "sessions", "quarantine", "archive", "recovery")  # folders whose files must never disappear
SETTINGS = {
    "files_save_interval_s": "0.5",
    "files_checkpoint_interval_s": "2",
    "gateway_answer_timeout_s": "1.5",
    "risk_breaker_losses": "50",
    "risk_max_daily_loss_pct": "50",
}
NO_ENTRIES = {"entry_window_end": "09:46"}  # over when a round begins: the second trader only looks on
REFUSED = 3
BOUNDS = Bounds(manual=5.0)  # a count that no execution explains is acted upon once it was seen twice, 2 s apart
UNDER_WAY_S = 0.7  # a quirk lets changes and cancels take effect half a second late
CANCELLED_S = 2.0  # more than for any other replacement: a comparison has to show that the stop is gone


def storm(minutes: float, seed: int, workers: int | None = None) -> Tally:
    """Rounds on all cores until the time is over. Each round has its own gateway, folder and faults."""
    tally = Tally(FAULT)
    count = workers or cores()
    deadline = time.monotonic() + minutes * 60
    with tally.timed():
        for part in spread(_rounds, [(seed, worker, count, deadline) for worker in range(count)], count):
            tally.add(part)
    return tally


def _rounds(job: tuple[int, int, int, float]) -> Tally:
    seed, number, stride, deadline = job
    tally = Tally(FAULT)
    while time.monotonic() < deadline:
        tally.add(one_round(seed, number, deadline=deadline))
        number += stride
    return tally


def one_round(seed: int, number: int, steps: int = STEPS, deadline: float = float("inf")) -> Tally:
    """One session with its faults. The folder is kept if something failed."""
    tally = Tally(FAULT)
    folder = Path(tempfile.mkdtemp(prefix=f"storm-{seed}-{number}-"))
    with ExitStack() as stack:
        storm_round = Round(tally, folder, seed, number, stack)
        try:
            for step in draw(seed, number, steps):
                if tally.bad or time.monotonic() > deadline or not storm_round.step(step):
                    break
            storm_round.finish()
        except (AssertionError, OSError, ValueError) as error:
            storm_round.fail("wrong", f"{type(error).__name__}: {error}")
    if not tally.bad:
        shutil.rmtree(folder)
    return tally


@dataclass
class Round:
    """One gateway and one logs folder, with one trader after the other."""

    tally: Tally
    folder: Path
    seed: int
    number: int
    stack: ExitStack
    done: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    foreign_shares: int = FOREIGN_SHARES
    manual_fault: bool = False
    spans: list[Span] = field(default_factory=list)  # that do not count, see crashlab.exposure
    pending: list[Span] = field(default_factory=list)  # that end when the trader agrees, or at their end
    second: Trader | None = None

    def __post_init__(self) -> None:
        positions = self.folder / "positions.json"
        positions.write_text(json.dumps([{"symbol": FOREIGN, "quantity": FOREIGN_SHARES, "avg_cost": 400.0}]))
        self.gateway = self.stack.enter_context(
            RunningGateway(
                "--speed",
                SPEED,
                "--start",
                "09:46:30",
                "--date",
                DATE,
                "--seed",
                str(1 + self.number),
                "--positions",
                str(positions),
            )
        )
        self.trader = self._start()
        self.trader.wait_ready()
        # Before the first entry there is nothing to lose.
        wait_for(lambda: live_stops(self.gateway.truth()), what="the first entry")

    def step(self, step: Step) -> bool:
        """One fault, perhaps a kill, and the comparison. False if the session is over."""
        self.tally.points += 1
        began_s = time.time()
        applied, effect = apply(self, step)
        self.manual_fault |= applied and step.fault in MANUAL_FAULTS
        if applied and step.fault == "foreign":
            self.foreign_shares += 1 + int(step.amount * 10)
        killed = f"; killed after {step.kill_after_s:.2f} s" if step.kill else ""
        self.done.append(f"{step.fault}: {effect}{killed}")
        if step.kill:
            time.sleep(step.kill_after_s)  # the drawn moment of the kill
            self._kill(step.down_s)
        else:
            time.sleep(step.wait_s)
        end_fault(self.gateway, step)
        if (least_s := unreachable_s(step)) is not None:
            ends_s = max(time.time(), began_s + least_s) + RECONNECT_S
            self.pending.append(Span(began_s, ends_s, step.fault))
        elif step.fault == "cancel stop":
            self.pending.append(Span(began_s, began_s + CANCELLED_S, step.fault))
        if step.kill:
            self.trader = self._start()
        agreed = self.wait_agreed()
        self._end_second()
        return agreed

    def sleep_trader(self, seconds: float) -> None:
        """Stop the trader's process for so long, as a computer that sleeps does."""
        began_s = time.time()
        self.trader.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.trader.process.send_signal(signal.SIGCONT)
        self.pending.append(
            Span(began_s, time.time() + RECONNECT_S, "asleep", open_only=True, under_way_s=UNDER_WAY_S)
        )

    def start_second(self) -> None:
        """Start a second trader with a folder and a client id of its own, and wait until it trades."""
        folder = self.folder / f"second-{len(self.done)}"
        folder.mkdir()
        flags = ("--client-id", str(SECOND_ID))
        self.second = self.stack.enter_context(
            Trader(self.gateway, folder, *flags, scanner_dir=None, under=(), **SETTINGS, **NO_ENTRIES)
        )
        self.second.wait_ready()

    def _kill(self, down_s: float) -> None:
        since_s = time.time()
        self.trader.kill()
        self.tally.count("kills")
        time.sleep(down_s)
        self.pending.append(without_trader(since_s, time.time(), under_way_s=UNDER_WAY_S))

    def _end_second(self) -> None:
        if self.second is None:
            return
        if self.second.process.poll() is not None or "Traceback" in self.second.output():
            self.fail("wrong", f"the second trader: {self.second.output()[-1500:]}")
        self.second.kill()
        self.second = None

    def wait_agreed(self) -> bool:
        """Wait until state and truth agree. What still differs after AGREE_S is the failure."""
        deadline = time.monotonic() + AGREE_S
        found: list[str] = ["no status yet"]
        while time.monotonic() < deadline:
            if (code := self.trader.process.poll()) is not None:
                return self._ended(code)
            found = self._differences()
            if not found:
                return self._check()
            if self._reversed_manually():
                self.tally.count("manual reversals")
                return False
            time.sleep(0.05)
        unprotected = any(kind_of_failure(message) == "unprotected" for message in found)
        self.fail("unprotected" if unprotected else "wrong", f"after {AGREE_S:.0f} s: {found}")
        self._judge()
        return False

    def finish(self) -> None:
        """Stop the trader with SIGTERM. Its stops stay, and state and truth still agree."""
        truth = self.gateway.truth()
        self.tally.count("entries", len(filled_entries(truth)))
        self.tally.count("executions", len(truth["executions"]))
        self.tally.count("sessions")
        if not self.tally.bad:
            self._judge()
        if self.trader.process.poll() is None:
            code = self.trader.stop()
            if code:
                self.fail("wrong", f"SIGTERM ended it with {code}: {self.trader.output()[-800:]}")
            elif found := differences(self.trader.status(), self.gateway.truth()):
                self._after_stop(found)

    def fail(self, kind: str, message: str) -> None:
        self.tally.fail(kind, f"{self._where()}: {message}. Steps before: {self.done[-4:]}")

    def _where(self) -> str:
        return f"seed {self.seed}, round {self.number}, step {len(self.done)} ({self.folder})"

    def _judge(self) -> None:
        """Judge the exposure log. A trader that agrees, or is given up, is past what does not count."""
        now_s = time.time()
        self.spans += [replace(span, until_s=min(span.until_s, now_s)) for span in self.pending]
        self.pending.clear()
        context = Context(spans=tuple(self.spans), client_ids=(CLIENT_ID, SECOND_ID))
        judge_gateway(self.tally, self.gateway, context, f"{self._where()} after {self.done[-4:]}", BOUNDS)

    def _after_stop(self, found: list[str]) -> None:
        """A stop can fill while the trader ends. Then the next start must find the fill."""
        self.done.append(f"stopped, then {found}")
        self.trader = self._start()
        if self.wait_agreed() and self.trader.process.poll() is None:
            self.trader.stop()

    def _start(self) -> Trader:
        return self.stack.enter_context(Trader(self.gateway, self.folder, scanner_dir=None, under=(), **SETTINGS))

    def _differences(self) -> list[str]:
        if not self.trader.logs.is_dir():
            return ["no folder yet"]
        status = self.trader.status()
        if status["pid"] != self.trader.process.pid or not status["ready"]:
            return [f"not ready: {status['entries_reason']} {status['notes'][:3]}"]
        return differences(status, self.gateway.truth())

    def _reversed_manually(self) -> bool:
        """Whether all differences are in halted symbols: a manual trade filled together with the stop."""
        if not self.manual_fault or not self.trader.logs.is_dir():
            return False
        status = self.trader.status()
        found = differences(status, self.gateway.truth())
        return bool(status["halted"]) and all(message.split(":")[0] in status["halted"] for message in found)

    def _ended(self, code: int) -> bool:
        """The trader ended by itself: the session is over, or a manual reversal made it refuse the start."""
        if code == REFUSED and self.manual_fault:
            self.done.append("refused")
        elif code != 0:
            self.fail("wrong", f"the trader ended with {code}: {self.trader.output()[-1500:]}")
        return False

    def _check(self) -> bool:
        """What must hold besides agreement."""
        before = self.tally.bad
        self._judge()
        truth = self.gateway.truth()
        for message in sent_twice(truth, list(signals(self.trader.logs))):
            self.fail("wrong", f"sent twice: {message}")
        held = {row["symbol"]: row["quantity"] for row in truth["positions"]}
        if held.get(FOREIGN, 0) != self.foreign_shares:
            self.fail("wrong", f"foreign {FOREIGN}: {held.get(FOREIGN, 0)} shares, not {self.foreign_shares}")
        if any(FOREIGN in ref for ref in filled_entries(truth)):
            self.fail("wrong", f"the trader sent an order in {FOREIGN}")
        if "Traceback" in self.trader.output():
            self.fail("wrong", f"a traceback: {self.trader.output()[-1500:]}")
        there = {
            str(path.relative_to(self.trader.logs))
            for name in KEPT
            for path in (self.trader.logs / name).rglob("*")
            if path.suffix != ".tmp"
        }
        if gone := self.files - there:
            self.fail("lost", f"files are gone: {sorted(gone)}")
        self.files = there
        return self.tally.bad == before


def signals(logs: Path) -> Iterator[tuple[str, str, str]]:
    """(symbol, side, break time) of each signal that the trader acted on, from the journal."""
    for record in read_journal(logs / "journal" / DATE).records:
        if record.type == "SignalTaken":
            event: dict[str, Any] = json.loads(bytes(record.data))
            yield event["symbol"], event["side"], event["break_time"]
