"""Works the orders: activates, triggers, fills and cancels them, with the effects on children and OCA groups.

Synchronous and without I/O. It is called with each trade of the market, in order, and reports what
happened by calling `emit` with an event.

Decided here, because IBKR does not document it:
- A partly filled parent activates its children. Together they may fill as much as the parent has filled.
- Cancelling a partly filled parent leaves its children live, reduced to what was filled.
- A fill in an OCA group of type 2 or 3 reduces the other members in proportion to the filled part (IBKR:
  "proportionately reduced in size"), so a complete fill cancels them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from paper_gateway import matching
from paper_gateway.accounts import Accounts
from paper_gateway.contract_lookup import ContractLookup
from paper_gateway.events import (
    Event,
    Executed,
    ExecutionCorrected,
    OrderCancelled,
    OrderChanged,
    OrderRejected,
    PositionChanged,
)
from paper_gateway.execution_log import Execution, ExecutionLog
from paper_gateway.exposure import ExposureLog
from paper_gateway.faults import Faults
from paper_gateway.hours import is_open
from paper_gateway.market import Market, Tick
from paper_gateway.matching import Touch
from paper_gateway.order_store import OrderStore
from paper_gateway.orders import DONE, STOP_TYPES, Order, Status
from paper_gateway.quirks import Quirks

OCA_CANCEL_ALL = 1


class Engine:
    """The only place where the status and fills of an order, and positions, change."""

    def __init__(
        self,
        market: Market,
        contracts: ContractLookup,
        accounts: Accounts,
        order_store: OrderStore,
        execution_log: ExecutionLog,
        faults: Faults,
        quirks: Quirks,
    ) -> None:
        self.market = market
        self.contracts = contracts
        self.accounts = accounts
        self.order_store = order_store
        self.execution_log = execution_log
        self.faults = faults
        self.quirks = quirks
        self.now: datetime = market.start
        self.exposure = ExposureLog(accounts, order_store)
        self.publish: Callable[[Event], None] = lambda event: None
        self._touches: dict[str, Touch] = {}

    def emit(self, event: Event) -> None:
        """Log what is at stake after a change, and publish it."""
        if isinstance(event, OrderChanged | OrderCancelled | OrderRejected):
            self._log_exposure(event.order.account, event.order.symbol)
        elif isinstance(event, PositionChanged):
            self._log_exposure(event.account, event.symbol)
        self.publish(event)

    def _log_exposure(self, account: str, symbol: str) -> None:
        self.exposure.changed(account, symbol, self.now.isoformat())

    def touch(self, symbol: str) -> Touch:
        """Bid, ask and last of the latest trade."""
        known = self._touches.get(symbol)
        if known is None:
            quote = self.market.quote(symbol)
            known = self._touches[symbol] = Touch(quote.bid, quote.ask, quote.last)
        return known

    def on_tick(self, tick: Tick) -> None:
        """Take in one trade of the market, and work every live order of its symbol."""
        self.now = tick.time
        self._touches[tick.symbol] = Touch(tick.bid, tick.ask, tick.price)
        for order in self.order_store.live(tick.symbol):
            self.work(order)

    def is_session(self, order: Order) -> bool:
        """Whether the order may trade at this time of day."""
        info = self.contracts.info(order.symbol)
        return self.is_market_open(info.trading_hours if order.outside_rth else info.liquid_hours, self.now)

    def is_market_open(self, hours: str, time: datetime) -> bool:
        """Whether `time` is on the trading date and within `hours`. The gateway trades on no other date."""
        return time.date() == self.market.trading_date and is_open(hours, time)

    def accept(self, order: Order) -> None:
        """Accept a transmitted order, and report it to its client. `work` matches it afterwards."""
        order.status = self._resting_status(order)
        order.accepted_at = self.now
        if order.order_type == "TRAIL" and not order.waits_for_parent:
            order.trail_stop = matching.trailed_stop(order, self.touch(order.symbol).last)
        self.order_store.index(order)
        self.emit(OrderChanged(order))

    def modified(self, order: Order) -> None:
        """Report a live order that has new terms, and match it again."""
        if not order.filled:
            order.status = self._resting_status(order)
        self.emit(OrderChanged(order))
        self.work(order)

    def work(self, order: Order) -> None:
        """Trail, trigger and fill the order as far as the market and its session allow now."""
        if not order.live or order.symbol in self.faults.holds or not self.is_session(order):
            return
        allowed = order.allowed_shares()
        if allowed <= 0:
            return
        touch = self.touch(order.symbol)
        if order.status is Status.PRE_SUBMITTED and self._resting_status(order) is Status.SUBMITTED:
            order.status = Status.SUBMITTED  # the session opened
            self.emit(OrderChanged(order))
        if not order.triggered and order.order_type in STOP_TYPES:
            order.trail_stop = matching.trailed_stop(order, touch.last)
            if not matching.triggers(order, touch.last):
                return
            order.triggered = True
            order.status = Status.SUBMITTED
            self.emit(OrderChanged(order))
        price = matching.fill_price(order, touch)
        if price is not None:
            partial = self.faults.take_partial(order.symbol)
            self.fill(order, min(partial or allowed, allowed), price)

    def fill(self, order: Order, shares: int, price: float) -> Execution:
        """Fill `shares` of a live order. The caller has checked `allowed_shares`."""
        before = order.remaining
        order.filled += shares
        order.shares_value += shares * price
        order.last_price = price
        order.status = Status.SUBMITTED
        if order.remaining == 0:
            self._complete(order, Status.FILLED, f"Filled Size: {order.filled}")
        execution = self.execution_log.record(order, shares, price, self.now)
        self.accounts.apply(execution)
        self.exposure.executed(order, shares)
        self.emit(Executed(execution))
        self.emit(PositionChanged(order.account, order.symbol))
        self._reduce_group(order, shares, before)
        for child in list(order.children):
            self._activate_child(child)
        return execution

    def correct(self, wrong: Execution, shares: int, price: float) -> Execution:
        """Replace an execution; recompute cash, positions and every later P&L."""
        right = self.execution_log.correct(wrong, shares, price)
        self.accounts.rebuild(self.execution_log.executions)
        self.exposure.executed(right.order, right.shares - wrong.shares)
        self.emit(ExecutionCorrected(right))
        self.emit(PositionChanged(right.order.account, right.order.symbol))
        return right

    def cancel(self, order: Order, text: str = "Order Canceled - reason:") -> None:
        """Cancel an order, with its OCA group and its children, as recorded from a real gateway."""
        if order.status in DONE:
            return
        self._cancel_one(order, text)
        for member in self.order_store.oca_members(order):
            self.cancel(member)

    def reject(self, order: Order, code: int, text: str) -> None:
        """Reject an order that was accepted for processing; its children end with it."""
        self._complete(order, Status.INACTIVE, f"Rejected: {text}")
        self.emit(OrderRejected(order, code, text))
        for child in list(order.children):
            self._end_child(child)

    def expire_day_orders(self) -> None:
        """At the end of the session, cancel the orders with time in force DAY."""
        for order in self.order_store.live():
            if order.tif == "DAY" and not order.outside_rth:
                self.cancel(order)

    def _resting_status(self, order: Order) -> Status:
        waits = order.waits_for_parent or not self.is_session(order)
        is_stop = order.order_type in STOP_TYPES and not order.triggered
        return Status.PRE_SUBMITTED if waits or is_stop else Status.SUBMITTED

    def _cancel_one(self, order: Order, text: str = "Order Canceled - reason:") -> None:
        self._complete(order, Status.CANCELLED, text)
        self.emit(OrderCancelled(order, text))
        for child in list(order.children):
            self._end_child(child)

    def _complete(self, order: Order, status: Status, text: str) -> None:
        order.status = status
        order.completed_at = self.now
        order.completed_text = text
        self.order_store.index(order)

    def _activate_child(self, child: Order) -> None:
        """The parent filled: a waiting child becomes active."""
        if not child.live:
            return
        if not child.filled and not child.triggered:
            child.status = self._resting_status(child)
            self.emit(OrderChanged(child))
        self.work(child)

    def _end_child(self, child: Order) -> None:
        """The parent has ended: cancel the child, or reduce it to what the parent filled."""
        if child.status in DONE:
            return
        parent_filled = child.parent.filled if child.parent else 0
        if child.status is Status.HELD or parent_filled <= child.filled:
            self.cancel(child)
        elif child.quantity > parent_filled:
            child.quantity = parent_filled
            self.emit(OrderChanged(child))

    def _reduce_group(self, order: Order, shares: int, remaining_before: int) -> None:
        """One member of an OCA group filled: cancel or reduce the others."""
        for member in self.order_store.oca_members(order):
            if not member.live:  # ended together with a member before it
                continue
            share = 1.0 if order.oca_type == OCA_CANCEL_ALL else shares / remaining_before
            reduction = min(member.remaining, round(member.remaining * share))
            if reduction == member.remaining:
                self._cancel_one(member)
            else:
                member.quantity -= reduction
                self.emit(OrderChanged(member))
