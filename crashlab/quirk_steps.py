"""The steps of the quirk matrix: how a real trader is brought to each, how it is caused, and when it is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from crashlab.compare import CLIENT_ID
from crashlab.processes import CALM, DATE, Trader, wait_for
from paper_gateway.errors import ControlError
from paper_gateway.testing import RunningGateway
from state.errors import TraderError
from state.storage.files import Folder
from trader.cli.control_client import ask

AT_THE_BREAK = ("--start", "09:46:00", "--date", DATE)
TRADED, ADOPTED = "TSLA", "AMD"
ADOPTED_SHARES = 40
PART = 10  # shares of an entry that fill at first
FAST, SLOW = 60.0, 1.0
STEADY = 30.0  # where the trader's clock matters: it learns of another speed some seconds later only
ENTRY_S = 5.0  # real seconds within which the sample scan's break is entered
START_S = 8.0  # for a start
ASK_AGAIN_S = 0.5
FLATTEN_AT = "09:48"


class Command:
    """A command of the operator, repeated until it is done: the trader may be killed or not be ready."""

    def __init__(self, logs: Path, name: str, **arguments: str) -> None:
        self.refusal = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._repeat, args=(logs, name, arguments), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Do not repeat it any more. A request that waits for its answer ends with the trader."""
        self._over.set()

    def _repeat(self, logs: Path, name: str, arguments: dict[str, Any]) -> None:
        while not self._over.is_set():
            try:
                with Folder.open(logs, create=False) as folder:
                    answer = ask(folder, name, arguments)
            except (TraderError, OSError) as error:
                answer = {"ok": False, "error": str(error)}
            if answer is not None and answer.get("ok"):
                self.refusal = ""
                return
            self.refusal = str(answer["error"]) if answer else "no trader runs"
            self._over.wait(ASK_AGAIN_S)


@dataclass
class Stage:
    """A gateway, the trader on it, and the position that a step is about. Prices in dollars."""

    gateway: RunningGateway
    trader: Trader
    symbol: str
    speed: float
    start_s: float = START_S
    shares: int = 0
    entry: float = 0.0
    stop: float = 0.0
    commands: list[Command] = field(default_factory=list)

    def held(self) -> int:
        """Signed shares at the gateway."""
        found = self.gateway.truth()["positions"]
        return sum(int(row["quantity"]) for row in found if row["symbol"] == self.symbol)

    def orders(self, *types: str) -> list[dict[str, Any]]:
        """The trader's live orders at the gateway, by their client id, because orderRefs may be cut."""
        return [
            order
            for order in self.gateway.truth()["open_orders"]
            if order["client_id"] == CLIENT_ID
            and order["symbol"] == self.symbol
            and order["status"] != "PendingCancel"
            and (not types or order["order_type"] in types)
        ]

    def covered(self) -> bool:
        """Whether stops for exactly what is held are live."""
        return sum(int(order["remaining"]) for order in self.orders("STP")) == abs(self.held())

    def flat(self) -> bool:
        """Whether nothing is held and no order of the trader is left."""
        return self.held() == 0 and not self.orders()

    def traded(self) -> bool:
        """Whether an order of the trader was filled."""
        return any(one["client_id"] == CLIENT_ID for one in self.gateway.truth()["executions"])

    def price(self, risks: float) -> None:
        """Make the market trade at the entry price and so many times the initial risk."""
        self.gateway.ctl("price", symbol=self.symbol, price=round(self.entry + risks * (self.entry - self.stop), 2))

    def managed(self) -> bool:
        """Whether the trader shows the position as its own."""
        rows = self.trader.status()["positions"] if self.trader.logs.is_dir() else []
        return any(row["symbol"] == self.symbol and row["managed"] for row in rows)

    def command(self, name: str, **arguments: str) -> None:
        """Give a command as the operator does; once, it goes on over a restart."""
        if not self.commands:
            self.commands.append(Command(self.trader.logs, name, **arguments))


@dataclass(frozen=True, slots=True)
class Step:
    """One column of the matrix.

    reach: bring the trader to where the step begins. begin: cause the step. again: twice a second, so that the
    cause stays. done: whether the step is completed.
    held_back: the rest of the entry fills a moment later, or while no trader runs.
    """

    name: str
    begin: Callable[[Stage], None]
    again: Callable[[Stage], None]
    done: Callable[[Stage], bool]
    reach: Callable[[Stage], None]
    gateway: tuple[str, ...] = AT_THE_BREAK
    speed: float = SLOW
    symbol: str = TRADED
    held_back: bool = False
    settings: dict[str, str] = field(default_factory=dict)


def _nothing(_: Stage) -> None:
    pass


def subscribed(stage: Stage) -> None:
    """Wait until the trader monitors its symbols."""
    stage.trader.wait_ready(stage.start_s)
    wait_for(lambda: "Subscribed to" in stage.trader.output(), what="the subscription")


def run_until(stage: Stage, reached: Callable[[], Any], bound_s: float) -> bool:
    """Run session time fast until the condition holds, then at the stage's speed. Whether it held in time."""
    stage.gateway.ctl("speed", speed=FAST if stage.speed == SLOW else stage.speed)
    deadline = time.monotonic() + bound_s
    while not (found := bool(reached())) and time.monotonic() < deadline:
        time.sleep(0.01)
    stage.gateway.ctl("speed", speed=stage.speed)
    return found


def _enter(stage: Stage) -> None:
    """Get into a position whose stop is live and known to the trader."""
    subscribed(stage)
    assert run_until(stage, lambda: stage.held() and stage.covered(), ENTRY_S), "no entry was filled"
    row = next(row for row in stage.gateway.truth()["positions"] if row["symbol"] == stage.symbol)
    stage.shares, stage.entry = int(row["quantity"]), float(row["avg_cost"])
    stage.stop = float(stage.orders("STP")[0]["aux_price"])
    wait_for(stage.managed, 6.0, "a position in the state")


