"""The engine: (state, live view, messages) to events and effects.

FACT_HANDLERS and HANDLERS name the handler of each message type. All waiting facts are taken in before anything is
decided, so that three partial fills cost one resize of the stop.

No clock, no file, no network, nothing that waits: what takes time is a field of the live view, and the message that
ends it is named there.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from state.domain.events import SessionEnded
from trader.broker import port
from trader.core import (
    comparison,
    data_check,
    day,
    entries,
    exits,
    facts,
    flatten,
    market_data,
    messages,
    operator,
    recovery,
)
from trader.core.bars import Candle
from trader.core.connection_status import hold_entries, is_managing, is_reachable, release_entries, set_status
from trader.core.isolation import isolated
from trader.core.limits import check_limits
from trader.core.orders import closing, sending
from trader.core.orders.doubts import conclude_late
from trader.core.turn import Turn

FACT_HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    port.PricesFact: facts.take_prices,
    port.BarFact: facts.take_bar,
    port.ExecutionFact: facts.take_execution,
    port.CommissionFact: facts.take_commission,
    port.OrderFact: facts.take_order,
    port.DataFact: data_check.take_data,
    port.MessageFact: facts.take_message,
    port.PositionFact: facts.take_position,
    port.ConnectionFact: facts.take_connection,
}


def handle(turn: Turn, waiting: Sequence[messages.Message]) -> None:
    """Take in everything that waits, and decide: first all facts, then every other message in its order."""
    rest = []
    for message in waiting:
        take = FACT_HANDLERS.get(type(message))
        if take is None:
            rest.append(message)
        else:
            take(turn, message)
    _react(turn)
    if turn.view.restored:
        turn.view.restored = False
        recovery.reconnected(turn, messages.Reconnected())
    for message in _once_a_tick(rest):
        HANDLERS[type(message)](turn, message)
        _react(turn)
    if turn.view.phase == "trading":
        comparison.schedule(turn)


def _once_a_tick(waiting: Sequence[messages.Message]) -> list[messages.Message]:
    """Keep the last tick only: after the computer was suspended many ticks wait."""
    ticks = [message for message in waiting if isinstance(message, messages.Tick)]
    return [message for message in waiting if not isinstance(message, messages.Tick)] + ticks[-1:]


def _react(turn: Turn) -> None:
    """Act on the facts. Stops first, then exits, then entries."""
    view = turn.view
    if view.phase == "starting":
        return
    if is_reachable(turn):
        conclude_late(turn)
        for symbol in list(turn.state.positions):
            isolated(turn, symbol, closing.advance)
    if view.phase != "trading":
        return
    changed, view.changed = view.changed, set()
    for symbol in sorted(changed):
        isolated(turn, symbol, _after_fill)
    priced, view.priced = view.priced, set()
    for symbol in sorted(priced & set(turn.state.positions)):
        isolated(turn, symbol, _manage)
    candles, view.candles = view.candles, []
    check_limits(turn)
    for symbol, candle in candles:
        isolated(turn, symbol, partial(judge_candle, candle=candle))


def _after_fill(turn: Turn, symbol: str) -> None:
    position = turn.state.positions.get(symbol)
    if position is not None:
        if is_managing(turn):
            closing.resize_stop(turn, position)
    else:
        _log_close(turn, symbol)
        for order in turn.state.live_orders(symbol):
            parent = turn.state.orders.get(order.parent_ref)
            if order.role == "stop" and (parent is None or not parent.is_live):
                sending.cancel_order(turn, order, "the position is closed")


def _manage(turn: Turn, symbol: str) -> None:
    position = turn.state.positions.get(symbol)
    if position is None or not is_managing(turn):
        return
    monitor = turn.view.monitors.get(symbol)
    if monitor is None:
        market_data.monitor_symbol(turn, symbol)
    else:
        exits.manage(turn, position, monitor)


def judge_candle(turn: Turn, symbol: str, candle: Candle) -> None:
    """Judge the signals of a closed candle; a signal older than `signal_max_age_s` is discarded."""
    monitor = turn.view.monitors[symbol]
    age_s = (turn.moment.now - candle.end).total_seconds() / turn.moment.speed
    for signal in monitor.signals(candle):
        if age_s > turn.config.entry.signal_max_age_s:
            turn.log("warning", f"{symbol}: {signal.side} {signal.path} signal is {age_s:.0f} s old: discarded.")
            continue
        entries.judge(turn, monitor, signal, entries_open=turn.state.connection.entries_open)


def _log_close(turn: Turn, symbol: str) -> None:
    done = [trade for trade in turn.state.closed.values() if trade.symbol == symbol and trade.exit_time is not None]
    if done:
        trade = done[-1]
        turn.log(
            "info",
            f"CLOSED {trade.side} {symbol}: {trade.shares} shares, {trade.exit_reason} at "
            f"{trade.exit_price or 0.0:.2f}, P&L {trade.realized_pnl:+.2f}; today {turn.state.daily_pnl:+.2f}.",
        )


def _answered(turn: Turn, message: messages.PartAnswered) -> None:
    if comparison.take_part(turn, message):
        _compare(turn)


def _grace_over(turn: Turn) -> None:
    if comparison.grace_fired(turn):
        _compare(turn)


def _compare(turn: Turn) -> None:
    """Decide on the answers that have come."""
    if turn.view.recovery is not None:
        recovery.decide(turn, turn.view.recovery)
    elif turn.view.phase == "trading":
        comparison.decide(turn)


def _tick(turn: Turn, _: messages.Tick) -> None:
    if turn.view.phase != "trading":
        return
    sending.notice_silence(turn)
    operator.go_on(turn)
    day.check_time(turn)
    data_check.check_data(turn)
    market_data.ask_for_holes(turn)
    market_data.keep_bars(turn)
    turn.view.priced.update(turn.state.positions)


def _timer(turn: Turn, message: messages.TimerFired) -> None:
    TIMERS[message.name](turn)


TIMERS: dict[str, Callable[[Turn], None]] = {
    comparison.TIMER: comparison.timer_fired,
    comparison.GRACE_TIMER: _grace_over,
    recovery.TIMER: recovery.timer_fired,
    flatten.TIMER: flatten.timer_fired,
    closing.TIMER: lambda _: None,  # after each message the steps of closings are looked at
}


def _trading_started(turn: Turn, _: messages.TradingStarted) -> None:
    turn.view.phase = "trading"
    minutes = turn.settings.duration_min
    turn.view.ends_at = None if minutes is None else turn.moment.now + timedelta(minutes=minutes)
    turn.view.kept_bars_at_s = turn.view.holes_looked_at_s = turn.moment.real_s
    market_data.open_market(turn)


def _instrument_known(turn: Turn, message: messages.InstrumentKnown) -> None:
    market_data.take_instrument(turn, message)
    operator.continue_adoption(turn, message.instrument.symbol)


def _instrument_unknown(turn: Turn, message: messages.InstrumentUnknown) -> None:
    market_data.take_unknown_instrument(turn, message)
    operator.continue_adoption(turn, message.symbol)


def _entries_held(turn: Turn, message: messages.EntriesHeld) -> None:
    hold_entries(turn, message.reason)
    if message.alert:
        turn.alert("", message.alert)


def _entries_released(turn: Turn, message: messages.EntriesReleased) -> None:
    release_entries(turn, message.reason)


def _alert(turn: Turn, message: messages.OperatorAlert) -> None:
    turn.alert(message.symbol, message.text)


def _run_ending(turn: Turn, message: messages.RunEnding) -> None:
    set_status(turn, connected=False, ready=False, reason=message.reason)
    turn.record(
        SessionEnded(
            time=turn.moment.now, session_id=message.session_id, status=message.status, reason=message.reason
        )
    )


HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    messages.RecoveryStarted: recovery.start,
    messages.TradingStarted: _trading_started,
    messages.RunEnding: _run_ending,
    messages.PartAnswered: _answered,
    messages.Tick: _tick,
    messages.TimerFired: _timer,
    messages.Reconnected: recovery.reconnected,
    messages.OperatorRequest: operator.take_request,
    messages.OrdersSent: sending.take_sent,
    messages.OrdersNotSent: sending.take_not_sent,
    messages.InstrumentKnown: _instrument_known,
    messages.InstrumentUnknown: _instrument_unknown,
    messages.StoredBarsRead: market_data.take_stored_bars,
    messages.HistoryReceived: market_data.take_history,
    messages.HistoryFailed: market_data.take_history_failure,
    messages.EntriesHeld: _entries_held,
    messages.EntriesReleased: _entries_released,
    messages.OperatorAlert: _alert,
}
