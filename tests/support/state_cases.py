"""Helpers of the state's tests: the events of a trade in TSLA, and a state they are applied to."""

import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec

from state.domain import events as ev
from state.domain.apply import apply, new_state
from state.domain.model import (
    EntryPlan,
    Order,
    OrderReason,
    Position,
    Role,
    Side,
    TraderState,
    entry_action,
    exit_action,
)
from state.domain.recording import encode_event
from state.manager import Begun, StateManager
from state.storage.codec import decode_event
from state.storage.journal import read_journal

DATE, ACCOUNT, GATEWAY = "2025-10-06", "DU1234567", "127.0.0.1:17497"
TRADE = "ps60-TSLA-L-E1-0h4kq9x2mz"
STOP = "ps60-TSLA-L-S1-0h4kq9x2mz.0h4kq9x2n1"
EXIT = "ps60-TSLA-L-X1-0h4kq9x2mz.0h4kr1c7p3"
OPEN = datetime(2025, 10, 6, 13, 45, tzinfo=UTC)  # 09:45 in New York
Bought = Literal["BOT", "SLD"]
REASONS: dict[Role, OrderReason] = {"entry": "entry", "stop": "stop_loss_hit", "exit": "partial_1r"}


def at(seconds: float) -> datetime:
    """A moment of the session, counted from 09:45 in New York."""
    return OPEN + timedelta(seconds=seconds)


def plan(side: Side = "LONG", pivot: float = 100.0) -> EntryPlan:
    step = 1.0 if side == "LONG" else -1.0
    return EntryPlan(
        side=side,
        pivot=pivot,
        target1=pivot + step,
        target2=pivot + 2 * step,
        target3=pivot + 3 * step,
        stop_price=pivot - step,
        attempt=1,
        path="momentum",
    )


def intended(
    ref: str = TRADE,
    role: Role = "entry",
    quantity: int = 100,
    *,
    trade: str = TRADE,
    side: Side = "LONG",
    symbol: str = "TSLA",
    reason: OrderReason | None = None,
    stop: float | None = None,
    pivot: float = 100.0,
    order_id: int = 1,
) -> ev.OrderIntended:
    """An order about to be sent; by default the entry."""
    order = Order(
        order_ref=ref,
        role=role,
        symbol=symbol,
        con_id=76792991,
        quantity=quantity,
        trade_id=trade,
        action=entry_action(side) if role == "entry" else exit_action(side),
        order_type="STP" if role == "stop" else "MKT",
        order_id=order_id,
        client_id=2001,
        intended_at=at(0),
        stop_price=stop if stop is not None or role != "stop" else plan(side, pivot).stop_price,
        parent_ref=trade if role == "stop" else "",
        reason=reason or REASONS[role],
        plan=plan(side, pivot) if role == "entry" else None,
    )
    return ev.OrderIntended(time=at(0), order=order)


def bracket(quantity: int = 100, side: Side = "LONG") -> list[ev.OrderIntended]:
    """An entry, its stop, and an exit that may come."""
    return [
        intended(quantity=quantity, side=side),
        intended(STOP, "stop", quantity, side=side, order_id=2),
        intended(EXIT, "exit", max(1, quantity // 2), side=side, order_id=3),
    ]


def executed(
    exec_id: str,
    ref: str,
    bought: Bought,
    shares: int,
    price: float,
    seconds: float,
    *,
    trade: str = "",
    symbol: str = "TSLA",
) -> ev.ExecutionSeen:
    """An execution. trade: the one that a manual execution changed."""
    return ev.ExecutionSeen(
        time=at(seconds),
        exec_id=exec_id,
        order_ref=ref,
        symbol=symbol,
        con_id=76792991,
        side=bought,
        shares=shares,
        price=price,
        executed_at=at(seconds),
        perm_id=0,
        trade_id=trade,
    )


def commission(exec_id: str, amount: float) -> ev.CommissionSeen:
    return ev.CommissionSeen(time=at(9000), exec_id=exec_id, commission=amount)


def adjusted(held: int, price: float, seconds: float, symbol: str = "TSLA") -> ev.PositionAdjusted:
    return ev.PositionAdjusted(time=at(seconds), symbol=symbol, held=held, price=price, reason="unknown")


def apply_events(state: TraderState, *events: ev.Event) -> TraderState:
    """Apply events as the journal holds them."""
    for event in events:
        apply(state, decode_event(event.kind(), encode_event(event)), state.sequence + 1)
    return state


def state_after(*events: ev.Event) -> TraderState:
    """A new state after these events."""
    return apply_events(new_state(DATE, ACCOUNT, GATEWAY), *events)


def trade(state: TraderState, trade_id: str = TRADE) -> Position:
    """A trade of the state, open or closed."""
    return next(found for found in state.trades if found.trade_id == trade_id)


def plain(state: TraderState) -> object:
    """Every field of the state, for comparisons that name the one that differs."""
    return msgspec.to_builtins(state)


def signed(content: dict[str, Any]) -> bytes:
    """Content with a right checksum."""
    content.pop("checksum", None)
    content["checksum"] = f"crc32:{zlib.crc32(msgspec.json.encode(content)):08x}"
    return msgspec.json.encode(content)


def opened(logs: Path, session: str = "s1") -> StateManager:
    return StateManager.open(logs, session)


def begun(
    manager: StateManager, date: str = DATE, account: str = ACCOUNT, gateway: str = GATEWAY, *, fresh: bool = False
) -> Begun:
    return manager.begin(date, account, gateway, at(0), fresh=fresh)


def run(logs: Path, *events: ev.Event, save: bool = True, session: str = "s1") -> TraderState:
    """One run: start, record, save if asked for, stop. Returns the state at the end."""
    with opened(logs, session) as manager:
        begun(manager)
        for event in events:
            manager.record(event)
        manager.flush()
        if save:
            manager.save_blocking()
        return manager.state


def reloaded(logs: Path) -> StateManager:
    """What a start loads; the lock is released at once."""
    manager = opened(logs, "look")
    manager.close()
    return manager


def replayed(logs: Path, date: str = DATE) -> TraderState:
    """The state that the journal alone gives."""
    state = new_state(date, ACCOUNT, GATEWAY)
    for record in read_journal(logs / "journal" / date).records:
        apply(state, decode_event(record.type, record.data), record.sequence)
    return state


def segment(logs: Path, number: int = 1, date: str = DATE) -> Path:
    return logs / "journal" / date / f"segment-{number:08d}.jsonl"


def two_generations(logs: Path) -> TraderState:
    """A backup before the entry's fill, a main after it, and one event more in the journal alone."""
    with opened(logs) as manager:
        begun(manager)
        for order in bracket():
            manager.record(order)
        manager.save_blocking()
        manager.record(executed("a.01", TRADE, "BOT", 100, 100.0, 10))
        manager.save_blocking()
        manager.record(ev.Paused(time=at(20), reason="lunch"))
        manager.flush()
        return manager.state
