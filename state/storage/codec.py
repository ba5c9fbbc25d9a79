"""The state as the JSON file that people read, and events as the journal's bytes.

The file has keys for its readers (`positions`, `attempt_counts`, `analytics`, `remaining` as the fraction left,
`managed`). They are derived from the model at each write. A checksum over the content detects a damaged file; the
layout of the JSON does not matter.
"""

import zlib
from datetime import datetime
from typing import Any

import msgspec

from state.domain.apply import apply
from state.domain.events import Event
from state.domain.invariants import check_state
from state.domain.model import Position, TraderState
from state.domain.recording import DECODERS
from state.errors import StateError, TraderError
from state.storage.migration import CHANGED_KINDS, KINDS_OF_LOSS, complete_lost_at, migrate_event, migrate_state

SCHEMA_VERSION = 2
_DERIVED_POSITION_KEYS = ("managed", "remaining", "quantity")
_encoder = msgspec.json.Encoder()
_INSTEAD = "Nothing to do: the backup, the journal and IBKR are used instead."


class BadContentError(StateError):
    """The bytes are not a valid state or event: torn, changed, of the wrong types, or breaking an invariant."""


class NewerSchemaError(StateError):
    """Written by a newer version of this program. The file is not damaged, so it must not be touched."""


def decode_event(kind: str, data: bytes | msgspec.Raw) -> Event:
    """An event from the journal. Raises BadContentError for an unknown kind or invalid content."""
    if kind not in DECODERS:
        raise BadContentError(
            f"The journal holds an event of the unknown kind {kind!r}.",
            "It was written by another version: start with the version that wrote it.",
        )
    try:
        if kind in CHANGED_KINDS:
            kind, data = migrate_event(kind, data)
        return DECODERS[kind].decode(data)
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadContentError(
            f"A {kind} event in the journal cannot be read: {error}.",
            "Keep the logs folder; IBKR's own records are used instead.",
        ) from error


def replay_event(state: TraderState, kind: str, data: bytes | msgspec.Raw, sequence: int) -> None:
    """Apply an event as the journal holds it, of this version or of an earlier one.

    Raises:
        BadContentError: it cannot be read.
        InvariantError: the sequence does not follow, or the event contradicts the state.
    """
    event = decode_event(kind, data)
    apply(state, event, sequence)
    if kind in KINDS_OF_LOSS:
        complete_lost_at(state, event, data)


def encode_state(state: TraderState, saved_at: datetime, checkpoint: msgspec.Struct | None = None) -> bytes:
    """The whole state as indented JSON with its checksum. `saved_at` is the system's clock, aware.

    checkpoint: what a checkpoint holds beside the state; `decode_state` includes it in the checksum and skips it.
    """
    content = _to_file(state, saved_at)
    if checkpoint is not None:
        content["checkpoint"] = msgspec.to_builtins(checkpoint)
    content["checksum"] = _checksum(content)
    return msgspec.json.format(_encoder.encode(content), indent=2) + b"\n"


