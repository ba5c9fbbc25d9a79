"""What depends on time alone: entries that do not fill, --duration, and the end of the trading day."""

from datetime import datetime, timedelta

from state.domain.events import OrderCancelSent
from trader.core.engine import Engine
from trader.runtime.stopping import Stopping

CLOSE_MARGIN = timedelta(minutes=1)


class Day:
    """Asked every half second of real time; all moments are the session's."""

    def __init__(self, engine: Engine, stopping: Stopping, duration_min: float | None) -> None:
        self._engine = engine
        self._stopping = stopping
        self._duration_min = duration_min
        self._until = None if duration_min is None else engine.clock.now() + timedelta(minutes=duration_min)

    def pass_second(self) -> None:
        """Cancel what is late, and end the run when its time is over."""
        now = self._engine.clock.now()
        if self._engine.broker.connected:
            self._cancel_late_entries(now)
        if self._until is not None and now >= self._until:
            self._stopping.ask(f"the {self._duration_min:g} minutes of --duration are over")
        date = self._engine.state.trading_date
        if now.date().isoformat() != date:  # its limits and attempts are not those of the new date (invariant 8)
            self._stopping.ask(f"the trading date {date} is over; start again for {now:%Y-%m-%d}")
        if not self._engine.state.positions and self._market_closed(now):
            self._stopping.ask(f"the session of {self._engine.state.trading_date} is over ({now:%H:%M} ET)")

    def _cancel_late_entries(self, now: datetime) -> None:
        limit_s = self._engine.config.entry.order_timeout_s
        for order in list(self._engine.state.orders.values()):
            if order.role != "entry" or order.status != "working" or order.cancel_reason is not None:
                continue
            if (now - order.intended_at).total_seconds() > limit_s:
                self._engine.desk.cancel(order, f"it did not fill within {limit_s:g} s")
                sent = OrderCancelSent(time=now, order_ref=order.order_ref, reason="timeout")
                self._engine.manager.record(sent)

    def _market_closed(self, now: datetime) -> bool:
        """Whether the day's last session is over, by the hours that IBKR told."""
        closes = [monitor.hours.close_time(now.date()) for monitor in self._engine.monitors.values()]
        if not closes:
            return False
        known = [moment for moment in closes if moment is not None]
        return not known or now > max(known) + CLOSE_MARGIN
