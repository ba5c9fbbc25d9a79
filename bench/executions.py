"""What an execution costs, and a comparison and a restart, early and late in a day of thousands of executions.

In the core: the state of a day with so many executions of one entry that is still filling, and the engine's own
handling of a message. The turn's events are applied; nothing is written or sent.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from bench.cases import ACCOUNT, DATE, GATEWAY, START
from bench.measure import Call, Method, Row, interleave
from bench.restart import ROOT, measure, restart_rows, until_passed
from paper_gateway.testing import RunningGateway
from state.domain.apply import new_state
from state.domain.events import OrderAcknowledged, OrderIntended
from state.domain.model import EntryPlan, Order, TraderState
from state.domain.recording import record
from trader.broker.port import (
    AccountValues,
    BrokerExecution,
    BrokerOrder,
    BrokerPosition,
    CommissionFact,
    ExecutionFact,
    Part,
    PartAnswer,
)
from trader.config.sections import Config
from trader.core import comparison, engine
from trader.core.messages import Moment, PartAnswered
from trader.core.turn import Settings, Turn
from trader.core.view import View

SYMBOL, CON_ID = "TSLA", 76792991
ENTRY, STOP = "ps60-TSLA-L-E1-6aehh53yrs", "ps60-TSLA-L-S1-6aehh53yrs.6aehh53yrt"
SHARES = 1_000_000
FEW = 10
TAKING_IN = "taking in an execution and its commission"
COMPARING = "a comparison, in the event loop"
COMPARISON_MS = 10.0
KNOWN = 10  # executions that the killed trader of a restart has seen


# In the core


class Day:
    """The core after so many executions of one entry."""

    def __init__(self, executions: int) -> None:
        self.state = new_state(DATE, ACCOUNT, GATEWAY)
        self.view = View(phase="trading", executions_known=True)
        self._settings = Settings(config=Config(), account=ACCOUNT, setups={})
        self._count = 0
        _announce(self.state)
        for _ in range(executions):
            self.take_execution()

    def take_execution(self) -> None:
        """One share more, and its commission."""
        self._count += 1
        execution = _execution(self._count)
        engine.handle(self._turn(), [ExecutionFact(execution), CommissionFact(execution.exec_id, 1.0)])

    def compare(self) -> None:
        """Ask IBKR, and decide on its answers: two orders, one position, and the executions of the last minute."""
        self.view.comparison.answers.clear()
        comparison.ask(self._turn())
        turn = self._turn()
        engine.handle(
            turn, [PartAnswered(part, self.view.activity, rows) for part, rows in self._answers().items()]
        )
        assert self.state.connection.ready, self.state.connection.reason

    def _turn(self) -> Turn:
        now = _time(self._count) + timedelta(minutes=5)
        moment = Moment(now=now, real_s=float(self._count), wall_ms=0, free_order_id=3)
        return Turn(self.state, self.view, self._settings, moment)

    def _answers(self) -> dict[Part, PartAnswer]:
        last = range(max(1, self._count - 2), self._count + 1)
        return {
            "positions": (BrokerPosition(ACCOUNT, SYMBOL, CON_ID, self._count, 100.0),),
            "open_orders": tuple(_at_ibkr(order, self._count) for order in self.state.orders.values()),
            "completed_orders": (),
            "executions": tuple(_execution(number) for number in last),
            "account": (AccountValues(ACCOUNT, 1e6, 4e6, 1e6),),
        }


def _time(number: int) -> datetime:
    return START + timedelta(seconds=number // 4)


def _announce(state: TraderState) -> None:
    """An entry with its stop, both accepted by IBKR."""
    plan = EntryPlan(
        side="LONG",
        pivot=99.0,
        target1=102.0,
        target2=104.0,
        target3=106.0,
        stop_price=98.0,
        attempt=1,
        path="bench",
    )
    for number, ref in enumerate((ENTRY, STOP), 1):
        is_entry = ref == ENTRY
        order = Order(
            order_ref=ref,
            role="entry" if is_entry else "stop",
            symbol=SYMBOL,
            con_id=CON_ID,
            action="BUY" if is_entry else "SELL",
            quantity=SHARES,
            order_type="MKT" if is_entry else "STP",
            trade_id=ENTRY,
            order_id=number,
            client_id=Config().gateway.client_id,
            intended_at=START,
            stop_price=None if is_entry else 98.0,
            parent_ref="" if is_entry else ENTRY,
            reason="entry" if is_entry else "stop_loss_hit",
            plan=plan if is_entry else None,
        )
        record(state, OrderIntended(time=START, order=order))
        record(state, OrderAcknowledged(time=START, order_ref=ref, perm_id=number, order_id=number))


def _at_ibkr(order: Order, filled: int) -> BrokerOrder:
    return BrokerOrder(
        order_ref=order.order_ref,
        perm_id=order.perm_id,
        order_id=order.order_id,
        client_id=order.client_id,
        account=ACCOUNT,
        symbol=SYMBOL,
        con_id=CON_ID,
        action=order.action,
        quantity=SHARES,
        filled=filled if order.role == "entry" else 0,
        order_type=order.order_type,
        stop_price=order.stop_price,
        status="Submitted" if order.role == "entry" else "PreSubmitted",
    )


def _execution(number: int) -> BrokerExecution:
    return BrokerExecution(
        exec_id=f"0000e0d5.{number:08x}.01.01",
        order_ref=ENTRY,
        perm_id=1,
        order_id=1,
        client_id=Config().gateway.client_id,
        account=ACCOUNT,
        symbol=SYMBOL,
        con_id=CON_ID,
        side="BOT",
        shares=1,
        price=100.0 + number % 7 / 100,
        time=_time(number),
        cum_quantity=number,
        commission=1.0,
    )


def rows(folder: Path, rounds: int, calls: int, many: int) -> list[Row]:
    """The rows about the core, at FEW, an intermediate number of, and `many` executions."""
    return [
        *_taking_in(folder / "taking-in", rounds, calls, many),
        *_comparing(folder / "compare", rounds, calls, many),
    ]


def _taking_in(folder: Path, rounds: int, calls: int, many: int) -> list[Row]:
    names = {n: f"execution {n:,}" for n in (FEW, many)}
    found = interleave([_taker(name, n) for n, name in names.items()], folder, rounds, calls)
    few, late = names.values()
    return [
        Row(TAKING_IN, few, _us(found.middle(few)), "µs"),
        Row(TAKING_IN, late, _us(found.middle(late)), "µs", few, found.ratio(late, few), 1.2),
    ]


def _taker(name: str, executions: int) -> Method:
    """Each call takes in one execution more. A day is used for ten, so that few stay few."""

    @contextmanager
    def opened(_: Path) -> Iterator[Call]:
        days = _days(executions)
        yield lambda: next(days).take_execution()

    return Method(name, opened)


def _days(executions: int) -> Iterator[Day]:
    """The same day again and again; a small one is made anew before it has grown, outside of what is measured."""
    if executions > FEW:
        day = Day(executions)
        while True:
            yield day
    while True:
        spare = [Day(executions) for _ in range(64)]
        for day in spare:
            yield from (day for _ in range(FEW))


def _comparing(folder: Path, rounds: int, calls: int, many: int) -> list[Row]:
    counts = [FEW, max(FEW + 1, many // 10), many]
    names = {n: f"after {n:,} executions" for n in counts}
    found = interleave([_comparer(name, n) for n, name in names.items()], folder, rounds, calls)
    few = names[FEW]
    made = [Row(COMPARING, few, _ms(found.middle(few)), "ms", target=COMPARISON_MS)]
    for n in counts[1:]:
        name = names[n]
        made.append(Row(COMPARING, name, _ms(found.middle(name)), "ms", few, found.ratio(name, few)))
    made.append(Row(COMPARING, f"{names[many]}, the longest round", _ms(max(found.values[names[many]])), "ms"))
    made[-1].target = COMPARISON_MS
    return made


def _comparer(name: str, executions: int) -> Method:
    @contextmanager
    def opened(_: Path) -> Iterator[Call]:
        yield Day(executions).compare

    return Method(name, opened)


def _us(seconds: float | None) -> float | None:
    return seconds * 1e6 if seconds is not None else None


def _ms(seconds: float | None) -> float | None:
    return seconds * 1e3 if seconds is not None else None


# A restart

PLACE = """
import asyncio, sys
from ib_insync import IB, Order, Stock
async def main():
    port, shares, entry_ref, stop_ref = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    ib = IB()
    await ib.connectAsync("127.0.0.1", port, clientId=2001, timeout=10)
    (stock,) = await ib.qualifyContractsAsync(Stock("TSLA", "SMART", "USD"))
    first = ib.client.getReqId()
    common = {"totalQuantity": shares, "account": ib.managedAccounts()[0]}
    entry = Order(orderId=first, action="BUY", orderType="MKT", orderRef=entry_ref, transmit=False, **common)
    stop = Order(orderId=first + 1, action="SELL", orderType="STP", auxPrice=1.0, tif="GTC", parentId=first,
                 orderRef=stop_ref, **common)
    ib.placeOrder(stock, entry)
    trade = ib.placeOrder(stock, stop)
    while trade.orderStatus.status != "PreSubmitted":
        await asyncio.sleep(0.05)
