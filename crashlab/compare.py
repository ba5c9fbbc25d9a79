"""Compares `status --json` with `ctl truth --json`, and lists the differences as messages. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from trader.core.orders.order_ref import parse_ref

ACCOUNT = "DU1234567"
CLIENT_ID = 2001
NO_STOPS = "0 live stops"


def differences(status: dict[str, Any], truth: dict[str, Any], client_id: int = CLIENT_ID) -> list[str]:
    """One message for each difference; empty if trader and gateway agree.

    Compared are: the shares of every symbol; for each managed position one live stop with the right side, size,
    permId, client id, account and price; no own stop without a position; the day's P&L to the cent; the number
    of attempts and of filled entries.
    """
    account = status["account"] or truth["account"]
    reported = {row["symbol"]: row["quantity"] for row in status["positions"]}
    held = {row["symbol"]: row["quantity"] for row in truth["positions"] if row["account"] == account}
    found = [
        f"{symbol}: {reported.get(symbol, 0):+d} shares in the trader, {held.get(symbol, 0):+d} at the gateway"
        for symbol in sorted({*reported, *held})
        if reported.get(symbol, 0) != held.get(symbol, 0)
    ]
    found += _stop_differences(status, truth, client_id)
    pnl = realized_pnl(truth, account)
    if abs(status["daily_pnl"] - pnl) > 0.0051:
        found.append(f"P&L: {status['daily_pnl']:.2f} in the trader, {pnl:.2f} at the gateway")
    counted = {(row["symbol"], row["side"]): row["count"] for row in status["attempts"]}
    if sum(counted.values()) != len(filled_entries(truth)):
        found.append(f"attempts: {counted} in the trader, filled entries: {sorted(filled_entries(truth))}")
    return found


def kind_of_failure(message: str) -> str:
    """How a difference is counted: `unprotected` for a position without its stop, else `wrong`."""
    return "unprotected" if f" {NO_STOPS}" in message else "wrong"


def live_stops(truth: dict[str, Any], symbol: str = "") -> list[dict[str, Any]]:
    """The trader's own live stops at the gateway, of one symbol or of all."""
    return [
        order
        for order in truth["open_orders"]
        if (ref := parse_ref(order["order_ref"])) is not None
        and ref.role == "stop"
        and symbol in ("", order["symbol"])
        and order["status"] not in ("PendingCancel", "Cancelled")
    ]


def realized_pnl(truth: dict[str, Any], account: str = ACCOUNT) -> float:
    """The P&L in dollars of the symbols that the trader entered, manual executions included."""
    own = {ref.symbol for text in filled_entries(truth) if (ref := parse_ref(text)) is not None}
    counting = [
        e for e in truth["executions"] if e["symbol"] in own and e["account"] == account and not e["superseded"]
    ]
    return round(sum(e["realized_pnl"] or 0.0 for e in counting), 2)


def filled_entries(truth: dict[str, Any]) -> set[str]:
    """OrderRefs of the trader's entries that filled at least in part."""
    refs = [parse_ref(e["order_ref"]) for e in truth["executions"] if not e["superseded"]]
    return {ref.text for ref in refs if ref is not None and ref.role == "entry"}


def _stop_differences(status: dict[str, Any], truth: dict[str, Any], client_id: int) -> list[str]:
    found = []
    managed = {row["symbol"]: row for row in status["positions"] if row["managed"] and not row["halted"]}
    for symbol, row in managed.items():
        stops = live_stops(truth, symbol)
        if len(stops) != 1:
            found.append(f"{symbol}: {len(stops)} live stops for {row['quantity']:+d} shares")
            continue
        stop, pending = stops[0], _pending(truth, symbol, "entry") - _pending(truth, symbol, "exit")
        side = "SELL" if row["quantity"] > 0 else "BUY"
        facts = {
            "side": (stop["action"], side),
            "size": (stop["remaining"], abs(row["quantity"]) + pending),
            "permId": (stop["perm_id"], row["stop_perm_id"]),
            "client id": (stop["client_id"], client_id),
            "account": (stop["account"], status["account"]),
            "price": (stop["aux_price"], row["stop_price"]),
        }
        found += [f"{symbol}: the stop's {name} is {a}, not {b}" for name, (a, b) in facts.items() if a != b]
    entering = {o["symbol"] for o in truth["open_orders"] if (r := parse_ref(o["order_ref"])) and r.role == "entry"}
    halted = set(status["halted"])
    for stop in live_stops(truth):
        if stop["symbol"] not in {*managed, *entering, *halted}:
            found.append(f"{stop['symbol']}: the stop {stop['order_ref']} has no position")
    return found


def _pending(truth: dict[str, Any], symbol: str, role: str) -> int:
    """Shares that the trader's own open orders of one role may still execute."""
    refs = [(o, parse_ref(o["order_ref"])) for o in truth["open_orders"] if o["symbol"] == symbol]
    return sum(o["remaining"] for o, ref in refs if ref is not None and ref.role == role)


def sent_twice(truth: dict[str, Any], signals: list[tuple[str, str, str]]) -> list[str]:
    """One message for each order that was sent more than once (invariant 5).

    Each orderRef must have one permId, each attempt one entry, each signal one order. signals: (symbol, side,
    break time) of each signal that the trader acted on.
    """
    perm_ids: dict[str, set[int]] = {}
    for item in (*truth["open_orders"], *truth["completed_orders"], *truth["executions"]):
        perm_ids.setdefault(item["order_ref"], set()).add(item["perm_id"])
    found = [f"{ref} has the permIds {sorted(ids)}" for ref, ids in perm_ids.items() if ref and len(ids) > 1]
    refs = [ref for text in perm_ids if (ref := parse_ref(text)) is not None and ref.role == "entry"]
    attempts = Counter((ref.symbol, ref.side, ref.attempt) for ref in refs)
    found += [f"attempt {key} was sent {count} times" for key, count in attempts.items() if count > 1]
    found += [f"the signal {key} was taken {count} times" for key, count in Counter(signals).items() if count > 1]
    return found
