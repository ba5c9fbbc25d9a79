"""The one function that changes the state, live and in recovery (invariant 9).

`apply` is deterministic: no clock, no file, no network. An event that it refuses with InvariantError is a defect of
the program. What IBKR reports is never refused.
"""

from collections.abc import Callable
from typing import Any

from state.domain import events as ev
from state.domain.executions import adjust_position, adopt_position, apply_commission, apply_execution
from state.domain.model import (
    Alert,
    CancelReason,
    Connection,
    ForeignPosition,
    LastSignal,
    MarketData,
    Order,
    OrderChange,
    TraderState,
)
from state.errors import InvariantError

ALERTS_KEPT = 50


def new_state(trading_date: str, account: str, gateway: str) -> TraderState:
    """The state before the first event of a date."""
    return TraderState(trading_date=trading_date, account=account, gateway=gateway)


def apply(state: TraderState, event: ev.Event, sequence: int) -> None:
    """Change `state` by one event.

    Raises:
        InvariantError: the sequence does not follow, or the event contradicts the state.
    """
    if sequence != state.sequence + 1:
        raise InvariantError(
            f"Event {sequence} ({event.kind()}) does not follow event {state.sequence}.",
            "Keep the logs folder as it is and start with --reconcile-only to see what IBKR holds.",
        )
    _HANDLERS[type(event)](state, event)
    state.sequence = sequence
    state.time = event.time


def _order(state: TraderState, order_ref: str, event: ev.Event) -> Order:
    order = state.orders.get(order_ref)
    if order is None:
        raise InvariantError(
            f"{event.kind()} names the order {order_ref!r}, for which no intent was recorded.",
            "Keep the logs folder as it is and start with --reconcile-only to see what IBKR holds.",
        )
    return order


def _session_started(state: TraderState, event: ev.SessionStarted) -> None:
    if (event.trading_date, event.account, event.gateway) != (
        state.trading_date,
        state.account,
        state.gateway,
    ):
        raise InvariantError(
            f"Session {event.session_id} is of {event.trading_date}, account {event.account} at {event.gateway}; "
            f"the state is of {state.trading_date}, account {state.account} at {state.gateway}.",
            "State of another date, account or gateway is never applied.",
        )
    state.session_id = event.session_id
    if not any(order.client_id != event.client_id for order in state.live_orders()):
        state.client_id = event.client_id or state.client_id  # live orders can be changed under their own id only
    lost_at = state.connection.lost_at  # an outage of the run before lasts until this one is connected and ready
    state.connection = Connection(since=event.time, reason="starting", lost_at=lost_at)
    state.market_data = {}


def _session_ended(state: TraderState, event: ev.SessionEnded) -> None:
    lost_at = state.connection.lost_at
    state.connection = Connection(since=event.time, reason=event.reason or event.status, lost_at=lost_at)
    state.market_data = {}


def _connection_changed(state: TraderState, event: ev.ConnectionChanged) -> None:
    before = state.connection
    same = (before.connected, before.managing, before.ready, before.entries_open) == (
        event.connected,
        event.managing,
        event.ready,
        event.entries_open,
    )
    state.connection = Connection(
        connected=event.connected,
        managing=event.managing,
        ready=event.ready,
        entries_open=event.entries_open,
        reason=event.reason,
        since=before.since if same else event.time,
        lost_at=event.lost_at,
    )


def _order_intended(state: TraderState, event: ev.OrderIntended) -> None:
    order = event.order
    if order.quantity < 1 or (order.role == "stop" and not order.stop_price):
        raise InvariantError(
            f"The order {order.order_ref} is for {order.quantity} shares with the stop price {order.stop_price}."
        )
    _order_known(state, event)


def _order_known(state: TraderState, event: ev.OrderIntended | ev.OrderRecovered) -> None:
    order = event.order
    if order.order_ref in state.orders:
        raise InvariantError(
            f"The order {order.order_ref} was announced twice.", "An order reference is never used again."
        )
    lookup = state.lookup
    _set_protective_stop(state, order, recovered=isinstance(event, ev.OrderRecovered))
    state.orders[order.order_ref] = order
    lookup.add_order(order)
    state.order_id_high = max(state.order_id_high, order.order_id)


