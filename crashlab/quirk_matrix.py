"""The quirk matrix: each step of a trade under each quirk of the gateway, with and without a kill in the middle.

A cell is a gateway of its own and a real trader. It is brought to the step, the quirk is switched on, the step is
caused, and perhaps the trader is killed in the first 1.5 s and started again. Then the step has to be completed in
time, and the exposure log of the gateway has to keep the bounds all the while.

python -m crashlab quirks [--quirk NAME] [--step NAME] [--pairs N] [--seed N]
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from crashlab.compare import CLIENT_ID, differences
from crashlab.exposure import Bounds, Context, Judgement, Span, judge_log, read_log
from crashlab.processes import Trader, scanner
from crashlab.quirk_cases import Case, naked_allowed, why_not_possible
from crashlab.quirk_steps import ADOPTED, ADOPTED_SHARES, START_S, TRADED, Stage, Step, step_of, switch_on
from crashlab.verdict import RECONNECT_S, without_trader
from paper_gateway.testing import RunningGateway
from state.storage.journal import read_journal

Outcome = Literal["done", "not possible", "failed"]

LIMIT_S = 8.0  # for a step, restart included
NOT_POSSIBLE_S = 4.0  # for which a step that cannot be completed is watched
KILL_WITHIN_S = 1.5
DOWN_S = 0.5
OUTAGE_S = 0.7
AGAIN_S = 0.5
AFTER_S = 0.6  # for which the log goes on once the step is done
COMPARE_S = 2.0  # for which state and gateway may still differ then
SETTINGS = {"files_save_interval_s": "0.3"}
BOUNDS = Bounds()
TEXT_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Job:
    """One cell to try. seed: of the moment of the kill."""

    case: Case
    step: str
    kill: bool
    seed: int

    @property
    def label(self) -> str:
        """How it is named in reports."""
        return f"{self.case.name}, {self.step}{', killed' if self.kill else ''}"


@dataclass
class Cell:
    """What a cell showed. Times in milliseconds. broken: what must not have happened; empty if all is well.

    reason: why the step was not completed. spans: the times that did not count.
    """

    case: str
    step: str
    kill: bool
    outcome: Outcome = "failed"
    reason: str = ""
    naked_ms: float = 0.0
    naked_kind: str = ""
    over_closing_ms: float = 0.0
    over_closing_shares: int = 0
    reversals: int = 0
    double_entries: int = 0
    touched: int = 0
    differences: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    seconds: float = 0.0


def run_cell(job: Job) -> Cell:
    """Try one cell. Its folder is kept if something is broken."""
    cell = Cell(job.case.name, job.step, job.kill)
    folder = Path(tempfile.mkdtemp(prefix="quirk-"))
    began = time.monotonic()
    with ExitStack() as stack:
        try:
            Run(job, cell, folder, stack).go()
        except (AssertionError, OSError, ValueError) as error:
            cell.broken.append(f"{type(error).__name__}: {_short(str(error))}")
    cell.seconds = time.monotonic() - began
    if cell.broken:
        cell.broken.append(f"kept in {folder}")
    else:
        shutil.rmtree(folder)
    return cell


class Run:
    """One cell from its gateway's start to its judgement."""

    def __init__(self, job: Job, cell: Cell, folder: Path, stack: ExitStack) -> None:
        self.job, self.cell, self.folder, self.stack = job, cell, folder, stack
        self.step: Step = step_of(job.step, far_price=job.case.far_price)
        self.impossible = why_not_possible(job.case, job.step)
        self.killed_s = 0.0
        self.started_s = 0.0
        early = job.case.quirks if job.step == "entry" else job.case.early
        flags = [flag for quirk in early for flag in ("--quirk", quirk)]
        self.gateway = stack.enter_context(
            RunningGateway(*self.step.gateway, "--speed", str(self.step.speed), *flags)
        )
        self.stage = Stage(
            self.gateway, self._start(), self.step.symbol, self.step.speed, START_S + 2 * job.case.slow_s
        )

    def go(self) -> None:
        """Reach the step, cause it, wait for it, and judge."""
        reached = self._reach()
        if reached:
            self._cause()
            self._wait()
        time.sleep(AFTER_S)
        if reached and not self.cell.broken:
            self._compare()
        self._judge()
        for command in self.stage.commands:
            command.end()

    def _reach(self) -> bool:
        try:
            self.step.reach(self.stage)
        except AssertionError as error:
            self.cell.outcome = "not possible" if self.impossible else "failed"
            self.cell.reason = f"{self.impossible or 'the step was not reached'}. {_short(str(error))}"
            if not self.impossible:
                self.cell.broken.append(f"the step was not reached: {_short(str(error))}")
            return False
        for quirk in self.job.case.quirks:
            if self.job.step != "entry" and quirk not in self.job.case.early:
                switch_on(self.gateway, quirk)
        return True

    def _cause(self) -> None:
        """Cause the step; kill the trader in the middle of it and start it again."""
        self.step.begin(self.stage)
        began_s = time.time()
        if self.job.case.outage:
            self.gateway.ctl("code", code=1100)
        if self.job.kill:
            chance = random.Random(f"{self.job.seed}/{self.job.label}")
            time.sleep(KILL_WITHIN_S * chance.random() ** 3)  # more often early, when most happens
            self.killed_s = time.time()
            self.stage.trader.kill()
        time.sleep(DOWN_S if self.job.kill or self.step.held_back else 0.0)
        if self.step.held_back:
            self.gateway.ctl("hold", symbol=TRADED, off=True)
        if self.job.case.outage:
            time.sleep(max(0.0, began_s + OUTAGE_S - time.time()))
            self.gateway.ctl("code", code=1102)
            self.cell.spans.append(Span(began_s, time.time() + RECONNECT_S, "outage"))
        if self.job.kill:
            self.started_s = time.time()
            self.stage.trader = self._start()

    def _wait(self) -> None:
        """Wait until the step is done, for as long as it may take."""
        limit_s = (NOT_POSSIBLE_S if self.impossible else LIMIT_S) + self.job.case.slow_s
        deadline, again = time.monotonic() + limit_s, time.monotonic() + AGAIN_S
        while time.monotonic() < deadline:
            if self.step.done(self.stage):
                self.cell.outcome = "done"
                return
            if (code := self.stage.trader.process.poll()) is not None:
                self.cell.broken.append(f"the trader ended with {code}: {_short(self.stage.trader.output())}")
                return
            if time.monotonic() >= again:
                self.step.again(self.stage)
                again = time.monotonic() + AGAIN_S
            time.sleep(0.02)
        said = self._said()
        self.cell.outcome = "not possible" if self.impossible else "failed"
        self.cell.reason = f"{self.impossible or f'not completed within {limit_s:.0f} s'}. The trader: {said}"
        if not self.impossible:
            self.cell.broken.append(f"not completed within {limit_s:.0f} s; the trader: {said}")

    def _said(self) -> str:
        """What the trader says about it: the answer to a command, else its newest alert or why entries wait."""
        status = self.stage.trader.status()
        alerts = [alert["text"] for alert in status["alerts"][-1:]]
        refusals = [command.refusal for command in self.stage.commands]
        return _short("; ".join(text for text in (*refusals, *alerts, status["entries_reason"]) if text))

    def _compare(self) -> None:
        """Compare state and gateway, where the quirk leaves something to compare."""
        deadline = time.monotonic() + COMPARE_S + self.job.case.slow_s
        while True:
            found = differences(self.stage.trader.status(), self.gateway.truth())
            found = [message for message in found if self._counts(message)]
            if not found or time.monotonic() > deadline or self.stage.trader.process.poll() is not None:
                break
            time.sleep(0.05)
        self.cell.differences = found
        self.cell.broken += [f"state: {message}" for message in found]
        if self.job.step == "adopt" and self.stage.held() != ADOPTED_SHARES:
            self.cell.broken.append(f"{self.stage.held()} of {ADOPTED_SHARES} adopted shares are left")
        if "Traceback" in self.stage.trader.output():
            self.cell.broken.append(f"a traceback: {self.stage.trader.output()[-TEXT_LENGTH:]}")

    def _counts(self, message: str) -> bool:
        if self.job.case.cut_refs or self.impossible:
            return "shares in the trader" in message
        if self.job.step == "adopt" or self.job.case.no_pnl:
            return not message.startswith(("attempts", "P&L"))
        return True

    def _judge(self) -> None:
        ended_s = time.time()
        if self.killed_s:
            under_way_s = self.job.case.under_way_s
            self.cell.spans.append(without_trader(self.killed_s, self.started_s, self._ready_s(), under_way_s))
        context = Context(
            adopted=self._adopted(),
            refusing=self.job.case.refusing,
            spans=tuple(self.cell.spans),
            client_ids=(CLIENT_ID,),
        )
        found = judge_log(read_log(self.gateway.port), ended_s, context)
        _note(self.cell, found)
        if not naked_allowed(self.job.case, self.job.step):
            self.cell.broken += found.unprotected(BOUNDS)
        self.cell.broken += found.wrong(BOUNDS)

    def _ready_s(self) -> float:
        """When the restarted trader was ready for the first time; infinite if it never was."""
        return next(
            (
                datetime.fromisoformat(record.time).timestamp()
                for record in self._records()
                if record.type == "ConnectionChanged"
                and b'"ready":true' in bytes(record.data)
                and datetime.fromisoformat(record.time).timestamp() > self.started_s
            ),
            float("inf"),
        )

    def _adopted(self) -> dict[str, float]:
        """When the trader took over a position, in seconds since 1970."""
        found = [record.time for record in self._records() if record.type == "PositionAdopted"]
        return {ADOPTED: datetime.fromisoformat(found[0]).timestamp()} if found and self.job.step == "adopt" else {}

    def _records(self) -> Iterator[Any]:
        days = self.stage.trader.logs / "journal"
        for day in sorted(days.iterdir()) if days.is_dir() else []:
            yield from read_journal(day).records

    def _start(self) -> Trader:
        adopting = self.step.symbol == ADOPTED
        flags = () if adopting else ("--symbols", TRADED)
        scans = scanner(self.folder, ADOPTED) if adopting else None
        settings = SETTINGS | self.step.settings
        return self.stack.enter_context(
            Trader(self.gateway, self.folder, *flags, scanner_dir=scans, under=(), **settings)
        )


def _note(cell: Cell, found: Judgement) -> None:
    longest = max(found.naked, key=lambda window: window.seconds, default=None)
    cell.naked_ms = found.longest_naked_s * 1000
    cell.naked_kind = longest.kind if longest is not None else ""
    cell.over_closing_ms = found.longest_over_closing_s * 1000
    cell.over_closing_shares = found.most_over_closing
    cell.reversals = len(found.reversals) + len(found.manual_reversals)
    cell.double_entries = len(found.double_entries)
    cell.touched = len(found.touched)


def _short(text: str) -> str:
    """The end of a text, on one line."""
    plain = " ".join(text.split())
    return plain if len(plain) <= TEXT_LENGTH else f"... {plain[-TEXT_LENGTH:]}"
