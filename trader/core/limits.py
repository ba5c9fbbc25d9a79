"""The day's limits: the loss limit and the circuit breaker, recorded once, in force until the day ends."""

from collections.abc import Iterator

from state.domain.events import BreakerTripped, LossLimitHit
from state.manager import StateManager
from trader.clock import Clock
from trader.config.sections import RiskRules
from trader.core.strategy.ps60.filters import breaker_trips, daily_loss_reached


class Limits:
    """Asked after whatever changed the books: fills, late commissions, refusals, what reconciliation booked."""

    def __init__(self, manager: StateManager, clock: Clock, rules: RiskRules) -> None:
        self._memory = manager
        self._clock = clock
        self._rules = rules
        self._checked_at = -1  # the event up to which all was looked at

    def check(self, equity: float) -> Iterator[str]:
        """Record what is reached now, and yield words for the operator. equity: if the day has no anchor yet."""
        state = self._memory.state
        if self._checked_at == state.sequence:
            return
        self._checked_at = state.sequence
        risk, now = state.risk, self._clock.now()
        equity = risk.start_equity or equity
        if not risk.loss_limit_hit and equity and daily_loss_reached(state.daily_pnl, equity, self._rules):
            self._memory.record(LossLimitHit(time=now, daily_pnl=state.daily_pnl))
            yield f"The daily loss limit is reached ({state.daily_pnl:+.2f}): no more entries today."
        if not risk.breaker_tripped and breaker_trips(state.consecutive_losses, risk.broker_errors, self._rules):
            reason = f"{state.consecutive_losses} losses and {risk.broker_errors} broker errors in a row"
            self._memory.record(BreakerTripped(time=now, reason=reason))
            yield f"The circuit breaker tripped ({reason}): no more entries today."
