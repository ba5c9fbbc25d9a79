"""Manages a position: asks the strategy's exit rules, and moves the stop, takes a partial or closes."""

from datetime import datetime

from state.domain.model import Position
from trader.core.orders import closing
from trader.core.prices import exit_price
from trader.core.strategy.ps60.exits import Close, MoveStop, PositionView, TakePartial, decide
from trader.core.turn import Turn
from trader.core.view import SymbolMonitor


def manage(turn: Turn, position: Position, monitor: SymbolMonitor) -> None:
    """Act on the newest price. No limit and no breaker blocks a stop or an exit (f19)."""
    if position.symbol in turn.state.halted or closing.is_closing(position):
        return
    now = turn.moment.now
    for action in decide(
        _view(turn, position, monitor), exit_price(turn, monitor), now, turn.config.exit, _flatten_at(turn, monitor)
    ):
        if isinstance(action, TakePartial):
            closing.take_partial(turn, position, action.shares, action.reason)
        elif isinstance(action, MoveStop):
            closing.move_stop(turn, position, action.price, action.reason)
        elif isinstance(action, Close):
            closing.close(turn, position, action.reason)


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
        adopted=position.is_adopted,
        targets_given=position.targets_given,
    )
