"""Decisions that depend on time alone: entries that do not fill, --duration, and the end of the session."""

from datetime import datetime, timedelta

from state.domain.events import OrderCancelSent
from trader.core.effects import StopRun
from trader.core.orders.sending import cancel_order
from trader.core.turn import Turn

CLOSE_MARGIN = timedelta(minutes=1)


def check_time(turn: Turn) -> None:
    """Cancel entries that did not fill in time, and end the run when its time is over. Session time throughout."""
    now, date = turn.moment.now, turn.state.trading_date
    if turn.moment.connected:
        _cancel_late_entries(turn)
    if turn.view.ends_at is not None and now >= turn.view.ends_at:
        turn.do(StopRun(f"the {turn.settings.duration_min:g} minutes of --duration are over"))
    if now.date().isoformat() != date:  # limits and attempts belong to one trading date (invariant 8)
        turn.do(StopRun(f"the trading date {date} is over; start again for {now:%Y-%m-%d}"))
    if not turn.state.positions and _market_closed(turn, now):
        turn.do(StopRun(f"the session of {date} is over ({now:%H:%M} ET)"))


def _cancel_late_entries(turn: Turn) -> None:
    limit_s = turn.config.entry.order_timeout_s
    for order in turn.state.live_orders():
        if order.role != "entry" or order.status != "working" or order.cancel_reason is not None:
            continue
        if (turn.moment.now - order.intended_at).total_seconds() > limit_s:
            cancel_order(turn, order, f"it did not fill within {limit_s:g} s")
            turn.record(OrderCancelSent(time=turn.moment.now, order_ref=order.order_ref, reason="timeout"))


def _market_closed(turn: Turn, now: datetime) -> bool:
    """Whether the market has closed for the day, by the hours that IBKR reported."""
    closes = [monitor.hours.close_time(now.date()) for monitor in turn.view.monitors.values()]
    if not closes:
        return False
    known = [moment for moment in closes if moment is not None]
    return not known or now > max(known) + CLOSE_MARGIN
