"""Orders in doubt: an error or silence proves nothing; what IBKR lists does (invariant 19).

An error about an own order that is no notice, and the status Inactive, put the order in doubt. The next list of
open orders decides it. Where IBKR gives no list in time, the code's class decides.
"""

from collections.abc import Collection
from datetime import datetime

from state.domain.events import OrderChanged, OrderModifyRefused
from state.domain.model import Order
from trader.broker.port import BrokerOrder
from trader.core.orders.codes import meaning_of
from trader.core.orders.order_life import next_status
from trader.core.turn import Turn
from trader.core.view import Doubt

LISTING_PATIENCE_S = 3.0  # for which the list of open orders is waited for


def doubt(turn: Turn, order: Order, code: int, text: str) -> None:
    """Put an order in doubt; a code replaces an earlier doubt."""
    turn.view.doubts[order.order_ref] = Doubt(code, text, turn.moment.real_s)
    turn.view.activity += 1  # a list that IBKR was asked for before proves nothing
    turn.view.comparison.wanted = True


def conclude(turn: Turn, open_orders: Collection[BrokerOrder]) -> None:
    """Conclude each doubt by a list that IBKR was asked for after the doubt arose."""
    listed = {order.order_ref: order for order in open_orders if not order.is_closed}
    for ref, found in list(turn.view.doubts.items()):
        order = turn.state.orders.get(ref)
        del turn.view.doubts[ref]
        if order is None or not order.is_live:
            continue
        if ref not in listed:
            _conclude_gone(turn, order, found)
        elif order.change is not None:
            _refuse_change(turn, order, found)


def conclude_late(turn: Turn) -> None:
    """Conclude by its code each doubt for which IBKR has given no list in time."""
    for ref, found in list(turn.view.doubts.items()):
        if turn.moment.real_s - found.since_s < LISTING_PATIENCE_S:
            continue
        order, meaning = turn.state.orders.get(ref), meaning_of(found.code)
        if order is None or not order.is_live:
            del turn.view.doubts[ref]
        elif order.change is not None and meaning.after == "unchanged":
            del turn.view.doubts[ref]
            _refuse_change(turn, order, found)
        elif (
            order.change is None and order.status in ("intended", "inactive") and meaning.effect == "order_refused"
        ):
            del turn.view.doubts[ref]
            turn.record(rejection(order, found.code, found.text, turn.moment.now))


def rejection(order: Order, code: int, text: str, now: datetime) -> OrderChanged:
    """The event of a refused order."""
    return OrderChanged(
        time=now,
        order_ref=order.order_ref,
        status="rejected",
        text=f"{code}: {text}",
        refusal="message",
        refusal_code=code,
    )


def _conclude_gone(turn: Turn, order: Order, found: Doubt) -> None:
    """IBKR does not list the order: it never existed, or it has ended."""
    status = next_status(
        order.status, "refused" if order.status in ("intended", "unknown", "inactive") else "not_listed"
    )
    if status == "rejected" and found.code:
        turn.record(rejection(order, found.code, found.text, turn.moment.now))
    elif order.filled == 0 or order.status != "working":
        assert status in ("rejected", "cancelled")
        turn.record(
            OrderChanged(
                time=turn.moment.now,
                order_ref=order.order_ref,
                status="rejected" if status == "rejected" else "cancelled",
                text=f"{found.code}: {found.text}" if found.code else "Inactive, and no longer listed",
                refusal="inactive" if status == "rejected" else None,
            )
        )


def _refuse_change(turn: Turn, order: Order, found: Doubt) -> None:
    """IBKR lists the order, and an error came about its change: it works on with its old terms."""
    turn.record(
        OrderModifyRefused(
            time=turn.moment.now, order_ref=order.order_ref, code=found.code, text=f"{found.code}: {found.text}"
        )
    )