def decode_state(data: bytes) -> tuple[TraderState, datetime]:
    """The state and when it was saved.

    Raises:
        BadContentError: torn, edited, of a wrong type or breaking an invariant.
        NewerSchemaError: from a newer version.
    """
    content = _verified(data)
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"The state file has schema version {version}; this program knows {SCHEMA_VERSION}.",
            "Start the newer version of the trader that wrote it.",
        )
    try:
        if version == 1:
            content = migrate_state(content)
        elif version != SCHEMA_VERSION:
            raise ValueError(f"the schema version is {version!r}")
        state, saved_at = _from_file(content)
        check_state(state)
    except TraderError as error:
        raise BadContentError(f"The state breaks a rule: {error.what}", error.hint) from error
    except (msgspec.ValidationError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadContentError(f"The state has a value of the wrong kind: {error}.", _INSTEAD) from error
    return state, saved_at


def _verified(data: bytes) -> dict[str, Any]:
    """The content of an undamaged file. Every version checks this first, so these checks never change.

    The checksum is over the content, not the layout. A repeated key would show a person one value and the program
    another. Such a file is refused, as its compact form is not what this program writes.
    """
    try:
        content = msgspec.json.decode(data)
        as_found = msgspec.json.format(data, indent=-1)
        as_written = _encoder.encode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadContentError(f"The state is not whole JSON: {error}.", _INSTEAD) from error
    if not isinstance(content, dict):
        raise BadContentError("The state is JSON, but not an object.", _INSTEAD)
    checksum = content.pop("checksum", None)
    if checksum != _checksum(content):
        raise BadContentError(
            f"The state's checksum is {checksum!r}, not {_checksum(content)!r}: it is damaged or was edited.",
            _INSTEAD,
        )
    if as_found != as_written:
        raise BadContentError("The state repeats a key, or is not written as this program writes.", _INSTEAD)
    return content


def _checksum(content: dict[str, Any]) -> str:
    return f"crc32:{zlib.crc32(_encoder.encode(content)):08x}"


def _to_file(state: TraderState, saved_at: datetime) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(state)
    positions = {
        symbol: _position_to_file(plain["positions"][symbol], position)
        for symbol, position in state.positions.items()
    }
    plain["closed"] = {trade_id: {**trade, "managed": True} for trade_id, trade in plain["closed"].items()}
    return {
        "timestamp": plain.pop("time"),
        "date": plain.pop("trading_date"),
        "saved_at": saved_at.isoformat(),
        "schema_version": SCHEMA_VERSION,
        "sequence": plain.pop("sequence"),
        "account": plain.pop("account"),
        "gateway": plain.pop("gateway"),
        "session_id": plain.pop("session_id"),
        "positions": positions,
        "attempt_counts": _attempt_counts(state),
        "analytics": {
            **_analytics(state),
            "filter_blocks": plain.pop("filter_blocks"),
            "entry_paths": plain.pop("entry_paths"),
        },
        **{key: value for key, value in plain.items() if key != "positions"},
    }


def _position_to_file(plain: dict[str, Any], position: Position) -> dict[str, Any]:
    return {**plain, "managed": True, "remaining": position.remaining, "quantity": position.quantity}


def _attempt_counts(state: TraderState) -> dict[str, dict[str, int | float]]:
    """By symbol, the latest pivot of each side; `attempts` has every pivot of the day."""
    counts: dict[str, dict[str, int | float]] = {}
    for row in state.attempts:
        entry = counts.setdefault(row.symbol, {"long_attempts": 0, "short_attempts": 0})
        side, pivot = ("long", "resistance") if row.side == "LONG" else ("short", "support")
        entry[f"{side}_attempts"], entry[pivot] = row.count, row.pivot
    return counts


def _analytics(state: TraderState) -> dict[str, Any]:
    results = [trade.realized_pnl for trade in state.closed.values()]
    return {
        "daily_pnl": round(state.daily_pnl, 2),
        "daily_pnl_estimated": state.daily_pnl_estimated,
        "total_trades": len(results),
        "winners": sum(pnl > 0 for pnl in results),
        "losers": sum(pnl < 0 for pnl in results),
        "commissions": round(sum(trade.commissions for trade in state.trades), 2),
    }


def _from_file(content: dict[str, Any]) -> tuple[TraderState, datetime]:
    model = dict(content)
    saved_at = datetime.fromisoformat(model.pop("saved_at"))
    if saved_at.tzinfo is None:
        raise ValueError("saved_at has no time zone")
    model["time"], model["trading_date"] = model.pop("timestamp"), model.pop("date")
    analytics = model.pop("analytics")
    model["filter_blocks"], model["entry_paths"] = analytics["filter_blocks"], analytics["entry_paths"]
    model.pop("attempt_counts")
    model.pop("schema_version")
    model.pop("checkpoint", None)
    fractions = {symbol: position["remaining"] for symbol, position in model["positions"].items()}
    model["positions"] = {
        symbol: {key: value for key, value in position.items() if key not in _DERIVED_POSITION_KEYS}
        for symbol, position in model["positions"].items()
    }
    state = msgspec.convert(model, TraderState)
    for symbol, position in state.positions.items():
        if abs(position.remaining - fractions[symbol]) > 1e-9:
            raise ValueError(f"{symbol}: remaining {fractions[symbol]} of {position.shares} is not {position.held}")
    return state, saved_at
