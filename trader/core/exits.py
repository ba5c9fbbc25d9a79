"""Managing what is held: the pure rules of `trader.core.strategy.ps60.exits` on the books, and the desk."""

import logging
import math
import time
from datetime import datetime

from state.domain.model import OrderReason, Position
from trader.config.sections import Config
from trader.core.orders.closing import OrderDesk
from trader.core.strategy.ps60.exits import Close, MoveStop, PositionView, TakePartial, decide
from trader.core.view import SymbolMonitor

_log = logging.getLogger("trader.exits")

CLOSE_AGAIN_S = 5.0  # real seconds after which a stop that was brought to the market is brought there again


class Exits:
    """Decides and sends for one position at a time; what fails in one symbol stays there."""

    def __init__(self, config: Config, desk: OrderDesk) -> None:
        self.config = config
        self._desk = desk
        self._closing_since: dict[str, float] = {}

    async def manage(self, position: Position, monitor: SymbolMonitor, now: datetime) -> None:
        """Act on the newest price. Stops and exits pass every limit and breaker (f19)."""
        if position.symbol in self._desk.state.halted:
            return
        if self._desk.is_closing(position):
            await self._push(position, monitor)
            return
        flatten_at = monitor.hours.flatten_time(now.date(), self.config.entry)
        for action in decide(self._view(position, monitor), monitor.price, now, self.config.exit, flatten_at):
            if isinstance(action, TakePartial):
                await self._desk.take_partial(
                    position, action.shares, action.reason, monitor.price, monitor.min_tick
                )
            elif isinstance(action, MoveStop):
                await self._desk.move_stop(position, action.price, action.reason)
            elif isinstance(action, Close):
                await self.close(position, monitor, action.reason)

    async def close(self, position: Position, monitor: SymbolMonitor, reason: OrderReason) -> None:
        """Out now, at the market."""
        reference = monitor.price if math.isfinite(monitor.price) else position.entry_price
        self._closing_since[position.trade_id] = time.monotonic()
        await self._desk.close(position, reason, reference, monitor.min_tick)

    async def _push(self, position: Position, monitor: SymbolMonitor) -> None:
        """A stop at the market that did not execute: the price ran away from it, so it is brought there again."""
        since = self._closing_since.setdefault(position.trade_id, time.monotonic())
        if time.monotonic() - since < CLOSE_AGAIN_S or not math.isfinite(monitor.price):
            return
        stop = self._desk.state.protective_stop(position)
        if stop is not None:
            await self.close(position, monitor, stop.reason)

    def _view(self, position: Position, monitor: SymbolMonitor) -> PositionView:
        state = self._desk.state
        exits = [order for order in state.live_orders(position.symbol) if order.role == "exit"]
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
