"""Which symbols are monitored, their bars (from disk, from IBKR's history, live), and the age of their prices.

Positions are protected without any of it. `trader.core.data_state` has the states of a symbol's data.
"""

import math
from collections.abc import Collection
from datetime import datetime, timedelta

from state.domain.events import AlertCleared
from trader.broker.port import HISTORY_S, Bar
from trader.core.bars import BAR, CANDLE_S, minute_of
from trader.core.effects import (
    AskHistory,
    AskInstrument,
    KeepBars,
    MarketOpened,
    ReadStoredBars,
    Subscribe,
)
from trader.core.messages import (
    HistoryFailed,
    HistoryReceived,
    InstrumentKnown,
    InstrumentUnknown,
    StoredBarsRead,
)
from trader.core.turn import Turn
from trader.core.view import SymbolMonitor
from trader.errors import MarketDataError
from trader.hours import MarketHours

KEEP_EVERY_S = 2.0
LOOK_FOR_HOLES_EVERY_S = 2.0


def _alert_key(symbol: str) -> str:
    """The key of the alert that a symbol is not monitored. `watch` stays: state files have it."""
    return f"watch-{symbol}"


def open_market(turn: Turn) -> None:
    """Monitor the symbol of every setup and position, and fill their bars once IBKR has described them all."""
    turn.view.opening = True
    for symbol in data_order(turn, {*turn.settings.setups, *turn.state.positions}):
        monitor_symbol(turn, symbol)
    _finish_opening(turn)


def data_order(turn: Turn, symbols: Collection[str]) -> list[str]:
    """The symbols in the order in which data are asked for: positions, then as the scanner ranks them, then others.

    IBKR limits the subscriptions and how many may begin in ten minutes.
    """
    ranks = {symbol: rank for rank, symbol in enumerate(turn.settings.setups)}
    return sorted(symbols, key=lambda s: (s not in turn.state.positions, ranks.get(s, len(ranks)), s))


def monitor_symbol(turn: Turn, symbol: str) -> None:
    """Start to monitor one symbol, unless that has begun already."""
    if symbol not in turn.view.monitors and symbol not in turn.view.instruments_asked:
        turn.view.instruments_asked.add(symbol)
        turn.do(AskInstrument(symbol))


def take_instrument(turn: Turn, message: InstrumentKnown) -> None:
    """IBKR has described the symbol: subscribe to it."""
    instrument = message.instrument
    symbol = instrument.symbol
    turn.view.instruments_asked.discard(symbol)
    try:
        hours = MarketHours.from_contract(instrument.liquid_hours, instrument.time_zone)
    except MarketDataError as error:
        _not_monitored(turn, symbol, error.what)
        return
    warning = hours.warning(turn.moment.now.date())
    if warning:
        turn.log("warning", f"{symbol}: {warning}")
    setup = turn.settings.setups.get(symbol)
    monitor = SymbolMonitor(symbol, instrument.con_id, instrument.min_tick, hours, setup, turn.config.entry)
    monitor.data.since_s, monitor.data.since_wall_ms = turn.moment.real_s, turn.moment.wall_ms
    turn.view.monitors[symbol] = monitor
    if symbol in turn.state.positions or not turn.view.opening:
        _subscribe(turn, symbol)
    if any(alert.key == _alert_key(symbol) for alert in turn.state.alerts):
        turn.record(AlertCleared(time=turn.moment.now, key=_alert_key(symbol)))
    _finish_opening(turn)


def take_unknown_instrument(turn: Turn, message: InstrumentUnknown) -> None:
    """The symbol is not monitored; the others are not affected."""
    turn.view.instruments_asked.discard(message.symbol)
    _not_monitored(turn, message.symbol, message.error)


def _not_monitored(turn: Turn, symbol: str, error: str) -> None:
    turn.log("warning", f"{symbol} is not monitored: {error}")
    turn.alert(symbol, f"{symbol} is not monitored: {error}", key=_alert_key(symbol))
    _finish_opening(turn)


def _finish_opening(turn: Turn) -> None:
    """Once IBKR has answered for every symbol: report it, and fill all bars, so that a restart is warm at once."""
    if not turn.view.opening or turn.view.instruments_asked:
        return
    turn.view.opening = False
    if not turn.view.opened:
        turn.view.opened = True
        turn.view.data_awaited_s = turn.moment.real_s
        turn.do(MarketOpened(len(turn.view.monitors)))
    for symbol in data_order(turn, turn.view.monitors):
        _subscribe(turn, symbol)
        turn.do(ReadStoredBars(symbol))


