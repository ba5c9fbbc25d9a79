"""What the state implies, kept beside it so that no step has to search the whole day (invariant 22).

It is in no file: it is built from the state when it is first used, and the functions that change the state keep it
up to date. It never holds more than the state: a new one built from the same state is equal to it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Generic, Protocol, TypeVar

_UNIT = 2**1074  # every float is a whole multiple of 1 / _UNIT, so sums of them are exact in any order


class _Order(Protocol):
    order_ref: str
    trade_id: str

    @property
    def is_live(self) -> bool: ...


class _Execution(Protocol):
    order_ref: str
    trade_id: str
    shares: int


class _Trade(Protocol):
    trade_id: str
    symbol: str
    held: int
    oversold: int
    realized_pnl: float
    pnl_estimated: bool
    entry_time: datetime
    exit_time: datetime | None


Ord = TypeVar("Ord", bound=_Order)
Trade = TypeVar("Trade", bound=_Trade)


class Lookup(Generic[Ord, Trade]):
    """Orders by what they still do, executions by order, and closed trades by symbol.

    accounts: the position accounting of each trade that was changed since the state was loaded.
    """

    def __init__(
        self,
        orders: Mapping[str, Ord],
        executions: Iterable[_Execution],
        positions: Mapping[str, Trade],
        closed: Mapping[str, Trade],
    ) -> None:
        self.accounts: dict[str, object] = {}
        self._orders = orders
        self._positions = positions
        self._all_closed = closed
        self._live: dict[str, Ord] = {}
        self._of_trade: dict[str, list[Ord]] = {}
        self._filled: dict[str, int] = {}
        self._first_trade: dict[str, str] = {}
        self._closed: dict[str, dict[str, Trade]] = {}
        self._special: dict[str, dict[str, Trade]] = {}  # closed ones that hold, are reversed or are estimated
        self._last_exit: dict[str, datetime] = {}  # by symbol, not before the last exit of a closed trade
        self._counted: dict[str, int] = {}  # P&L of each closed trade, in units
        self._closed_pnl = 0  # their sum
        self._by_end: list[Trade] | None = None
        self._ends: dict[str, datetime] = {}
        for order in orders.values():
            self.add_order(order)
        for execution in executions:
            self.add_execution(execution)
        for position in closed.values():
            self.note_closed(position)

    # Orders

    def add_order(self, order: Ord) -> None:
        """An order that the state has got last."""
        self._of_trade.setdefault(order.trade_id, []).append(order)
        if order.is_live:
            self._live[order.order_ref] = order

    def note_status(self, order: Ord) -> None:
        """The status of an order may have changed."""
        if not order.is_live:
            self._live.pop(order.order_ref, None)
        elif order.order_ref not in self._live:  # it works again: rare
            self._live = {ref: known for ref, known in self._orders.items() if known.is_live}

    def live_orders(self) -> list[Ord]:
        """Own orders that may still execute, in the order of their intents."""
        return list(self._live.values())

    def orders_of(self, trade_id: str) -> list[Ord]:
        """All orders of a trade, in the order of their intents."""
        return self._of_trade.get(trade_id, [])

    # Executions

    def add_execution(self, execution: _Execution, corrected: _Execution | None = None) -> None:
        """An execution that the state has got last, or in place of the one of the same order that it corrects."""
        ref = execution.order_ref
        if ref:
            added = execution.shares - (corrected.shares if corrected is not None else 0)
            self._filled[ref] = self._filled.get(ref, 0) + added
            self._first_trade.setdefault(ref, execution.trade_id)

    def filled(self, order_ref: str) -> int:
        """Shares that the executions of an order add up to."""
        return self._filled.get(order_ref, 0)

    def first_trade(self, order_ref: str) -> str | None:
        """The trade to which the first known execution of an order was added, None if there is none."""
        return self._first_trade.get(order_ref)

    # Closed trades

    def note_closed(self, position: Trade) -> None:
        """A trade is among the closed ones, or one of them has changed."""
        trade_id, symbol = position.trade_id, position.symbol
        self._closed.setdefault(symbol, {})[trade_id] = position
        special = self._special.setdefault(symbol, {})
        if position.held or position.oversold or position.pnl_estimated:
            special[trade_id] = position
        else:
            special.pop(trade_id, None)
        value = _exact(position.realized_pnl)
        self._closed_pnl += value - self._counted.get(trade_id, 0)
        self._counted[trade_id] = value
        if position.exit_time is not None:
            self._last_exit[symbol] = max(self._last_exit.get(symbol, position.exit_time), position.exit_time)
        self._note_end(position)

    def _note_end(self, position: Trade) -> None:
        end, ends, by_end = _end(position), self._ends, self._by_end
        known = ends.get(position.trade_id)
        ends[position.trade_id] = end
        if known == end or by_end is None:
            return
        if known is None and (not by_end or _end(by_end[-1]) <= end):
            by_end.append(position)
        else:
            self._by_end = None

    def note_open(self, position: Trade) -> None:
        """A trade is not, or no longer, among the closed ones."""
        trade_id, symbol = position.trade_id, position.symbol
        if trade_id not in self._counted:
            return
        del self._closed[symbol][trade_id]
        self._special[symbol].pop(trade_id, None)
        self._closed_pnl -= self._counted.pop(trade_id)
        del self._ends[trade_id]
        self._by_end = None

    def closed_around(self, symbol: str, moment: datetime) -> list[Trade]:
        """Closed trades of a symbol to which an execution of that time may belong, in the state's order."""
        last_exit = self._last_exit.get(symbol)
        if not self._special.get(symbol) and (last_exit is None or moment > last_exit):
            return []
        return list(self._closed.get(symbol, {}).values())

    def reversed_trades(self, symbol: str) -> list[Trade]:
        """Closed trades of a symbol that sold more than they held, in the state's order."""
        if not self._special.get(symbol):
            return []
        return [position for position in self._closed[symbol].values() if position.oversold]

    def reversed_symbols(self) -> set[str]:
        """The symbols of closed trades that sold more than they held."""
        return {symbol for symbol, found in self._special.items() if any(p.oversold for p in found.values())}

    def daily_pnl(self) -> float:
        """P&L of all trades, as an exact sum that is rounded once."""
        return (self._closed_pnl + sum(_exact(p.realized_pnl) for p in self._positions.values())) / _UNIT

    def closed_by_end(self) -> list[Trade]:
        """Closed trades by the time of their exit; those of one second in the state's order."""
        if self._by_end is None:
            self._by_end = sorted(self._all_closed.values(), key=_end)
        return self._by_end


def _end(position: _Trade) -> datetime:
    return position.exit_time or position.entry_time


def _exact(amount: float) -> int:
    """An amount as a whole number of units."""
    numerator, denominator = amount.as_integer_ratio()
    return numerator * (_UNIT // denominator)
