"""The faults of a storm: drawn from a seed, then applied to the gateway or to the processes of the traders.

Drawn are: the fault, two numbers that select a symbol, an execution or a size, whether and when the trader is
killed, and how long it stays down. Which symbol or execution a number selects depends on what the market and the
trader have done so far; that differs a little from run to run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

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
HARMLESS = frozenset({"ticks", "account", "commission"})
"""Silenced, they keep no trader from protecting a position."""
QUIRKS = (
    "purge=1",
    "child-full",
    "child-dies",
    "modify-early-echo=0.2",
    "modify-echo",
    "modify-refused",
    "modify-refused-all",
    "modify-cancels",
    "modify-slow=0.5",
    "notice=399",
    "skip-submitted",
    "cancel-slow=0.5",
    "orders-on-connect",
    "positions-lag=2",
    "slow-answers=1",
    "no-completed",
    "executions-open",
    "repeat-executions",
    "late-commissions=1",
    "yesterday",
    "times=dash",
    "zero-positions=never",
)
"""Switched on and off in a storm. Quirks that refuse or swallow stops are left to the matrix: they leave no way."""
NOT_YET = {
    "quirk modify-cancels": "the stop that IBKR cancelled is placed again after 1.5 s, not within 1 s",
    "quirk no-completed": "never ready again after a restart: completed orders are waited for",
    "quirk executions-open": "never ready again after a restart: the end of the executions is waited for",
    "quirk yesterday": "executions of the day before count as today's: the position is reversed",
}
"""Faults and quirks that are not drawn because the trader does not withstand them yet, with the reason."""


class Scene(Protocol):
    """What a fault can act upon besides the gateway."""

    @property
    def gateway(self) -> RunningGateway:
        """The gateway of the round."""

    def sleep_trader(self, seconds: float) -> None:
        """Stop the trader's process for so long, as a computer that sleeps does."""

    def start_second(self) -> None:
        """Start a second trader on the gateway, with a folder and a client id of its own, until the step ends."""


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
    names = sorted({*FAULTS, *PROCESS_FAULTS} - NOT_YET.keys())
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


def apply(scene: Scene, step: Step) -> tuple[bool, str]:
    """Apply the fault; returns whether there was something that it could be applied to, and what was done."""
    try:
        if step.fault in PROCESS_FAULTS:
            done = PROCESS_FAULTS[step.fault](scene, step)
        else:
            done = FAULTS[step.fault](scene.gateway, step)
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


def unreachable_s(step: Step) -> float | None:
    """For how long at least the step keeps a trader from protecting anything; None if it does not.

    Until the fault ends, that is, and so many seconds since it began.
    """
    if step.fault in ("drop", "restart"):
        return step.amount
    if step.fault == "silence":
        return None if _silent_kind(step) in HARMLESS else 0.0
    return 0.0 if step.fault in ("silent drop", "outage") else None


def _silent_kind(step: Step) -> str:
    return str(_pick(step, list(SILENCED)))


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
    kind = _silent_kind(step)
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


def _quirk(gateway: RunningGateway, step: Step) -> str:
    """Switch a quirk on for the steps to come, or off if it is on."""
    allowed = [quirk for quirk in QUIRKS if f"quirk {quirk}" not in NOT_YET]
    name, _, value = _pick(step, allowed).partition("=")
    if name in gateway.ctl("quirk")["quirks"]:
        gateway.ctl("quirk", name=name, off=True)
        return f"quirk {name} off"
    gateway.ctl("quirk", name=name, value=value)
    return f"quirk {name} {value}".rstrip()


def _sleep(scene: Scene, step: Step) -> str:
    seconds = 1.0 + 4 * step.amount
    scene.sleep_trader(seconds)
    return f"the trader slept for {seconds:.1f} s"


def _second_trader(scene: Scene, _: Step) -> str:
    scene.start_second()
    return "a second trader"


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
    "quirk": _quirk,
}
PROCESS_FAULTS: dict[str, Callable[[Scene, Step], str]] = {"sleep": _sleep, "second trader": _second_trader}