def _set_protective_stop(state: TraderState, order: Order, *, recovered: bool) -> None:
    """A new stop becomes the protective stop of its trade's position.

    One that was recovered from IBKR does not replace a known live stop: it is a second stop for the same shares.
    """
    position = state.positions.get(order.symbol)
    if position is None or (recovered and state.protective_stop(position) is not None):
        return
    if order.role == "stop" and position.trade_id == order.trade_id:
        position.stop_ref = order.order_ref
        if order.stop_price is not None:
            position.stop_price = order.stop_price


def _order_modify_intended(state: TraderState, event: ev.OrderModifyIntended) -> None:
    order = _order(state, event.order_ref, event)
    if event.quantity < 1:
        raise InvariantError(f"The stop {event.order_ref} was to be changed to {event.quantity} shares.")
    before = order.change
    if event.awaited:
        order.change = OrderChange(
            quantity=event.quantity,
            stop_price=event.stop_price,
            reason_before=before.reason_before if before is not None else order.reason,
            closing_before=before.closing_before if before is not None else order.closing,
        )
    else:
        order.quantity, order.stop_price = event.quantity, event.stop_price
    order.reason, order.closing = event.reason, event.closing  # it may fill before IBKR shows the change
    order.updated_at = event.time
    position = state.positions.get(order.symbol)
    if position is not None and position.stop_ref == order.order_ref and not (event.awaited and event.closing):
        position.stop_price = event.stop_price


def _order_modified(state: TraderState, event: ev.OrderModified) -> None:
    order = _order(state, event.order_ref, event)
    order.updated_at = event.time
    order.quantity, order.stop_price = event.quantity, event.stop_price
    change = order.change
    if change is not None and (change.quantity, change.stop_price) == (event.quantity, event.stop_price):
        order.change = None


def _order_modify_refused(state: TraderState, event: ev.OrderModifyRefused) -> None:
    order = _order(state, event.order_ref, event)
    order.updated_at = event.time
    order.text = event.text or order.text
    if order.change is not None:
        order.reason, order.closing = order.change.reason_before, order.change.closing_before
        order.change = None
    if event.final and order.parent_ref:
        state.children_fixed = True


def _closing_changed(state: TraderState, event: ev.ClosingChanged) -> None:
    position = state.positions.get(event.symbol)
    if position is None:
        return
    if event.gave_up and position.closing is not None and position.closing.kind == "partial":
        position.partials_refused += 1
    position.closing = event.closing


def _order_acknowledged(state: TraderState, event: ev.OrderAcknowledged) -> None:
    order = _order(state, event.order_ref, event)
    if order.perm_id in (0, event.perm_id):
        order.perm_id = event.perm_id
        order.order_id = event.order_id or order.order_id
    elif event.perm_id not in order.other_perm_ids:
        order.other_perm_ids.append(event.perm_id)
    else:  # acknowledged again: of the orders under this reference it is the live one
        order.other_perm_ids = [*(i for i in order.other_perm_ids if i != event.perm_id), order.perm_id]
        order.perm_id, order.order_id = event.perm_id, event.order_id or order.order_id
    state.order_id_high = max(state.order_id_high, event.order_id)
    order.updated_at = event.time
    if order.status in ("intended", "unknown"):
        order.status = "working"


def _order_changed(state: TraderState, event: ev.OrderChanged) -> None:
    order = _order(state, event.order_ref, event)
    order.updated_at = event.time
    order.broker_status = event.broker_status or order.broker_status
    order.text = event.text or order.text
    if order.status == "filled" and order.filled >= order.quantity:
        return
    order.status, order.refusal = event.status, event.refusal
    state.lookup.note_status(order)
    if event.refusal is None:
        order.refusal_code = None
    elif event.refusal_code is not None:  # the status Inactive follows the error message and has no code
        order.refusal_code = event.refusal_code


def _order_cancel_sent(state: TraderState, event: ev.OrderCancelSent) -> None:
    order = _order(state, event.order_ref, event)
    order.updated_at = event.time
    order.cancel_reason = event.reason
    order.text = cancel_text(event.reason)