asyncio.run(main())
"""


def restarts(folder: Path, rounds: int, executions: int) -> list[Row]:
    """A restart after so many executions of an own entry while the trader was dead."""
    folder.mkdir(parents=True)
    logs, kept = folder / "logs", folder / "logs-of-the-killed-trader"

    def restore() -> None:
        shutil.rmtree(logs)
        shutil.copytree(kept, logs)

    with RunningGateway("--speed", "1", "--start", "11:00") as gateway:
        _fill_while_dead(gateway, logs, executions)
        shutil.copytree(logs, kept, ignore=shutil.ignore_patterns("*.sock"))
        taken = measure(gateway, logs, rounds, positions=1, prepare=restore)
    return restart_rows(f"kill -9 to protected, {executions:,} own executions meanwhile", taken, 1.5)


def _fill_while_dead(gateway: RunningGateway, logs: Path, executions: int) -> None:
    """An entry of which a trader has seen KNOWN executions; the others come after its end."""
    gateway.ctl("price", symbol=SYMBOL, price=2.0)  # so that its shares are within the buying power
    gateway.ctl("hold", symbol=SYMBOL)
    command = [sys.executable, "-c", PLACE, str(gateway.port), str(executions + KNOWN), ENTRY, STOP]
    subprocess.run(command, check=True, cwd=ROOT)
    for _ in range(KNOWN):
        gateway.ctl("fill", order=ENTRY, shares=1)
    until_passed(gateway.port, logs)
    for _ in range(executions):
        gateway.ctl("fill", order=ENTRY, shares=1)
