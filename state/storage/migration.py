"""Files of schema version 1, brought to the present one while they are read.

Version 1 had these facts in texts only: why a symbol was halted, that a cancel was sent, how IBKR refused an order,
that the connection was lost. Version 2 has fields for them, which are derived from those texts here. Nothing else
in the program decides by a text.

A state file has its version in it. An event of version 1 is recognised by a key that it lacks.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from state.domain.events import AlertRaised, ConnectionChanged, Event
from state.domain.model import HaltCause, Timestamp, TraderState

Values = dict[str, Any]  # a decoded JSON object
Data = bytes | msgspec.Raw
_CLOSE_REASONS = frozenset({"time_rule", "end_of_day", "flatten", "partial_1r", "partial_target1"})
_CANCEL_SENT = "timeout: cancel sent"
_CONNECTION_KEY = "line"  # of the alert about a lost connection
_RETURNED = " It is back since "
_MESSAGE_CODE = re.compile(r"(\d+): ")


def migrate_state(content: Values) -> Values:
    """The content of a version 1 state file, or of a state inside an event, with the fields of version 2.

    Raises KeyError, TypeError, AttributeError or ValueError for content that is no state.
    """
    halted: dict[str, str] = content["halted"]
    return {
        **content,
        "orders": {ref: _order(order) for ref, order in content["orders"].items()},
        "halt_causes": {symbol: _halt_cause(reason) for symbol, reason in halted.items()},
        "connection": {**content["connection"], "lost_at": _lost_at(content["alerts"])},
    }


def _order(order: Values) -> Values:
    refusal, code = _refusal(order) if order["status"] == "rejected" else (None, None)
    return {
        **order,
        "closing": order["role"] == "stop" and order["reason"] in _CLOSE_REASONS,
        "cancel_reason": "timeout" if order["text"] == _CANCEL_SENT else None,
        "refusal": refusal,
        "refusal_code": code,
    }


def _refusal(values: Values) -> tuple[str, int | None]:
    """How IBKR refused an order, from the broker's status and the text of an order or of its last change."""
    code = _MESSAGE_CODE.match(values["text"])
    kind = "inactive" if values["broker_status"] == "Inactive" else "message"
    return kind, int(code[1]) if code is not None else None


def _halt_cause(reason: str) -> HaltCause:
    if reason.startswith("an unexpected error: "):
        return "defect"
    if reason.startswith("two trades hold"):
        return "two_trades"
    return "split" if "a split is suspected" in reason else "conflict"


def _lost_at(alerts: list[Values]) -> str | None:
    """When the connection was lost, if an alert says so and not that it returned."""
    times = (alert["time"] for alert in alerts if _tells_of_loss(alert["key"], alert["text"]))
    return next(times, None)


def _tells_of_loss(key: str, text: str) -> bool:
    return key == _CONNECTION_KEY and _RETURNED not in text


def migrate_event(kind: str, data: Data) -> tuple[str, Data]:
    """The kind and content that version 2 has for an event of one of CHANGED_KINDS; unchanged for one of version 2.

    Raises msgspec.DecodeError, KeyError, TypeError, AttributeError or ValueError for content that is no event.
    """
    new_key, migrate = _EVENTS[kind]
    if new_key in bytes(data):  # inside a text the quotes of such a key would be escaped
        return kind, data
    kind, values = migrate(msgspec.json.decode(data))
    return kind, msgspec.json.encode(values)


def _order_modify_intended(values: Values) -> tuple[str, Values]:
    return "OrderModifyIntended", {**values, "closing": values["reason"] in _CLOSE_REASONS}


def _order_changed(values: Values) -> tuple[str, Values]:
    if values["text"] == _CANCEL_SENT:
        return "OrderCancelSent", {"time": values["time"], "order_ref": values["order_ref"], "reason": "timeout"}
    refusal, code = _refusal(values) if values["status"] == "rejected" else (None, None)
    return "OrderChanged", {**values, "refusal": refusal, "refusal_code": code}


def _symbol_halted(values: Values) -> tuple[str, Values]:
    return "SymbolHalted", {**values, "cause": _halt_cause(values["reason"])}


def _state_restored(values: Values) -> tuple[str, Values]:
    return "StateRestored", {**values, "state": migrate_state(values["state"])}


# By kind: a key that version 1 does not have, and what adds it.
_EVENTS: dict[str, tuple[bytes, Callable[[Values], tuple[str, Values]]]] = {
    "OrderModifyIntended": (b'"closing":', _order_modify_intended),
    "OrderChanged": (b'"refusal":', _order_changed),
    "SymbolHalted": (b'"cause":', _symbol_halted),
    "StateRestored": (b'"halt_causes":', _state_restored),
}


CHANGED_KINDS = frozenset(_EVENTS)
KINDS_OF_LOSS = frozenset({AlertRaised.__name__, ConnectionChanged.__name__})
"""The events that `complete_lost_at` is for."""


def complete_lost_at(state: TraderState, event: Event, data: Data) -> None:
    """Set `lost_at` of the connection after an event of version 1, which recorded a loss as an alert only.

    data: the event as the journal holds it. Version 2 records the loss in ConnectionChanged, before the alert, so
    that an event of version 2 changes nothing here.
    """
    connection = state.connection
    if connection.lost_at is not None or (connection.connected and connection.ready):
        return
    if isinstance(event, AlertRaised):
        if _tells_of_loss(event.key, event.text):
            connection.lost_at = event.time
    elif isinstance(event, ConnectionChanged) and b'"lost_at":' not in bytes(data):
        connection.lost_at = _time_of_loss(state)


def _time_of_loss(state: TraderState) -> Timestamp | None:
    return next((alert.time for alert in state.alerts if _tells_of_loss(alert.key, alert.text)), None)
