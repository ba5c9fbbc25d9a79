"""What happens to a new order between its transmission and its first match: refusals, notices, acceptance."""

from __future__ import annotations

from datetime import datetime

from paper_gateway import validation
from paper_gateway.codes import NOTICES, REJECTED, text_of
from paper_gateway.engine import Engine
from paper_gateway.events import OrderChanged, OrderNotice
from paper_gateway.hours import next_open
from paper_gateway.orders import STOP_TYPES, Order, Status

Refusal = tuple[int, str]


class Acceptance:
    """Rejects or accepts transmitted orders, in the sequence recorded from a real gateway."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._quirks = engine.quirks

    def refusal_by_quirk(self, order: Order) -> int | None:
        """The code with which a quirk refuses the new order. Manual orders are not concerned.

        201 is IBKR's: the order is rejected once it is transmitted. Any other code is TWS's: no order comes to be.
        """
        if order.manual:
            return None
        is_stop = order.order_type in STOP_TYPES
        for name, concerned in (
            ("refuse-stop", is_stop),
            ("refuse-exit", order.order_type == "MKT" and order.parent is None and self._reduces(order)),
            ("through-refused", is_stop and self._engine.is_through(order)),
        ):
            if concerned and self._quirks.on(name):
                return self._quirks.whole(name)
        return None

    def transmit(self, order: Order) -> None:
        """Take in the order with the untransmitted orders of its bracket, parent first.

        As recorded: each order's notices and its pair, then each pair again, then what the market does.
        """
        waiting = [one for one in _bracket(order) if one.status is Status.HELD]
        for one in waiting:
            refused = self._refusal(one) if one.status is Status.HELD else None
            if refused is not None and refused[0] in NOTICES:
                self._engine.emit(OrderNotice(one, *refused))
            elif refused is not None:
                self._engine.reject(one, *refused)
        accepted = [one for one in waiting if one.status is Status.HELD]
        for one in accepted:
            self._notify(one)
            self._engine.accept(one)
        for one in accepted:
            if one.tif != "IOC":
                self._engine.emit(OrderChanged(one, pairs=1))
        for one in accepted:
            self._begin(one)

    def opening_value(self, order: Order) -> float:
        """The value in USD of the shares by which the order would increase the position."""
        held = self._engine.accounts.position(order.account, order.symbol).quantity
        closing = min(abs(held), order.remaining) if held * order.sign < 0 else 0
        touch = self._engine.touch(order.symbol)
        return (order.remaining - closing) * (order.limit_price or order.aux_price or touch.ask)

    def _begin(self, order: Order) -> None:
        if not order.live:  # ended together with an order before it
            return
        if order.order_type in STOP_TYPES and not order.manual and self._quirks.on("inactive-stops"):
            self._engine.park(order)
        elif order.tif == "IOC":
            self._engine.work_immediate(order)
        else:
            self._engine.work(order)

    def _reduces(self, order: Order) -> bool:
        return self._engine.accounts.position(order.account, order.symbol).quantity * order.sign < 0

    def _refusal(self, order: Order) -> Refusal | None:
        """The code and text with which IBKR rejects the order."""
        tif = validation.rejected_tif(order)
        if tif:
            return REJECTED, tif
        if order.parent is not None and (order.parent.done or order.parent.status is Status.PENDING_CANCEL):
            return REJECTED, "Order rejected - reason:Parent order is being cancelled."
        rejection = self._engine.faults.take_rejection(order)
        if rejection is not None:
            return rejection.code, rejection.text
        if self.refusal_by_quirk(order) == REJECTED:
            return REJECTED, text_of(REJECTED)
        return self._lack_of_buying_power(order) if order.parent is None else None

    def _lack_of_buying_power(self, order: Order) -> Refusal | None:
        figures = self._engine.accounts.figures(order.account, lambda symbol: self._engine.touch(symbol).last)
        working = sum(
            self.opening_value(other)
            for other in self._engine.order_store.live()
            if other.account == order.account and other.parent is None and other is not order
        )
        needed = self.opening_value(order)
        free = figures.buying_power - working
        if not needed or needed <= free:
            return None
        return REJECTED, (
            "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION "
            f"YOUR BUYING POWER [{free:.2f} USD] MUST EXCEED THE ORDER VALUE [{needed:.2f} USD]"
        )

    def _notify(self, order: Order) -> None:
        """Send what TWS sends before the first openOrder of an order that lives."""
        notice = self._quirks.whole("notice")
        if notice is not None and not order.manual:
            self._engine.emit(OrderNotice(order, notice, text_of(notice)))
        if order.outside_rth and order.order_type in STOP_TYPES:
            order.outside_rth = False
            self._engine.emit(OrderNotice(order, 2109, text_of(2109)))
        opens = self._opens(order)
        if opens:
            info = self._engine.contracts.info(order.symbol)
            market = f"{info.primary_exchange}.{info.trading_class}"
            self._engine.emit(
                OrderNotice(
                    order,
                    399,
                    f"Order Message:\n{order.action} {order.quantity} {order.symbol} {market}\n"
                    f"Warning: your order will not be placed at the exchange until {opens}",
                )
            )

    def _opens(self, order: Order) -> str:
        """When the order begins to work; empty where TWS does not tell, as for stops outside regular hours."""
        engine = self._engine
        info = engine.contracts.info(order.symbol)
        quiet = order.order_type in STOP_TYPES and engine.is_market_open(info.trading_hours, engine.now)
        if quiet or engine.is_session(order):
            return ""
        opens = next_open(info.trading_hours if order.outside_rth else info.liquid_hours, engine.now)
        return _spelled(opens) if opens else "the next session"


def _bracket(order: Order) -> list[Order]:
    if order.parent is None:
        return [order]
    return [order.parent, *order.parent.children]


def _spelled(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S US/Eastern")
