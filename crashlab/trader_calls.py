"""System calls of the whole trader: killed at one of them, or one fails, while it trades; then started again.

A recorded run finds the relevant calls (on files of the logs folder, and sends to a socket), from the start over
entries to a partial exit. Each case has its own gateway and trader, with one fault. The trader that is started
after it must agree with the gateway's truth.
"""

from __future__ import annotations

import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from crashlab.compare import CLIENT_ID, kind_of_failure, live_stops, sent_twice
from crashlab.exposure import Context
from crashlab.parallel import spread
from crashlab.processes import DATE, Trader
from crashlab.report import Tally
from crashlab.storm import signals
from crashlab.strace import ACTIONS, DISK_CALLS, Fault, why_not
from crashlab.verdict import judge_gateway, without_trader
from paper_gateway.testing import RunningGateway

FAULT = "system calls: whole trader"
SYMBOLS = "TSLA,NVDA"
GATEWAY = ("--speed", "60", "--start", "09:46:20", "--date", DATE)
CALLS = (*DISK_CALLS, "sendto")
ENTRIES_S, PARTIAL_S, AGREE_S = 6.0, 1.0, 25.0
SETTINGS = {"files_save_interval_s": "0.5", "files_checkpoint_interval_s": "1", "gateway_answer_timeout_s": "1.5"}
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)", re.MULTILINE)


def trader_calls(count: int | None, seed: int) -> Tally:
    """`count` faults, drawn from all faults at all calls; None for every fault."""
    tally = Tally(FAULT, skipped=why_not())
    if tally.skipped:
        return tally
    with tally.timed():
        faults = recorded()
        tally.note = f"of {len(faults):,} faults"
        chosen = faults if count is None else random.Random(seed).sample(faults, min(count, len(faults)))
        for part in spread(_one, chosen):
            tally.add(part)
    return tally


def recorded() -> list[Fault]:
    """Every fault at every call that a run without faults makes on its own files and sockets."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        under = ("strace", "-D", "-f", "-qq", "-y", "-o", str(folder / "calls"), "-e", f"trace={','.join(CALLS)}")
        _trade(stack, folder, under)[1].stop()
        points = relevant_calls((folder / "calls").read_text(errors="replace"), str(folder / "logs"))
    return [Fault(call, when, action) for call, when in points for action in ACTIONS if _sensible(call, action)]


def _sensible(call: str, action: str) -> bool:
    """A send to a socket cannot fail with ENOSPC."""
    return call != "sendto" or action != "error=ENOSPC"


def relevant_calls(recording: str, logs: str) -> list[tuple[str, int]]:
    """(call, its number in its thread) of each call on the logs folder, and of each send to a TCP socket."""
    counted: dict[tuple[str, str], int] = {}
    found: set[tuple[str, int]] = set()
    for thread, call, rest in _LINE.findall(recording):
        counted[thread, call] = counted.get((thread, call), 0) + 1
        if logs in rest or (call == "sendto" and "TCP" in rest):
            found.add((call, counted[thread, call]))
    return sorted(found)


def _one(fault: Fault) -> Tally:
    """One case: a trader with the fault, then one without, then the comparison."""
    tally = Tally(FAULT, points=1)
    folder = Path(tempfile.mkdtemp(prefix="calls-"))
    under = ("strace", "-D", "-f", "-qq", "-o", "/dev/null", *fault.flags)
    try:
        with ExitStack() as stack:
            gateway, faulty = _trade(stack, folder, under)
            tally.count("ended by it", int(faulty.process.poll() is not None))
            ended_s = time.time()
            faulty.kill()
            if "Traceback" in faulty.output():
                tally.fail("wrong", f"{fault.label}: {faulty.output()[-1500:]}")
            again = Trader(gateway, folder, "--symbols", SYMBOLS, scanner_dir=None, under=(), **SETTINGS)
            _judge(tally, gateway, stack.enter_context(again), fault, ended_s)
    except (AssertionError, OSError, ValueError) as error:
        tally.fail("wrong", f"{fault.label}: {type(error).__name__}: {str(error)[-1500:]}")
    if not tally.bad:
        shutil.rmtree(folder)
    return tally


def _trade(stack: ExitStack, folder: Path, under: tuple[str, ...]) -> tuple[RunningGateway, Trader]:
    """Start, enter, take a partial exit, save; or end before, because of the fault."""
    gateway = stack.enter_context(RunningGateway(*GATEWAY))
    trader = stack.enter_context(
        Trader(gateway, folder, "--symbols", SYMBOLS, scanner_dir=None, under=under, **SETTINGS)
    )
    _until(trader, lambda: len(live_stops(gateway.truth())) == 2, ENTRIES_S)
    gateway.ctl("speed", speed=1)
    for row in gateway.truth()["positions"]:
        stops = live_stops(gateway.truth(), row["symbol"])
        if stops:
            risk = row["avg_cost"] - stops[0]["aux_price"]
            gateway.ctl("price", symbol=row["symbol"], price=round(row["avg_cost"] + 1.05 * risk, 2))
    _until(trader, lambda: False, PARTIAL_S)
    return gateway, trader


def _until(trader: Trader, condition: Callable[[], bool], bound_s: float) -> None:
    deadline = time.monotonic() + bound_s
    while time.monotonic() < deadline and trader.process.poll() is None:
        if condition():
            return
        time.sleep(0.05)


def _judge(tally: Tally, gateway: RunningGateway, trader: Trader, fault: Fault, ended_s: float) -> None:
    """ended_s: when the trader with the fault had ended; this one was started then."""
    try:
        trader.wait_agreed(AGREE_S)
    except AssertionError as error:
        tally.fail(kind_of_failure(str(error)), f"{fault.label}: {str(error)[-1500:]}")
        return
    spans = (without_trader(ended_s, ended_s, agreed_s=time.time()),)
    judge_gateway(tally, gateway, Context(spans=spans, client_ids=(CLIENT_ID,)), fault.label)
    for message in sent_twice(gateway.truth(), list(signals(trader.logs))):
        tally.fail("wrong", f"{fault.label}: sent twice: {message}")
    if "Traceback" in trader.output():
        tally.fail("wrong", f"{fault.label}: {trader.output()[-1500:]}")
    trader.stop()