# The steps


def _begin_entry(stage: Stage) -> None:
    """An entry that has filled in part; nothing more fills until `hold` ends."""
    stage.gateway.ctl("hold", symbol=stage.symbol)
    run_until(stage, lambda: stage.orders() or stage.traded(), ENTRY_S)
    for order in stage.orders("MKT"):
        with suppress(ControlError):  # it has ended meanwhile
            stage.gateway.ctl("fill", order=str(order["perm_id"]), shares=PART)


def _reach_part(stage: Stage) -> None:
    subscribed(stage)
    _begin_entry(stage)
    wait_for(lambda: stage.held() == PART and stage.managed(), 2.0, "an entry that has filled in part")


def _rest_cancelled(stage: Stage) -> bool:
    """The entry has ended, and what it filled is protected."""
    return not stage.orders("MKT") and stage.held() != 0 and stage.covered()


def _entered(stage: Stage) -> bool:
    """Filled, and protected or closed again."""
    return stage.traded() and (stage.flat() if stage.held() == 0 else stage.covered() and stage.managed())


def _to_target(stage: Stage) -> None:
    stage.price(1.05)


def _trailed(stage: Stage) -> bool:
    """At breakeven or beyond; the average cost contains the commission."""
    stops = stage.orders("STP")
    breakeven = stage.entry - 0.1 * (stage.entry - stage.stop)
    return stage.covered() and bool(stops) and all(stop["aux_price"] >= breakeven for stop in stops)


def _partial_taken(stage: Stage) -> bool:
    return stage.held() == stage.shares - stage.shares // 2 and stage.covered()


def _into_gain(stage: Stage) -> None:
    """Let the time rule's minute pass in gain."""
    _enter(stage)
    _pass(stage, timedelta(minutes=1, seconds=5))


def _pass(stage: Stage, duration: timedelta) -> None:
    """Let session time pass with the price where no rule acts."""
    ends = _session_time(stage) + duration
    while _session_time(stage) < ends:
        stage.price(0.5)
        time.sleep(0.02)


def _session_time(stage: Stage) -> datetime:
    return datetime.fromisoformat(stage.gateway.ctl("info")["time"])


def _out_of_gain(stage: Stage) -> None:
    stage.price(-0.3)


def _before_the_end(stage: Stage) -> None:
    """Up to some seconds before positions are closed for the day."""
    _enter(stage)
    hour, minute = map(int, FLATTEN_AT.split(":"))
    now = _session_time(stage)
    _pass(stage, now.replace(hour=hour, minute=minute, second=0, microsecond=0) - timedelta(seconds=3) - now)


def _flatten(stage: Stage) -> None:
    stage.command("flatten")


def _price_away(stage: Stage) -> None:
    """1.2 % in favour: beyond a stop that is moved through the price before."""
    stage.price(2.4)


def _flatten_far(stage: Stage) -> None:
    _price_away(stage)
    _flatten(stage)


def _hold_shares(stage: Stage) -> None:
    """A position that the trader did not enter."""
    stage.trader.wait_ready()
    stage.gateway.ctl("trade", symbol=ADOPTED, side="BUY", shares=ADOPTED_SHARES)
    stage.shares = ADOPTED_SHARES
    wait_for(
        lambda: any(row["symbol"] == ADOPTED for row in stage.trader.status()["positions"]), what="the foreign row"
    )


def _adopt(stage: Stage) -> None:
    stage.command("adopt", symbol=ADOPTED)


def _adopted(stage: Stage) -> bool:
    return stage.managed() and stage.covered() and stage.held() == ADOPTED_SHARES


def _flat(stage: Stage) -> bool:
    return stage.flat()


NO_PARTIAL = {"exit_first_partial_fraction": "0.001"}  # too few shares: the stop alone moves at 1 R
IMPATIENT = {"entry_order_timeout_s": "1"}
SOON = {"exit_time_rule_minutes": "1"}
EARLY = {"entry_window_end": FLATTEN_AT, "entry_flatten_at": FLATTEN_AT}

STEPS = {
    step.name: step
    for step in (
        Step("entry", _begin_entry, _nothing, _entered, reach=subscribed, held_back=True),
        Step("rest", _nothing, _nothing, _rest_cancelled, reach=_reach_part, settings=IMPATIENT),
        Step("trail", _to_target, _to_target, _trailed, reach=_enter, settings=NO_PARTIAL),
        Step("partial", _to_target, _to_target, _partial_taken, reach=_enter),
        Step("exit", _out_of_gain, _out_of_gain, _flat, reach=_into_gain, speed=STEADY, settings=SOON),
        Step("flatten", _flatten, _nothing, _flat, reach=_enter),
        Step("adopt", _adopt, _nothing, _adopted, reach=_hold_shares, gateway=CALM, symbol=ADOPTED),
    )
}
FAR = {
    "exit": Step("exit", _price_away, _nothing, _flat, reach=_before_the_end, speed=STEADY, settings=EARLY),
    "flatten": Step("flatten", _flatten_far, _nothing, _flat, reach=_enter),
}
"""The steps that need another way where the trader does not see the price."""


def step_of(name: str, *, far_price: bool) -> Step:
    """The step. far_price: see Case."""
    return FAR[name] if far_price and name in FAR else STEPS[name]


def switch_on(gateway: RunningGateway, quirk: str) -> None:
    """Switch a quirk on. AssertionError if the gateway refuses it, which is a defect of the matrix."""
    name, _, value = quirk.partition("=")
    try:
        gateway.ctl("quirk", name=name, value=value)
    except ControlError as error:
        raise AssertionError(error.message) from None