def cancel_text(reason: CancelReason) -> str:
    """What an order's `text` says after a cancel was sent."""
    return f"{reason}: cancel sent"


def _execution_seen(state: TraderState, event: ev.ExecutionSeen) -> None:
    apply_execution(state, event)
    _end_closing(state, event.symbol)


def _end_closing(state: TraderState, symbol: str) -> None:
    """A position that is flat has nothing to be closed any more."""
    if symbol not in state.positions:
        for trade in reversed(state.closed.values()):
            if trade.symbol == symbol:
                trade.closing = None
                return


def _commission_seen(state: TraderState, event: ev.CommissionSeen) -> None:
    apply_commission(state, event)


def _position_adjusted(state: TraderState, event: ev.PositionAdjusted) -> None:
    if event.symbol not in state.positions:
        raise InvariantError(
            f"There is no position in {event.symbol} to adjust.",
            "Keep the logs folder and report the defect.",
        )
    adjust_position(state, event, state.sequence + 1)
    _end_closing(state, event.symbol)


def _position_adopted(state: TraderState, event: ev.PositionAdopted) -> None:
    if event.position.symbol in state.positions:
        raise InvariantError(
            f"{event.position.symbol} is held already and cannot be adopted on top.",
            "Run `status` to see the position.",
        )
    adopt_position(state, event, state.sequence + 1)
    stop = state.orders.get(event.position.stop_ref)
    if stop is not None:  # an own stop of an earlier day: its fills belong to the adopted position now
        stop.trade_id, stop.parent_ref = event.position.trade_id, ""
        state.forget_lookup()


def _position_verified(state: TraderState, event: ev.PositionVerified) -> None:
    position = state.positions.get(event.symbol)
    if position is not None:
        position.recovery = event.recovery


def _foreign_seen(state: TraderState, event: ev.ForeignSeen) -> None:
    if event.quantity == 0:
        state.foreign.pop(event.symbol, None)
        return
    state.foreign[event.symbol] = ForeignPosition(
        symbol=event.symbol,
        con_id=event.con_id,
        quantity=event.quantity,
        avg_cost=event.avg_cost,
        seen_at=event.time,
    )


def _symbol_halted(state: TraderState, event: ev.SymbolHalted) -> None:
    state.halted[event.symbol] = event.reason
    state.halt_causes[event.symbol] = event.cause


def _symbol_released(state: TraderState, event: ev.SymbolReleased) -> None:
    state.halted.pop(event.symbol, None)
    state.halt_causes.pop(event.symbol, None)


def _signal_taken(state: TraderState, event: ev.SignalTaken) -> None:
    state.last_signals[event.symbol] = LastSignal(
        symbol=event.symbol,
        side=event.side,
        path=event.path,
        pivot=event.pivot,
        break_time=event.break_time,
        time=event.time,
        order_ref=event.order_ref,
    )
    state.entry_paths[event.path] = state.entry_paths.get(event.path, 0) + 1


def _entry_blocked(state: TraderState, event: ev.EntryBlocked) -> None:
    state.filter_blocks[event.filter] = state.filter_blocks.get(event.filter, 0) + 1


def _equity_anchored(state: TraderState, event: ev.EquityAnchored) -> None:
    state.risk.start_equity = event.equity


def _equity_marked(state: TraderState, event: ev.EquityMarked) -> None:
    """Changes nothing: the equity curve is read from the journal."""


def _funds_seen(state: TraderState, event: ev.FundsSeen) -> None:
    state.funds = event.funds


def _paused(state: TraderState, event: ev.Paused) -> None:
    state.risk.paused, state.risk.paused_reason = True, event.reason


def _unpaused(state: TraderState, event: ev.Unpaused) -> None:
    state.risk.paused, state.risk.paused_reason = False, ""


def _breaker_tripped(state: TraderState, event: ev.BreakerTripped) -> None:
    state.risk.breaker_tripped, state.risk.breaker_reason = True, event.reason


