"""The faults of a storm: drawn from a seed, then applied to the gateway.

Drawn are: the fault, two numbers that select a symbol, an execution or a size, whether and when the trader is
killed, and how long it stays down. Which symbol or execution a number selects depends on what the market and the
trader have done so far; that differs a little from run to run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crashlab.compare import live_stops
from paper_gateway.errors import ControlError
from paper_gateway.testing import RunningGateway

SILENCED = (
    "positions",
    "open_orders",
    "completed_orders",
    "executions",
    "order_status",
    "exec_details",
    "commission",
    "ticks",
    "account",
)
FOREIGN = "MSFT"
MANUAL_FAULTS = frozenset({"sell manually", "foreign", "cancel stop"})


@dataclass(frozen=True, slots=True)
class Step:
    """One fault of a storm. choose, amount: in [0, 1). kill: the trader is killed kill_after_s after the fault."""

    fault: str
    choose: float
    amount: float
    wait_s: float
    kill: bool
    kill_after_s: float
    down_s: float


def draw(seed: int, round_number: int, steps: int) -> list[Step]:
    """The steps of one round: always the same for the same seed and number."""
    chance = random.Random(f"{seed}/{round_number}")
    names = sorted(FAULTS)
    return [
        Step(
            fault=chance.choice(names),
            choose=chance.random(),
            amount=chance.random(),
            wait_s=chance.uniform(0.05, 0.6),
            kill=chance.random() < 0.6,
            kill_after_s=chance.uniform(0.0, 0.4),
            down_s=chance.choice((0.0, 0.0, 0.3, 1.0)),
        )
        for _ in range(steps)
    ]


def apply(gateway: RunningGateway, step: Step) -> tuple[bool, str]:
    """Apply the fault; returns whether there was something that it could be applied to, and what was done."""
    try:
        done = FAULTS[step.fault](gateway, step)
    except ControlError as error:  # the order or execution has ended meanwhile
        return False, f"refused: {error.message}"
    return bool(done), done or "nothing to apply it to"


def end_fault(gateway: RunningGateway, step: Step) -> None:
    """End the fault of the step, if it is one that lasts."""
    for kind in (*SILENCED, "all"):
        gateway.ctl("silence", kind=kind, off=True)
        gateway.ctl("delay", kind=kind, off=True)
    if step.fault == "outage":
        gateway.ctl("code", code=1102)


def _pick(step: Step, things: list[Any]) -> Any:
    return things[int(step.choose * len(things))] if things else None


def _protected_positions(gateway: RunningGateway) -> list[dict[str, Any]]:
    """Positions with an own live stop."""
    truth = gateway.truth()
    protected = {stop["symbol"] for stop in live_stops(truth)}
    return [row for row in truth["positions"] if row["symbol"] in protected]


def _nothing(_: RunningGateway, __: Step) -> str:
    return "no fault"


def _drop(gateway: RunningGateway, step: Step) -> str:
    gateway.ctl("drop", refuse=step.amount)
    return f"sockets dropped, refused for {step.amount:.1f} s"


def _silence(gateway: RunningGateway, step: Step) -> str:
    kind = _pick(step, list(SILENCED))
    gateway.ctl("silence", kind=kind)
    return f"{kind} not sent"


def _delay(gateway: RunningGateway, step: Step) -> str:
    kind = _pick(step, [*SILENCED, "all"])
    gateway.ctl("delay", kind=kind, ms=1 + int(step.amount * 300))
    return f"{kind} late by {step.amount * 300:.0f} ms"


def _silent_drop(gateway: RunningGateway, step: Step) -> str:
    """The connection is dropped, and after it one of the answers that reconciliation needs is not sent."""
    silenced = _silence(gateway, step)
    gateway.ctl("drop")
    return f"{silenced}, sockets dropped"


def _partial(gateway: RunningGateway, step: Step) -> str:
    symbol = _pick(step, ["TSLA", "NVDA", "AMD"])
    gateway.ctl("partial", symbol=symbol, shares=1 + int(step.amount * 20))
    return f"the next fill of {symbol} is partial"


def _repeat(gateway: RunningGateway, step: Step) -> str:
    execution = _pick(step, [e for e in gateway.truth()["executions"] if e["order_ref"]])
    if execution is None:
        return ""
    gateway.ctl("repeat", exec_id=execution["exec_id"])
    return f"{execution['exec_id']} repeated"


def _correct(gateway: RunningGateway, step: Step) -> str:
    execution = _pick(step, [e for e in gateway.truth()["executions"] if e["order_ref"] and not e["superseded"]])
    if execution is None:
        return ""
    price = round(execution["price"] + (step.amount - 0.5) / 5, 2)
    gateway.ctl("correct", exec_id=execution["exec_id"], price=price)
    return f"{execution['exec_id']} corrected to {price}"


def _restart(gateway: RunningGateway, step: Step) -> str:
    gateway.ctl("restart", roll_back=int(step.choose * 30), down=step.amount)
    return f"gateway restarted, ids rolled back by {int(step.choose * 30)}"


def _stop_out(gateway: RunningGateway, step: Step) -> str:
    return _move(gateway, step, -1)


def _to_target(gateway: RunningGateway, step: Step) -> str:
    return _move(gateway, step, 1)


def _move(gateway: RunningGateway, step: Step, sign: int) -> str:
    """Move the price through the stop (sign -1), or as far in the other direction."""
    row = _pick(step, _protected_positions(gateway))
    if row is None:
        return ""
    stop = live_stops(gateway.truth(), row["symbol"])[0]["aux_price"]
    distance = abs(row["avg_cost"] - stop) + 0.05
    price = round(row["avg_cost"] + sign * distance * (1 if row["quantity"] > 0 else -1) * (1 + step.amount / 2), 2)
    gateway.ctl("price", symbol=row["symbol"], price=price)
    return f"{row['symbol']} at {price}"


def _sell_manually(gateway: RunningGateway, step: Step) -> str:
    row = _pick(step, _protected_positions(gateway))
    if row is None:
        return ""
    shares = 1 + int(step.amount * abs(row["quantity"]) / 2)
    if shares >= abs(row["quantity"]):
        return ""
    gateway.ctl("trade", symbol=row["symbol"], side="SELL" if row["quantity"] > 0 else "BUY", shares=shares)
    return f"{shares} {row['symbol']} closed manually"


def _foreign(gateway: RunningGateway, step: Step) -> str:
    gateway.ctl("trade", symbol=FOREIGN, side="BUY", shares=1 + int(step.amount * 10))
    return f"{FOREIGN} bought manually"


def _cancel_stop(gateway: RunningGateway, step: Step) -> str:
    stop = _pick(step, live_stops(gateway.truth()))
    if stop is None:
        return ""
    gateway.ctl("cancel", order=str(stop["perm_id"]))
    return f"{stop['order_ref']} cancelled manually"


def _outage(gateway: RunningGateway, _: Step) -> str:
    gateway.ctl("code", code=1100)
    return "1100"


def _data_lost(gateway: RunningGateway, _: Step) -> str:
    gateway.ctl("code", code=1101)
    return "1101"


FAULTS: dict[str, Callable[[RunningGateway, Step], str]] = {
    "nothing": _nothing,
    "drop": _drop,
    "silence": _silence,
    "delay": _delay,
    "silent drop": _silent_drop,
    "partial": _partial,
    "repeat": _repeat,
    "correct": _correct,
    "restart": _restart,
    "stop out": _stop_out,
    "to target": _to_target,
    "sell manually": _sell_manually,
    "foreign": _foreign,
    "cancel stop": _cancel_stop,
    "outage": _outage,
    "data lost": _data_lost,
}
