"""Works the orders: activates, triggers, fills and cancels them, with the effects on children and OCA groups.

Synchronous and without I/O. It is called with each trade of the market, in order, and reports what
happened by calling `emit` with an event.

Decided here, because IBKR does not document it:
- A partly filled parent activates its children. Together they may fill as much as the parent has filled (quirk
  `child-full`: each its whole size).
- Cancelling a partly filled parent leaves its children live, reduced to what was filled (quirk `child-dies`).
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
from paper_gateway.orders import STOP_TYPES, Order, Status
from paper_gateway.quirks import Quirks
from paper_gateway.schedule import Schedule

OCA_CANCEL_ALL = 1
PURGE_S = 75.0
"""How long an ended order stays in TWS's table. A user saw the answer to a cancel change after about 80 s."""


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
        self.schedule = Schedule()
        self.exposure = ExposureLog(accounts, order_store, self.allowed)
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

    def allowed(self, order: Order) -> int:
        """How many shares of the order may fill now, session and price aside."""
        return order.allowed_shares(capped=not self.quirks.on("child-full"))

    def is_through(self, order: Order) -> bool:
        """Whether a stop would trigger at once."""
        waits = order.triggered or order.waits_for_parent or not self.is_session(order)
        return not waits and matching.triggers(order, self.touch(order.symbol).last)

    def accept(self, order: Order) -> None:
        """Accept a transmitted order, and report it as PreSubmitted. `work` matches it afterwards."""
        order.status = Status.PRE_SUBMITTED
        order.accepted_at = self.now
        if order.order_type == "TRAIL" and not order.waits_for_parent:
            order.trail_stop = matching.trailed_stop(order, self.touch(order.symbol).last)
        self._rest_through(order)
        self.order_store.index(order)
        self.emit(OrderChanged(order, pairs=1))

    def modified(self, order: Order, pairs: int) -> None:
        """Report a live order that has new terms, and match it again."""
        if not order.filled:
            self._move(order, self._resting_status(order))
        self._rest_through(order)
        self.emit(OrderChanged(order, pairs))
        self.work(order)

    def work(self, order: Order) -> None:
        """Trail, trigger and fill the order as far as the market and its session allow now."""
        if not order.live or not self.is_session(order):
            return
        if order.symbol not in self.faults.holds:
            self._match(order)
        if order.status is Status.PRE_SUBMITTED and self._resting_status(order) is Status.SUBMITTED:
            order.status = Status.SUBMITTED
            self.emit(OrderChanged(order, pairs=1))

    def work_immediate(self, order: Order) -> None:
        """Fill an immediate-or-cancel order as far as the market allows now, and cancel the rest."""
        if self.is_session(order):
            self._move(order, Status.SUBMITTED)
            self.emit(OrderChanged(order, pairs=1))
            if order.symbol not in self.faults.holds:
                self._match(order)
        if order.live:
            order.status = Status.PENDING_CANCEL
            self.emit(OrderChanged(order, pairs=1))
            self._end(order)

    def _match(self, order: Order) -> None:
        allowed = self.allowed(order)
        if allowed <= 0:
            return
        touch = self.touch(order.symbol)
        if not order.triggered and order.order_type in STOP_TYPES:
            order.trail_stop = matching.trailed_stop(order, touch.last)
            triggers = matching.triggers(order, touch.last)
            order.rests_through &= triggers
            if not triggers or order.rests_through:
                return
            order.triggered = True
            self._move(order, Status.SUBMITTED)
            self.emit(OrderChanged(order))
        price = matching.fill_price(order, touch)
        if price is not None:
            partial = self.faults.take_partial(order.symbol)
            self.fill(order, min(partial or allowed, allowed), price)

    def fill(self, order: Order, shares: int, price: float) -> Execution:
        """Fill `shares` of a live order. The caller has checked `allowed`."""
        before = order.remaining
        order.filled += shares
        order.shares_value += shares * price
        order.last_price = price
        self._move(order, Status.SUBMITTED)
        if order.remaining == 0:
            self._complete(order, Status.FILLED, f"Filled Size: {order.filled}")
        execution = self.execution_log.record(order, shares, price, self.now)
        order.commission += execution.commission
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

    def cancel(self, order: Order) -> None:
        """Cancel an order as asked, with its OCA group and its children, as recorded from a real gateway."""
        if order.done or order.status is Status.PENDING_CANCEL:
            return
        slow_s = self.quirks.number("cancel-slow")
        if not order.live:
            self._end(order)
        elif slow_s is not None:
            self._announce_cancel(order)
            self.schedule.after(slow_s, lambda: self._finish_cancel(order))
        else:
            # Recorded: nothing precedes the end of a stop, nor that of an order whose OCA group ends with it.
            if order.order_type not in STOP_TYPES and not self.order_store.oca_members(order):
                self._announce_cancel(order)
            self._finish_cancel(order)

    def expire(self, order: Order) -> None:
        """Cancel an order that nobody asked to cancel, with its OCA group: no PendingCancel is reported."""
        for one in (*self.order_store.oca_members(order), order):
            if not one.done:
                self._end(one)

    def reject(self, order: Order, code: int, text: str) -> None:
        """IBKR rejects an order; its children end with it. The error comes between two Inactive pairs."""
        self._complete(order, Status.INACTIVE, f"Rejected: {text}")
        if self.quirks.on("inactive-listed") or self.quirks.on("inactive-wakes"):
            self._park(order)
        self.emit(OrderChanged(order, pairs=1))
        late_s = self.quirks.number("reject-late")
        if late_s is None:
            self.emit(OrderRejected(order, code, text))
        else:
            self.schedule.after(late_s, lambda: self.emit(OrderRejected(order, code, text)))
        for child in list(order.children):
            self._end_child(child)

    def park(self, order: Order) -> None:
        """Set a live order Inactive without a word: it is not worked and has not ended."""
        order.status = Status.INACTIVE
        self._park(order)
        self.emit(OrderChanged(order, pairs=1))

    def expire_day_orders(self) -> None:
        """At the end of the session, cancel the orders with time in force DAY."""
        for order in self.order_store.listed():
            if order.tif == "DAY" and not order.outside_rth and not order.done:
                self.expire(order)

    def _resting_status(self, order: Order) -> Status:
        waits = order.waits_for_parent or not self.is_session(order)
        is_stop = order.order_type in STOP_TYPES and not order.triggered
        hidden = self.quirks.on("skip-submitted")
        return Status.PRE_SUBMITTED if waits or is_stop or hidden else Status.SUBMITTED

    def _move(self, order: Order, status: Status) -> None:
        """Give a live order another live status. A cancel that is under way goes on being reported."""
        if order.status is not Status.PENDING_CANCEL:
            order.status = Status.PRE_SUBMITTED if self.quirks.on("skip-submitted") else status

    def _rest_through(self, order: Order) -> None:
        order.rests_through = self.quirks.on("through-rests") and self.is_through(order)

    def _park(self, order: Order) -> None:
        """Keep an Inactive order among the open orders; with `inactive-wakes` it works after a while."""
        order.parked, order.completed_at = True, None
        self.order_store.index(order)
        wakes_s = self.quirks.number("inactive-wakes")
        if wakes_s is not None:
            self.schedule.after(wakes_s, lambda: self._wake(order))

    def _wake(self, order: Order) -> None:
        if not order.parked:
            return
        order.parked = False
        order.status = self._resting_status(order)
        self.order_store.index(order)
        self.emit(OrderChanged(order))
        self.work(order)

    def _announce_cancel(self, order: Order) -> None:
        order.status = Status.PENDING_CANCEL
        self.emit(OrderChanged(order, pairs=1))
        for child in order.children:
            if child.live:
                self.emit(OrderChanged(child, pairs=1))
        self.emit(OrderChanged(order, pairs=1))

    def _finish_cancel(self, order: Order) -> None:
        """End the order unless it filled; the other members of its OCA group end before it."""
        if order.live and self.quirks.on("cancel-fills"):
            self._fill_instead(order)
        if not order.live:
            return
        for member in self.order_store.oca_members(order):
            member.status = Status.PENDING_CANCEL
            self.emit(OrderChanged(member, pairs=1))
            self._end(member)
        self._end(order)

    def _fill_instead(self, order: Order) -> None:
        """Fill an order whose cancel comes too late, a stop as if it had just triggered."""
        allowed = self.allowed(order)
        if allowed <= 0 or not self.is_session(order):
            return
        order.status, order.triggered = Status.PENDING_CANCEL, True
        price = matching.fill_price(order, self.touch(order.symbol))
        if price is not None:
            self.fill(order, allowed, price)

    def _end(self, order: Order, text: str = "Order Canceled - reason:") -> None:
        self._complete(order, Status.CANCELLED, text)
        self.emit(OrderCancelled(order, text))
        for child in list(order.children):
            self._end_child(child)

    def _complete(self, order: Order, status: Status, text: str) -> None:
        order.status = status
        order.parked = False
        order.completed_at = self.now
        order.completed_text = text
        self.order_store.index(order)
        purge_s = self.quirks.number("purge")
        self.schedule.after(PURGE_S if purge_s is None else purge_s, lambda: self.order_store.purge(order))

    def _activate_child(self, child: Order) -> None:
        """The parent filled: a waiting child becomes active."""
        if not child.live:
            return
        if not child.filled and not child.triggered:
            self._move(child, self._resting_status(child))
            self._rest_through(child)
            self.emit(OrderChanged(child))
        self.work(child)

    def _end_child(self, child: Order) -> None:
        """The parent has ended: cancel the child, or reduce it to what the parent filled."""
        if child.done:
            return
        parent_filled = child.parent.filled if child.parent else 0
        dies = parent_filled <= child.filled or self.quirks.on("child-dies")
        if child.status is Status.HELD or dies:
            self._end(child)
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
                self._end(member)
            else:
                member.quantity -= reduction
                self.emit(OrderChanged(member))
