"""How a position is closed: through its stop, for partial and full exits alike.

A full exit modifies the stop so that it triggers at once. A partial exit makes the stop smaller, and the exit order
is sent once IBKR has confirmed that. So the closing orders together never exceed what is held, whatever fills first
and whenever the program dies (f14, f15): exits cannot reverse a position, and it always has its stop.
"""

from collections.abc import Sequence
from typing import Literal

from state.domain.events import OrderIntended
from state.domain.model import OrderReason, PartialReason, Position, exit_action, sign
from trader.broker.port import BrokerOrder
from trader.core.numbers import round_to_tick
from trader.core.orders.actions import BrokerAction, CancelOrder, ExitAtMarket, ModifyStop, PlaceStop, describe
from trader.core.orders.protection import wanted_stop_size
from trader.core.orders.sending import cancel, closing_order, modified, send, send_modified, ticket
from trader.core.turn import Turn
from trader.core.view import PendingPartial

THROUGH = 0.005  # of the price: how far through the market a stop is moved to trigger at once
CONFIRM_S = 2.0  # real seconds within which IBKR has to confirm a smaller stop
STOP_REASONS: dict[str, OrderReason] = {"breakeven": "breakeven_stop_hit", "trail": "trailing_stop_hit"}


def take_partial(
    turn: Turn, position: Position, shares: int, reason: PartialReason, price: float, tick: float
) -> None:
    """Sell (buy back) a part of a position: make the stop smaller, and send the exit once IBKR confirms it.

    If the stop fills before the change reaches IBKR, the position is closed and no exit is sent. Without a
    confirmation in time none is sent either; the next comparison enlarges the stop again.
    """
    stop = turn.state.protective_stop(position)
    covered = wanted_stop_size(turn.state, position)
    if stop is None:
        turn.log("warning", f"{position.symbol}: no partial while its stop is not confirmed.")
        return
    if any(o.role == "entry" and o.trade_id == position.trade_id for o in turn.state.live_orders(position.symbol)):
        return  # the working entry's stop keeps its size (g01)
    if shares >= covered:
        close(turn, position, reason, price, tick)
        return
    quantity = stop.filled + covered - shares
    text = f"{position.symbol}: stop for {covered - shares} shares, before {reason}"
    change = modified(turn, stop, quantity, position.stop_price, stop.reason)
    send_modified(turn, stop, change, text)
    if turn.settings.dry_run:
        _exit(turn, position, shares, reason)
        return
    until_s = turn.moment.real_s + CONFIRM_S
    turn.view.partials[position.symbol] = PendingPartial(shares, reason, stop.order_ref, quantity, until_s)


def take_stop_report(turn: Turn, order: BrokerOrder) -> None:
    """Take an order report. If it is about the stop of a pending partial, send the exit or give it up."""
    partial = turn.view.partials.get(order.symbol)
    if partial is None or partial.stop_ref != order.order_ref:
        return
    if order.is_closed:
        _give_up(turn, order.symbol, partial)
    elif order.quantity == partial.stop_quantity:
        del turn.view.partials[order.symbol]
        position = turn.state.positions.get(order.symbol)
        if position is not None:
            _exit(turn, position, partial.shares, partial.reason)


def expire_partials(turn: Turn) -> None:
    """Give up each pending partial whose stop IBKR has not confirmed in time."""
    for symbol, partial in list(turn.view.partials.items()):
        if turn.moment.real_s >= partial.until_s:
            _give_up(turn, symbol, partial)


def _give_up(turn: Turn, symbol: str, partial: PendingPartial) -> None:
    del turn.view.partials[symbol]
    turn.view.comparison.wanted = True
    turn.log("warning", f"{symbol}: no {partial.reason}: IBKR has not confirmed that the stop is smaller.")


def _exit(turn: Turn, position: Position, shares: int, reason: OrderReason) -> None:
    """Send a market exit."""
    order = closing_order(turn, position, "exit", shares, exit_action(position.side), reason)
    text = f"{position.symbol}: {reason}, {shares} of {position.held} shares"
    send(turn, [ticket(turn, order)], [OrderIntended(time=turn.moment.now, order=order)], text)


def move_stop(turn: Turn, position: Position, price: float, reason: Literal["breakeven", "trail"]) -> None:
    """Move the stop to a better price."""
    stop = turn.state.protective_stop(position)
    if stop is None:
        return
    size = stop.filled + wanted_stop_size(turn.state, position)
    change = modified(turn, stop, size, price, STOP_REASONS[reason])
    send_modified(turn, stop, change, f"{position.symbol}: stop to {price:.2f} ({reason})")


def close(turn: Turn, position: Position, reason: OrderReason, price: float, tick: float) -> None:
    """Move the stop through the market, so that it closes all that is held at once. price: the last trade."""
    stop = turn.state.protective_stop(position)
    if stop is None:
        turn.log("warning", f"{position.symbol}: {reason} waits until its stop is confirmed.")
        return
    way: Literal["up", "down"] = "up" if position.side == "LONG" else "down"
    through = round_to_tick(price * (1 + sign(position.side) * THROUGH), tick, way)
    size = stop.filled + wanted_stop_size(turn.state, position)
    change = modified(turn, stop, size, through, reason, closing=True)
    send_modified(turn, stop, change, f"{position.symbol}: out, {reason} ({position.held} shares)")


def is_closing(turn: Turn, position: Position) -> bool:
    """Whether the stop was moved through the market already."""
    stop = turn.state.protective_stop(position)
    return stop is not None and stop.closing


def resize_stop(turn: Turn, position: Position) -> None:
    """Change the stop to what is held, less pending exits."""
    stop = turn.state.protective_stop(position)
    size = wanted_stop_size(turn.state, position)
    if stop is None or size == 0 or stop.quantity - stop.filled == size:
        return
    change = modified(turn, stop, stop.filled + size, position.stop_price, stop.reason)
    send_modified(turn, stop, change, f"{position.symbol}: stop for {size} shares")


def carry_out(turn: Turn, actions: Sequence[BrokerAction]) -> None:
    """Send the orders that a comparison decided on."""
    for action in actions:
        if isinstance(action, PlaceStop):
            _place_stop(turn, action)
        elif isinstance(action, ModifyStop):
            stop = turn.state.orders[action.order_ref]
            change = modified(turn, stop, action.quantity, action.stop_price, stop.reason, closing=stop.closing)
            send_modified(turn, stop, change, f"{action.symbol}: {describe(action)}", order_id=action.order_id)
        elif isinstance(action, ExitAtMarket):
            _exit(turn, turn.state.positions[action.symbol], action.quantity, "unprotectable")
        else:
            _cancel(turn, action)


def _place_stop(turn: Turn, action: PlaceStop) -> None:
    position = turn.state.positions[action.symbol]
    order = closing_order(turn, position, "stop", action.quantity, action.action, "stop_loss_hit")
    order.stop_price = action.stop_price
    intent = OrderIntended(time=turn.moment.now, order=order)
    send(turn, [ticket(turn, order)], [intent], f"{action.symbol}: {describe(action)}")


def _cancel(turn: Turn, action: CancelOrder) -> None:
    turn.log("warning", f"{action.symbol}: {describe(action)}.")
    cancel(turn, action.order_id, action.order_ref, action.symbol)