def _subscribe(turn: Turn, symbol: str) -> None:
    if symbol not in turn.view.subscribed:
        turn.view.subscribed.add(symbol)
        turn.do(Subscribe(symbol))


def take_price(turn: Turn, monitor: SymbolMonitor, price: float, traded_at: datetime) -> None:
    """Take a last price that traded at this session time. Its age counts from then, not from when it arrived."""
    moment = turn.moment
    at = min(traded_at, moment.now)
    age_s = (moment.now - at).total_seconds() / moment.speed
    monitor.take_price(price, at, moment.real_s - age_s)


def take_stored_bars(turn: Turn, message: StoredBarsRead) -> None:
    """Take the bars on disk, then ask IBKR for what is missing.

    Only whole minutes of the last hour: a part of a minute would give a wrong candle.
    """
    monitor, now = turn.view.monitors.get(message.symbol), turn.moment.now
    if monitor is None:
        return
    oldest = _oldest(now)
    try:
        monitor.backfill([bar for bar in message.bars if bar.time >= oldest])
        _take_past_price(turn, monitor)
    except MarketDataError as error:
        turn.log("warning", f"{monitor.symbol}: bars on disk are not used: {error.what}")
    gaps = monitor.buffer.missing(now)
    if gaps:
        since = gaps[0][0] if monitor.buffer.bars else oldest
        _ask_history(turn, monitor.symbol, since, now, filling=True)


def take_history(turn: Turn, message: HistoryReceived) -> None:
    """Historical bars fill gaps; they give no signals."""
    monitor = turn.view.monitors.get(message.symbol)
    if monitor is None:
        return
    oldest = _oldest(turn.moment.now)
    bars: list[Bar] = [bar for bar in message.bars if not message.filling or bar.time >= oldest]
    try:
        monitor.backfill(bars, keep=True)
        _take_past_price(turn, monitor)
    except MarketDataError as error:
        turn.log("warning", f"{monitor.symbol}: history is not used: {error.what}")


def _take_past_price(turn: Turn, monitor: SymbolMonitor) -> None:
    """Without any price: the close of the last bar, with its age."""
    if math.isnan(monitor.price) and monitor.buffer.bars:
        last = monitor.buffer.bars[-1]
        take_price(turn, monitor, last.close, last.time + BAR)


def take_history_failure(turn: Turn, message: HistoryFailed) -> None:
    """The gap stays: the symbol warms up from live bars."""
    if message.filling:
        turn.log("warning", f"{message.symbol}: no history ({message.error}); it warms up from live bars.")
    else:
        turn.log(
            "info",
            f"{message.symbol}: bars from {message.start} to {message.end} stay missing: {message.error}",
        )


def ask_for_holes(turn: Turn) -> None:
    """Ask for bars that are missing between history and live bars, or between live bars; each hole once."""
    view, now_s = turn.view, turn.moment.real_s
    if now_s - view.holes_looked_at_s < LOOK_FOR_HOLES_EVERY_S:
        return
    view.holes_looked_at_s = now_s
    if not turn.moment.connected:
        return
    for monitor in view.monitors.values():
        new = [hole for hole in monitor.buffer.holes() if (monitor.symbol, hole[0]) not in view.holes_asked]
        if new:
            view.holes_asked.update((monitor.symbol, start) for start, _ in new)
            _ask_history(turn, monitor.symbol, new[0][0], new[-1][1], filling=False)


def keep_bars(turn: Turn) -> None:
    """Have new bars written to disk, every KEEP_EVERY_S."""
    view, now_s = turn.view, turn.moment.real_s
    if now_s - view.kept_bars_at_s < KEEP_EVERY_S:
        return
    view.kept_bars_at_s = now_s
    new = {monitor.symbol: monitor.take_unwritten() for monitor in view.monitors.values()}
    bars = {symbol: found for symbol, found in new.items() if found}
    if bars:
        turn.do(KeepBars(bars))


def _ask_history(turn: Turn, symbol: str, start: datetime, end: datetime, *, filling: bool) -> None:
    seconds = int(min(max((end - start).total_seconds(), CANDLE_S), HISTORY_S))
    turn.do(AskHistory(symbol, start, end, seconds, filling))


def _oldest(now: datetime) -> datetime:
    return minute_of(now) - timedelta(seconds=HISTORY_S - CANDLE_S)