def _loss_limit_hit(state: TraderState, event: ev.LossLimitHit) -> None:
    state.risk.loss_limit_hit = True


def _broker_error_counted(state: TraderState, event: ev.BrokerErrorCounted) -> None:
    state.risk.broker_errors = 0 if event.reset else state.risk.broker_errors + 1


def _data_changed(state: TraderState, event: ev.DataChanged) -> None:
    if event.state == "live":
        state.market_data.pop(event.symbol, None)
    else:
        state.market_data[event.symbol] = MarketData(
            state=event.state, since=event.since, code=event.code, text=event.text
        )


def _alert_raised(state: TraderState, event: ev.AlertRaised) -> None:
    if event.key:
        state.alerts = [alert for alert in state.alerts if alert.key != event.key]
    state.alerts.append(Alert(time=event.time, text=event.text, symbol=event.symbol, key=event.key))
    del state.alerts[:-ALERTS_KEPT]


def _alert_cleared(state: TraderState, event: ev.AlertCleared) -> None:
    state.alerts = [alert for alert in state.alerts if alert.key != event.key]


def _state_restored(state: TraderState, event: ev.StateRestored) -> None:
    """Take the checkpoint's content. Session, sequence and time stay, and no order id is used again.

    Orders announced since the checkpoint stay known: IBKR's records hold their fills, and only their intents tell
    which trade a fill belongs to.
    """
    restored = event.state
    identity = ("trading_date", "account", "gateway")
    if any(getattr(restored, name) != getattr(state, name) for name in identity):
        raise InvariantError(
            f"{event.source} is of {restored.trading_date}, account {restored.account} at {restored.gateway}; "
            f"the state is of {state.trading_date}, account {state.account} at {state.gateway}.",
            "State of another date, account or gateway is never applied.",
        )
    order_id_high = max(state.order_id_high, restored.order_id_high)
    later = {ref: order for ref, order in state.orders.items() if ref not in restored.orders}
    for name in restored.__struct_fields__:
        if name not in ("session_id", "sequence", "time"):
            setattr(state, name, getattr(restored, name))
    state.order_id_high = order_id_high
    for ref, order in later.items():
        if order.filled or order.is_live:
            order.status, order.filled = "unknown", 0  # the restored state does not hold its executions
        state.orders[ref] = order
    state.forget_lookup()


_HANDLERS: dict[type[ev.Event], Callable[[TraderState, Any], None]] = {
    ev.SessionStarted: _session_started,
    ev.SessionEnded: _session_ended,
    ev.ConnectionChanged: _connection_changed,
    ev.OrderIntended: _order_intended,
    ev.OrderRecovered: _order_known,
    ev.OrderModifyIntended: _order_modify_intended,
    ev.OrderModified: _order_modified,
    ev.OrderModifyRefused: _order_modify_refused,
    ev.ClosingChanged: _closing_changed,
    ev.OrderAcknowledged: _order_acknowledged,
    ev.OrderChanged: _order_changed,
    ev.OrderCancelSent: _order_cancel_sent,
    ev.ExecutionSeen: _execution_seen,
    ev.CommissionSeen: _commission_seen,
    ev.PositionAdjusted: _position_adjusted,
    ev.PositionAdopted: _position_adopted,
    ev.PositionVerified: _position_verified,
    ev.ForeignSeen: _foreign_seen,
    ev.SymbolHalted: _symbol_halted,
    ev.SymbolReleased: _symbol_released,
    ev.SignalTaken: _signal_taken,
    ev.EntryBlocked: _entry_blocked,
    ev.EquityAnchored: _equity_anchored,
    ev.EquityMarked: _equity_marked,
    ev.FundsSeen: _funds_seen,
    ev.Paused: _paused,
    ev.Unpaused: _unpaused,
    ev.BreakerTripped: _breaker_tripped,
    ev.LossLimitHit: _loss_limit_hit,
    ev.BrokerErrorCounted: _broker_error_counted,
    ev.DataChanged: _data_changed,
    ev.AlertRaised: _alert_raised,
    ev.AlertCleared: _alert_cleared,
    ev.StateRestored: _state_restored,
}
