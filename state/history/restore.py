"""Restoring a checkpoint: what would change, and the change itself as an event of the journal.

The restored state does not overwrite the history. Under the lock it becomes a `StateRestored` event with the next
sequence, then the new main snapshot. So every sequence is used once, the former main becomes the backup, the
journal can still be replayed from its first event, and no order id is used again. Orders sent after the checkpoint
stay known with an unproven status; the next start compares them and the restored state with IBKR.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from state.domain.events import AlertRaised, SessionEnded, StateRestored
from state.domain.model import Position, TraderState
from state.errors import StateError
from state.manager import StateManager
from state.storage.checkpoints import Checkpoint
from state.storage.sessions import make_session_id


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: the present value, and the checkpoint's."""

    what: str
    now: str
    then: str


def differences(now: TraderState | None, then: TraderState) -> list[Change]:
    """What would change if `then` replaced `now`, the most important first."""
    old, new = _facts(now) if now is not None else {}, _facts(then)
    return [
        Change(what, old.get(what, "-"), new.get(what, "-"))
        for what in dict.fromkeys((*old, *new))
        if old.get(what) != new.get(what)
    ]


def refuse_other(now: TraderState | None, then: TraderState) -> None:
    """StateError if the checkpoint is of another date, account or gateway than the state on disk (invariant 8)."""
    if now is None:
        return
    for name, current, other in (
        ("trading date", now.trading_date, then.trading_date),
        ("account", now.account, then.account),
        ("gateway", now.gateway, then.gateway),
    ):
        if current != other:
            raise StateError(
                f"The checkpoint's {name} is {other}, and that of the state on disk is {current}.",
                "Take a checkpoint of the same date, account and gateway; `checkpoints show` prints this one.",
            )


def restore(logs_dir: Path, checkpoint: Checkpoint) -> int:
    """Make a checkpoint the newest state of the logs folder; returns its new sequence. Blocking.

    Raises:
        LockHeldError: a trader is running.
        StateError: it is of another date, account or gateway.
        SnapshotFailedError, SyncFailedError, DiskError: the disk refused; what was there is unchanged.
    """
    then = checkpoint.state
    session_id = make_session_id(datetime.now(UTC))
    with StateManager.open(logs_dir, session_id) as manager:
        refuse_other(manager.loaded.state, then)
        current = manager.loaded.state
        now = (current.time if current is not None else None) or then.time or datetime.now(UTC)
        manager.begin(then.trading_date, then.account, then.gateway, now)
        source = checkpoint.info.path
        manager.record(StateRestored(time=now, source=source, state=then))
        text = f"The operator restored the checkpoint {source}; the next start compares it with IBKR."
        manager.record(AlertRaised(time=now, text=text, key="restored"))
        ended = SessionEnded(time=now, session_id=session_id, status="completed", reason=f"restored {source}")
        manager.record(ended)
        manager.save_blocking()
        return manager.state.sequence


def _facts(state: TraderState) -> dict[str, str]:
    facts = {f"position {symbol}": _position(position) for symbol, position in state.positions.items()}
    facts |= {f"closed {ref}": f"{p.exit_reason} {p.realized_pnl:+.2f}" for ref, p in state.closed.items()}
    facts["daily P&L"] = f"{state.daily_pnl:+.2f}"
    facts |= {f"order {ref}": f"{o.status}, {o.filled} of {o.quantity}" for ref, o in state.orders.items()}
    facts |= {f"attempts {row.symbol} {row.side} {row.pivot:g}": str(row.count) for row in state.attempts}
    risk = state.risk
    facts["paused"] = risk.paused_reason or "yes" if risk.paused else "no"
    facts["circuit breaker"] = risk.breaker_reason or "tripped" if risk.breaker_tripped else "no"
    facts["daily loss limit"] = "reached" if risk.loss_limit_hit else "not reached"
    facts |= {f"halted {symbol}": why for symbol, why in state.halted.items()}
    facts |= {f"foreign {symbol}": f"{p.quantity} shares" for symbol, p in state.foreign.items()}
    facts |= {f"blocked by {name}": str(count) for name, count in state.filter_blocks.items()}
    facts |= {f"entry path {name}": str(count) for name, count in state.entry_paths.items()}
    facts["session clock"] = state.time.isoformat(timespec="seconds") if state.time is not None else "-"
    facts["event"] = str(state.sequence)
    return facts


def _position(position: Position) -> str:
    return f"{position.quantity:+d} at {position.entry_price:.2f}, stop {position.stop_price:.2f}"
