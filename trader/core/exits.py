"""Manages a position: asks the strategy's exit rules, and moves the stop, takes a partial or closes."""

import math
from datetime import datetime

from state.domain.model import OrderReason, Position
from trader.core.orders import closing
from trader.core.strategy.ps60.exits import Close, MoveStop, PositionView, TakePartial, decide
from trader.core.turn import Turn
from trader.core.view import SymbolMonitor

CLOSE_AGAIN_S = 5.0  # real seconds after which a stop that was moved to the market and not filled is moved again


def manage(turn: Turn, position: Position, monitor: SymbolMonitor) -> None:
    """Act on the newest price. No limit and no breaker blocks a stop or an exit (f19)."""
    symbol = position.symbol
    if symbol in turn.state.halted or symbol in turn.view.partials:
        return
    if closing.is_closing(turn, position):
        _close_again(turn, position, monitor)
        return
    now = turn.moment.now
    for action in decide(
        _view(turn, position, monitor), monitor.price, now, turn.config.exit, _flatten_at(turn, monitor)
    ):
        if isinstance(action, TakePartial):
            closing.take_partial(turn, position, action.shares, action.reason, monitor.price, monitor.min_tick)
            if symbol in turn.view.partials:
                return  # nothing else is sent for this position until the smaller stop is confirmed
        elif isinstance(action, MoveStop):
            closing.move_stop(turn, position, action.price, action.reason)
        elif isinstance(action, Close):
            close(turn, position, monitor, action.reason)


def close(turn: Turn, position: Position, monitor: SymbolMonitor, reason: OrderReason) -> None:
    """Close the position at the market."""
    reference = monitor.price if math.isfinite(monitor.price) else position.entry_price
    turn.view.closing_since_s[position.trade_id] = turn.moment.real_s
    closing.close(turn, position, reason, reference, monitor.min_tick)


def _close_again(turn: Turn, position: Position, monitor: SymbolMonitor) -> None:
    """Move the stop to the market again if it did not execute in time because the price moved away."""
    since_s = turn.view.closing_since_s.setdefault(position.trade_id, turn.moment.real_s)
    if turn.moment.real_s - since_s < CLOSE_AGAIN_S or not math.isfinite(monitor.price):
        return
    stop = turn.state.protective_stop(position)
    if stop is not None:
        close(turn, position, monitor, stop.reason)


def _flatten_at(turn: Turn, monitor: SymbolMonitor) -> datetime | None:
    return monitor.hours.flatten_time(turn.moment.now.date(), turn.config.entry)


def _view(turn: Turn, position: Position, monitor: SymbolMonitor) -> PositionView:
    exits = [order for order in turn.state.live_orders(position.symbol) if order.role == "exit"]
    return PositionView(
        symbol=position.symbol,
        side=position.side,
        shares=position.shares,
        held=position.held,
        entry_price=position.entry_price,
        entry_time=position.entry_time,
        initial_stop=position.initial_stop,
        stop_price=position.stop_price,
        target1=position.target1,
        partials=frozenset(partial.reason for partial in position.partials_taken),
        pending_exit_shares=sum(order.pending for order in exits),
        min_tick=monitor.min_tick,
    )
