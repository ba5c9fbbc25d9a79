"""From a confirmed break to a bracket: filters in their fixed order, size, and the desk."""

import logging
from datetime import datetime

from state.domain.events import EntryBlocked
from state.domain.model import TraderState
from trader.config.sections import Config
from trader.core.orders.closing import OrderDesk
from trader.core.sizing import size_entry, stop_price
from trader.core.strategy.ps60.breakout import Signal
from trader.core.strategy.ps60.filters import EntryContext, first_block
from trader.core.view import SymbolMonitor

_log = logging.getLogger("trader.entries")


class Entries:
    """Judges signals and enters. Knows the day's money only through what it is given."""

    def __init__(self, config: Config, desk: OrderDesk) -> None:
        self.config = config
        self._desk = desk
        self.equity = 0.0
        self.buying_power = 0.0

    async def judge(self, monitor: SymbolMonitor, signal: Signal, now: datetime, *, entries_open: bool) -> None:
        """Enter on a signal, or count the filter that blocks it."""
        setup = monitor.setup
        if setup is None:
            return
        state = self._desk.state
        context = self._context(state, monitor, signal, now, entries_open=entries_open)
        blocked = first_block(signal, context, self.config.entry, self.config.risk)
        if blocked == "duplicate_signal" and self._counted_before(state, signal):
            return
        if blocked is not None:
            self._block(signal, blocked, now)
            return
        stop = stop_price(signal.side, signal.pivot, monitor.price, self.config.size, monitor.min_tick)
        quantity = size_entry(self.equity, monitor.price, stop, self.buying_power, self.config.size)
        if quantity < 1:
            _log.warning(
                "%s: %s %s, but the risk allows less than one share.", signal.symbol, signal.side, signal.path
            )
            return
        _log.info(
            "ENTRY %s %s: %d shares at about %.2f, %s over %.2f (volume %.1f x), stop %.2f.",
            signal.side,
            signal.symbol,
            quantity,
            monitor.price,
            signal.path,
            signal.pivot,
            signal.volume_ratio,
            stop,
        )
        await self._desk.enter(signal, setup, monitor.con_id, quantity, stop)

    def _counted_before(self, state: TraderState, signal: Signal) -> bool:
        """The very signal that was acted upon, met again after a restart refilled the bars: nothing new."""
        last = state.last_signals.get(signal.symbol)
        return last is not None and (last.side, last.break_time) == (signal.side, signal.break_time)

    def _block(self, signal: Signal, name: str, now: datetime) -> None:
        _log.info("%s: %s %s blocked by %s.", signal.symbol, signal.side, signal.path, name)
        self._desk.manager.record(
            EntryBlocked(
                time=now,
                symbol=signal.symbol,
                side=signal.side,
                path=signal.path,
                pivot=signal.pivot,
                break_time=signal.break_time,
                filter=name,
            )
        )

    def _context(
        self, state: TraderState, monitor: SymbolMonitor, signal: Signal, now: datetime, *, entries_open: bool
    ) -> EntryContext:
        symbol = signal.symbol
        pending = {o.symbol for o in state.orders.values() if o.role == "entry" and o.is_live}
        occupied = set(state.positions) | pending
        last = state.last_signals.get(symbol)
        halted = symbol in state.halted
        setup = monitor.setup
        return EntryContext(
            now=now,
            window=monitor.hours.entry_window(now.date(), self.config.entry),
            price=monitor.price,
            target1=setup.target1_of(signal.side) if setup is not None else float("nan"),
            warm=monitor.buffer.warm,
            atr=monitor.atr,
            range_5m=monitor.range_5m,
            attempts=state.attempts_for(symbol, signal.side, signal.pivot),
            open_positions=len(occupied),
            held=symbol in occupied or symbol in state.foreign,
            equity=state.risk.start_equity or self.equity,
            daily_pnl=state.daily_pnl,
            trades_today=len({o.trade_id for o in state.orders.values() if o.role == "entry" and o.filled}),
            consecutive_losses=state.consecutive_losses,
            consecutive_errors=state.risk.broker_errors,
            breaker_tripped=state.risk.breaker_tripped or state.risk.loss_limit_hit,
            paused=state.risk.paused or halted or not entries_open,
            avoided=symbol in self.config.universe.avoid_symbols,
            last_break=last.break_time if last is not None and last.side == signal.side else None,
        )
