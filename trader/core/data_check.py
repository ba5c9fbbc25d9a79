"""Which symbols are blind: takes in what becomes of the subscriptions, asks again, and tells the operator.

A blind symbol opens nothing. Its position keeps its stop, and rules of time still close it.
"""

import math
from datetime import UTC, datetime

from state.domain.events import AlertCleared, DataChanged
from trader.broker.port import BAR_S, DataFact
from trader.core.connection_status import is_reachable
from trader.core.data_state import BLIND, SILENT_S, DataEvent, asked_again, change, silent_after_s
from trader.core.effects import DataArrived, PreferData, Resubscribe
from trader.core.market_data import data_order
from trader.core.turn import Turn
from trader.core.view import SymbolMonitor

RECORD_EVERY_S = 15.0  # of one symbol, so that data which come and go do not fill the journal
ALERT_EVERY_S = 10.0
ASLEEP_S = 5.0  # ten times a tick
LINES_IN_USE = 101  # IBKR's message code: all market data lines are in use
ALERT_KEY = "market-data"
TEXTS: dict[DataEvent, str] = {
    "delayed": "IBKR sends delayed data",
    "silent": "no real-time bars come",
}


def take_data(turn: Turn, fact: DataFact) -> None:
    """What became of a symbol's subscription."""
    monitor = turn.view.monitors.get(fact.symbol)
    if monitor is not None:
        _change(turn, monitor, fact.kind, fact.code, fact.text)


def note_bar(turn: Turn, monitor: SymbolMonitor) -> None:
    """A real-time bar has come: the data are live, unless they are delayed."""
    _change(turn, monitor, "bar")


def check_data(turn: Turn) -> None:
    """Each tick: find silent symbols, ask again for what is missing, and tell which symbols are blind."""
    reachable, asleep_s = is_reachable(turn), _asleep_s(turn)
    for monitor in turn.view.monitors.values():
        monitor.data.heard_at_s += asleep_s
        _check_silence(turn, monitor, reachable=reachable)
    if reachable:
        _prefer_positions(turn)
        _ask_again(turn)
    _record_changes(turn)
    _tell_blind(turn)
    _tell_arrived(turn)


def _change(turn: Turn, monitor: SymbolMonitor, event: DataEvent, code: int = 0, text: str = "") -> None:
    moment = turn.moment
    change(monitor.data, event, moment.real_s, moment.wall_ms, code, text or TEXTS.get(event, ""))


def _asleep_s(turn: Turn) -> float:
    """Real seconds without a tick, as of a suspended process: the bars of that time are not taken in yet."""
    now_s, before_s = turn.moment.real_s, turn.view.data_checked_s
    turn.view.data_checked_s = now_s
    return now_s - before_s if now_s - before_s > ASLEEP_S else 0.0


def _check_silence(turn: Turn, monitor: SymbolMonitor, *, reachable: bool) -> None:
    """No bars are expected without a connection, and outside of the market hours."""
    data, now_s = monitor.data, turn.moment.real_s
    if not reachable or not _is_open(turn, monitor):
        data.heard_at_s = max(data.heard_at_s, now_s)
    elif now_s - data.heard_at_s > silent_after_s(BAR_S, turn.moment.speed):
        _change(turn, monitor, "silent")


def _is_open(turn: Turn, monitor: SymbolMonitor) -> bool:
    return monitor.hours.is_open(turn.moment.now)


def _prefer_positions(turn: Turn) -> None:
    held = tuple(sorted(turn.state.positions))
    if held != turn.view.preferred_data:
        turn.view.preferred_data = held
        turn.do(PreferData(held))


