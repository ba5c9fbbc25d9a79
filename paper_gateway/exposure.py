"""The exposure log: after each change, what is held of a symbol and what would close or enlarge it.

One row for each change of a position or of a live order, with the time of this computer, so that windows of
milliseconds are measured and not sampled, also while no trader runs. The rows are the gateway's own values;
`crashlab.exposure` judges what they mean for a trader. Beside the rows: the orders that opened or enlarged a
position, and the requests of clients about orders that they did not place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from paper_gateway.accounts import Accounts
from paper_gateway.order_store import OrderStore
from paper_gateway.orders import STOP_TYPES, Order

ROWS_A_CALL = 2000


@dataclass(frozen=True, slots=True)
class Row:
    """What is at stake in one symbol of one account from `time_s` on.

    time_s: seconds since 1970 by this computer's clock. held: signed shares. own: of these, the net of executions
    whose orders carry an orderRef. closing: by client id, shares that live orders against the position may still
    close. protecting: of these, shares of stops that the market can trigger now, and of orders at the market.
    entering: shares that live orders in the direction of the position, or of an unfilled parent, may still add.
    """

    time_s: float
    session_time: str
    account: str
    symbol: str
    held: int
    own: int
    protecting: int
    entering: int
    closing: dict[int, int]

    def as_json(self) -> dict[str, Any]:
        """With client ids as text, as JSON has them."""
        return {
            "time_s": self.time_s,
            "session_time": self.session_time,
            "account": self.account,
            "symbol": self.symbol,
            "held": self.held,
            "own": self.own,
            "protecting": self.protecting,
            "entering": self.entering,
            "closing": {str(client): shares for client, shares in self.closing.items()},
        }


@dataclass(slots=True)
class Entry:
    """An order that opened or enlarged a position. time_s: its first fill. filled: all that it filled."""

    time_s: float
    perm_id: int
    client_id: int
    order_ref: str
    symbol: str
    filled: int


@dataclass(frozen=True, slots=True)
class Touched:
    """A request of a client about an order that it did not place. what: `cancel` or `change`, with `refused`."""

    time_s: float
    client_id: int
    perm_id: int
    order_ref: str
    what: str


@dataclass
class ExposureLog:
    """Rows in the order of time. allowed: how many shares of an order may fill now."""

    accounts: Accounts
    order_store: OrderStore
    allowed: Callable[[Order], int]
    now: Callable[[], float] = time.time
    rows: list[Row] = field(default_factory=list)
    entries: dict[int, Entry] = field(default_factory=dict)
    touched: list[Touched] = field(default_factory=list)
    _own: dict[tuple[str, str], int] = field(default_factory=dict)
    _last: dict[tuple[str, str], Row] = field(default_factory=dict)

    def executed(self, order: Order, shares: int) -> None:
        """Count a fill that the position already shows; `changed` follows for the row."""
        key = (order.account, order.symbol)
        if order.order_ref:
            self._own[key] = self._own.get(key, 0) + order.sign * shares
        entry = self.entries.get(order.perm_id)
        if entry is not None:
            entry.filled = order.filled
        elif order.parent is None and self.accounts.position(*key).quantity * order.sign > 0:
            self.entries[order.perm_id] = Entry(
                self.now(), order.perm_id, order.client_id, order.order_ref, order.symbol, order.filled
            )

    def touch(self, order: Order, client_id: int, what: str) -> None:
        """Note a request of `client_id` about an order that it did not place."""
        self.touched.append(Touched(self.now(), client_id, order.perm_id, order.order_ref, what))

    def changed(self, account: str, symbol: str, session_time: str) -> None:
        """Add a row if it differs from the last one of this symbol."""
        key = (account, symbol)
        row = self._row(account, symbol, session_time)
        before = self._last.get(key)
        if before is not None and _same(before, row):
            return
        self._last[key] = row
        self.rows.append(row)

    def since(self, index: int) -> dict[str, Any]:
        """Rows from an index on, at most ROWS_A_CALL; `next` is the index to go on with. Entries are whole."""
        rows = self.rows[index : index + ROWS_A_CALL]
        return {
            "rows": [row.as_json() for row in rows],
            "next": index + len(rows),
            "total": len(self.rows),
            "entries": [asdict(entry) for entry in self.entries.values()],
            "touched": [asdict(one) for one in self.touched],
        }

    def _row(self, account: str, symbol: str, session_time: str) -> Row:
        held = self.accounts.position(account, symbol).quantity
        live = [order for order in self.order_store.live(symbol) if order.account == account]
        closing: dict[int, int] = {}
        protecting = entering = 0
        for order in live:
            if _closes(order, held):
                closing[order.client_id] = closing.get(order.client_id, 0) + order.remaining
                if order.order_type in STOP_TYPES or order.order_type == "MKT":
                    protecting += self.allowed(order)
            else:
                entering += order.remaining
        own = self._own.get((account, symbol), 0)
        return Row(self.now(), session_time, account, symbol, held, own, protecting, entering, closing)


def _closes(order: Order, held: int) -> bool:
    """Whether the order is against the position; while flat, a stop or the child of an entry is meant to close."""
    if held:
        return held * order.sign < 0
    return order.parent is not None or order.order_type in STOP_TYPES


def _same(left: Row, right: Row) -> bool:
    return (left.held, left.own, left.protecting, left.entering, left.closing) == (
        right.held,
        right.own,
        right.protecting,
        right.entering,
        right.closing,
    )
