"""A sample logs folder: a protected position, a partial exit, two snapshots, a journal and a checkpoint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from crashlab.powerloss import ACCOUNT, DATE, GATEWAY, OPEN, History
from state.domain import events as ev
from state.domain.model import EntryPlan, Order, OrderReason, Role
from state.manager import StateManager
from state.storage.checkpoints import CheckpointStore

ENTRY = "ps60-TSLA-L-E1-0h4kq9x2mz"
STOP = "ps60-TSLA-L-S1-0h4kq9x2mz.0h4kq9x2n1"
EXIT = "ps60-TSLA-L-X1-0h4kq9x2mz.0h4kr1c7p3"
PLAN = EntryPlan(
    side="LONG",
    pivot=100.0,
    target1=101.0,
    target2=102.0,
    target3=103.0,
    stop_price=99.0,
    attempt=1,
    path="momentum",
)


class SampleManager(StateManager):
    """The real manager, with a small journal, so that damage often hits its records."""

    segment_bytes = 16384


def write_sample(logs: Path) -> History:
    """Write the folder; returns the state after each event."""
    history = History()
    with SampleManager.open(logs, "20251006-134500-aaaa") as manager:
        manager.begin(DATE, ACCOUNT, GATEWAY, OPEN)
        history.note(manager)
        for number, event in enumerate(_events()):
            manager.record(event)
            history.note(manager)
            if number in (3, 6):
                manager.save_blocking()
        CheckpointStore(manager.folder, manager.session_id).write(manager.state, {}, {}, datetime.now(UTC))
        manager.flush()
    return history


def _events() -> list[ev.Event]:
    return [
        _intended(ENTRY, 1),
        _intended(STOP, 2),
        _filled("0001.01.01", ENTRY, "BOT", 100, 100.5),
        ev.CommissionSeen(time=OPEN, exec_id="0001.01.01", commission=1.0),
        ev.OrderAcknowledged(time=OPEN, order_ref=STOP, perm_id=7001, order_id=2),
        _intended(EXIT, 3),
        _filled("0002.01.01", EXIT, "SLD", 50, 101.5),
        ev.OrderModifyIntended(
            time=OPEN, order_ref=STOP, quantity=50, stop_price=100.5, reason="breakeven_stop_hit"
        ),
        ev.AlertRaised(time=OPEN, text="the last event", key="last"),
    ]


def _intended(ref: str, order_id: int) -> ev.OrderIntended:
    roles: dict[str, Role] = {ENTRY: "entry", STOP: "stop", EXIT: "exit"}
    reasons: dict[Role, OrderReason] = {"entry": "entry", "stop": "stop_loss_hit", "exit": "partial_1r"}
    role = roles[ref]
    order = Order(
        order_ref=ref,
        role=role,
        symbol="TSLA",
        con_id=76792991,
        quantity=50 if role == "exit" else 100,
        trade_id=ENTRY,
        action="BUY" if role == "entry" else "SELL",
        order_type="STP" if role == "stop" else "MKT",
        order_id=order_id,
        client_id=2001,
        intended_at=OPEN,
        stop_price=99.0 if role == "stop" else None,
        parent_ref=ENTRY if role == "stop" else "",
        reason=reasons[role],
        plan=PLAN if role == "entry" else None,
    )
    return ev.OrderIntended(time=OPEN, order=order)


def _filled(exec_id: str, ref: str, side: Literal["BOT", "SLD"], shares: int, price: float) -> ev.ExecutionSeen:
    return ev.ExecutionSeen(
        time=OPEN,
        exec_id=exec_id,
        order_ref=ref,
        symbol="TSLA",
        con_id=76792991,
        side=side,
        shares=shares,
        price=price,
        executed_at=OPEN + timedelta(seconds=shares),
        perm_id=7001,
    )
