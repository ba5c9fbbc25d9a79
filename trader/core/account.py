"""The account's values: in US dollars for sizes and limits, and as IBKR gave them for the operator.

An account may have another base currency. Without IBKR's exchange rate its dollars are unknown: entries are closed,
and positions stay managed.
"""

from datetime import datetime

from state.domain.events import AlertCleared, EquityAnchored, EquityMarked, FundsSeen
from state.domain.model import Funds
from trader.broker.port import AccountValues, BrokerSnapshot
from trader.core.connection_status import hold_entries, release_entries
from trader.core.turn import Turn

ALERT_KEY = "exchange-rate"


def note_account(turn: Turn, snapshot: BrokerSnapshot) -> None:
    """Keep equity and buying power for sizing; record the day's first equity, and one a minute for the curve."""
    view, now, values = turn.view, turn.moment.now, snapshot.values
    view.snapshot = snapshot
    if values is None:
        return
    if values is not view.values:
        view.values, view.values_at = values, now
    minute, dollars = f"{now:%H:%M}", values.in_dollars()
    new_minute, view.equity_minute = minute != view.equity_minute, minute
    unanchored = _unanchored(turn, values)
    if new_minute or _rate_came_or_went(turn, values):
        turn.record(FundsSeen(time=now, funds=_funds(values, view.values_at or now)))
    if dollars is None:
        _close_entries(turn, values.currency)
        return
    _open_entries(turn)
    view.equity, view.buying_power = dollars.net_liquidation, dollars.buying_power
    if unanchored:
        turn.record(EquityAnchored(time=now, equity=view.equity))
    if new_minute:
        turn.record(EquityMarked(time=now, equity=view.equity, daily_pnl=turn.state.daily_pnl))


def _unanchored(turn: Turn, values: AccountValues) -> bool:
    """Whether the day's first equity is unknown, or comes from a version that took other currencies for dollars."""
    state = turn.state
    return state.risk.start_equity is None or (state.funds is None and values.currency != "USD")


def _funds(values: AccountValues, taken_at: datetime) -> Funds:
    return Funds(
        taken_at=taken_at,
        currency=values.currency,
        exchange_rate=values.exchange_rate,
        net_liquidation=values.net_liquidation,
        buying_power=values.buying_power,
        cash=values.cash,
    )


def _rate_came_or_went(turn: Turn, values: AccountValues) -> bool:
    known = turn.state.funds
    return known is None or (known.exchange_rate is None) != (values.exchange_rate is None)


def _close_entries(turn: Turn, currency: str) -> None:
    view = turn.view
    reason = f"the account's base currency is {currency} and IBKR gave no exchange rate to US dollars"
    if view.no_dollars_because == reason:
        return
    _open_entries(turn)
    view.no_dollars_because = reason
    hold_entries(turn, reason)
    turn.alert("", f"No entries: {reason}. Positions stay managed.", key=ALERT_KEY)


def _open_entries(turn: Turn) -> None:
    reason, turn.view.no_dollars_because = turn.view.no_dollars_because, ""
    if reason:
        release_entries(turn, reason)
    if any(alert.key == ALERT_KEY for alert in turn.state.alerts):
        turn.record(AlertCleared(time=turn.moment.now, key=ALERT_KEY))