def _ask_again(turn: Turn) -> None:
    """Ask again for the data of blind symbols, each after its wait.

    Where no line is left, one symbol a tick: its prices and its bars need two, and must not compete for them with
    those of other symbols.
    """
    now_s, without_line = turn.moment.real_s, 0
    for symbol in data_order(turn, turn.view.monitors):
        monitor = turn.view.monitors[symbol]
        data = monitor.data
        if data.state not in BLIND or data.again_at_s > now_s:
            continue
        if data.state == "stale" and not _is_open(turn, monitor):
            continue
        without_line += data.code == LINES_IN_USE
        if data.code != LINES_IN_USE or without_line == 1:
            asked_again(data, now_s)
            turn.do(Resubscribe(symbol))


def _record_changes(turn: Turn) -> None:
    """Record each symbol whose data are in another state than the files say."""
    now_s = turn.moment.real_s
    for monitor in turn.view.monitors.values():
        data = monitor.data
        if not _differs(turn, monitor) or now_s - data.recorded_at_s < RECORD_EVERY_S:
            continue
        data.recorded_at_s = now_s
        since = datetime.fromtimestamp(data.since_wall_ms / 1000, UTC)
        turn.record(
            DataChanged(
                time=turn.moment.now,
                symbol=monitor.symbol,
                state=data.state,
                since=since,
                code=data.code,
                text=data.text,
            )
        )
        if data.state == "live":
            turn.log("info", f"{monitor.symbol}: market data are live again.")
        else:
            turn.log("warning", f"{monitor.symbol}: market data are {data.state}: {_reason(data.code, data.text)}.")


def _differs(turn: Turn, monitor: SymbolMonitor) -> bool:
    """Whether the files say another state. Of symbols that wait, only those are recorded whose turn is far off."""
    data, known = monitor.data, turn.state.market_data.get(monitor.symbol)
    if data.state == "live":
        return known is not None
    if data.state == "waiting":
        asked, waited_s = data.heard_at_s < math.inf, turn.moment.real_s - data.since_s
        if asked or waited_s < SILENT_S or not _is_open(turn, monitor):
            return False
    return known is None or (known.state, known.code) != (data.state, data.code)


def _reason(code: int, text: str) -> str:
    return f"{code} {text}".rstrip(".") if code else text or "no real-time bar has come yet"


def _tell_blind(turn: Turn) -> None:
    """One alert that names all blind symbols; it is cleared when all data are live."""
    raised = next((alert for alert in turn.state.alerts if alert.key == ALERT_KEY), None)
    if not turn.state.market_data:
        if raised is not None:
            turn.record(AlertCleared(time=turn.moment.now, key=ALERT_KEY))
        return
    text = _alert_text(turn)
    due = turn.moment.real_s - turn.view.data_alert_at_s >= ALERT_EVERY_S
    if due and (raised is None or raised.text != text):
        turn.view.data_alert_at_s = turn.moment.real_s
        turn.alert("", text, key=ALERT_KEY)
        turn.log("warning", text)


def _alert_text(turn: Turn) -> str:
    groups: dict[str, list[str]] = {}
    for symbol, data in sorted(turn.state.market_data.items()):
        groups.setdefault(f"{data.state} {data.code}" if data.code else data.state, []).append(symbol)
    named = "; ".join(f"{', '.join(symbols)} ({why})" for why, symbols in groups.items())
    return f"No live market data: {named}. Nothing is entered there; positions keep their stops."


def _tell_arrived(turn: Turn) -> None:
    """Once after the market was opened: how many symbols deliver data, when all do or after `SILENT_S`."""
    view, now_s = turn.view, turn.moment.real_s
    if view.data_arrived or not view.opened or not view.monitors:
        return
    if not any(_is_open(turn, monitor) for monitor in view.monitors.values()):
        view.data_awaited_s = now_s
        return
    blind = tuple(symbol for symbol, monitor in view.monitors.items() if monitor.data.state != "live")
    if not blind or now_s - view.data_awaited_s >= silent_after_s(BAR_S, turn.moment.speed):
        view.data_arrived = True
        turn.do(DataArrived(len(view.monitors) - len(blind), blind))
