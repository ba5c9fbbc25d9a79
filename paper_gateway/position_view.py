"""What clients are told of positions: the account as it is, or with the quirk `positions-lag` as it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from paper_gateway import replies
from paper_gateway.accounts import Position
from paper_gateway.brokerage import Brokerage

LONGEST_LAG_S = 600.0
"""Positions older than this are forgotten, except the last one before."""


class PositionView:
    """The positions of all accounts with their history. `changed` must be called after each change."""

    def __init__(self, brokerage: Brokerage, now: Callable[[], float] = time.monotonic) -> None:
        self._brokerage = brokerage
        self._now = now
        self._history: dict[tuple[str, str], list[tuple[float, Position]]] = {}
        self._opening = {
            (one.account, one.symbol): Position(one.quantity, one.average_cost)
            for one in brokerage.accounts.opening
        }

    @property
    def lag_s(self) -> float:
        return min(self._brokerage.quirks.number("positions-lag") or 0.0, LONGEST_LAG_S)

    def changed(self, account: str, symbol: str) -> None:
        """Keep the position as it is now."""
        history = self._history.setdefault((account, symbol), [])
        history.append((self._now(), replace(self._brokerage.accounts.position(account, symbol))))
        while len(history) > 1 and history[1][0] < self._now() - LONGEST_LAG_S:
            del history[0]

    def frame(self, account: str, symbol: str) -> bytes:
        """The position as it is now."""
        return self._frame(account, symbol, self._brokerage.accounts.position(account, symbol))

    def answer(self) -> list[bytes]:
        """The rows of an answer: each position held today, also one that was closed again."""
        rows = []
        for account, symbol, held in self._brokerage.accounts.held():
            known = self._seen(account, symbol, held)
            if known is not None and self._is_listed(account, symbol, known):
                rows.append(self._frame(account, symbol, known))
        return rows

    def _seen(self, account: str, symbol: str, held: Position) -> Position | None:
        """The position that an answer shows now; None if there was none yet."""
        history = self._history.get((account, symbol))
        if history is None or not self.lag_s:
            return held
        then = self._now() - self.lag_s
        before = [position for changed_s, position in history if changed_s <= then]
        return before[-1] if before else self._opening.get((account, symbol))

    def _is_listed(self, account: str, symbol: str, known: Position) -> bool:
        flat_ones = self._brokerage.quirks.text("zero-positions")
        if known.quantity or not flat_ones:
            return True
        return flat_ones == "opening" and (account, symbol) in self._opening

    def _frame(self, account: str, symbol: str, held: Position) -> bytes:
        return replies.position(account, self._brokerage.info(symbol), held)
