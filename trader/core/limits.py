"""The day's limits: the loss limit and the circuit breaker. Recorded once, in force until the day ends."""

from state.domain.events import BreakerTripped, LossLimitHit
from trader.core.strategy.ps60.filters import breaker_trips, daily_loss_reached
from trader.core.turn import Turn


def check_limits(turn: Turn) -> None:
    """Record each limit that is reached now, with an alert. Does nothing if the state has not changed."""
    state, rules = turn.state, turn.config.risk
    if turn.view.limits_checked_at == state.sequence:
        return
    turn.view.limits_checked_at = state.sequence
    risk, now = state.risk, turn.moment.now
    equity = risk.start_equity or turn.view.equity
    if not risk.loss_limit_hit and equity and daily_loss_reached(state.daily_pnl, equity, rules):
        turn.record(LossLimitHit(time=now, daily_pnl=state.daily_pnl))
        turn.alert("", f"The daily loss limit is reached ({state.daily_pnl:+.2f}): no more entries today.")
    if not risk.breaker_tripped and breaker_trips(state.consecutive_losses, risk.broker_errors, rules):
        reason = f"{state.consecutive_losses} losses and {risk.broker_errors} broker errors in a row"
        turn.record(BreakerTripped(time=now, reason=reason))
        turn.alert("", f"The circuit breaker tripped ({reason}): no more entries today.")
