"""From a signal to a bracket: the filters, the size, and the two orders."""

from state.domain.events import EntryBlocked, OrderIntended, SignalTaken
from state.domain.model import EntryPlan, entry_action, exit_action
from trader.core.orders.order_ref import closing_ref, entry_ref
from trader.core.orders.sending import new_order, next_order_id, next_token, send, ticket
from trader.core.prices import has_live_data
from trader.core.sizing import size_entry, stop_price
from trader.core.strategy.ps60.breakout import Signal
from trader.core.strategy.ps60.filters import EntryContext, first_block
from trader.core.strategy.ps60.setups import Setup
from trader.core.turn import Turn
from trader.core.view import SymbolMonitor


def judge(turn: Turn, monitor: SymbolMonitor, signal: Signal, *, entries_open: bool) -> None:
    """Enter on a signal, or record the filter that blocks it."""
    setup, config = monitor.setup, turn.config
    if setup is None:
        return
    blocked = first_block(
        signal, _context(turn, monitor, signal, entries_open=entries_open), config.entry, config.risk
    )
    if blocked == "duplicate_signal" and _taken_before(turn, signal):
        return
    if blocked is not None:
        _block(turn, signal, blocked)
        return
    stop = stop_price(signal.side, signal.pivot, monitor.price, config.size, monitor.min_tick)
    quantity = size_entry(turn.view.equity, monitor.price, stop, turn.view.buying_power, config.size)
    if quantity < 1:
        text = f"{signal.symbol}: {signal.side} {signal.path}, but the risk allows less than one share."
        turn.log("warning", text)
        return
    turn.log(
        "info",
        f"ENTRY {signal.side} {signal.symbol}: {quantity} shares at about {monitor.price:.2f}, {signal.path} over "
        f"{signal.pivot:.2f} (volume {signal.volume_ratio:.1f} x), stop {stop:.2f}.",
    )
    enter(turn, signal, setup, monitor.con_id, quantity, stop)


def enter(turn: Turn, signal: Signal, setup: Setup, con_id: int, quantity: int, stop_price: float) -> str:
    """Send a bracket: a market entry and its stop, in one write. Returns the trade's id."""
    side, symbol, now = signal.side, signal.symbol, turn.moment.now
    attempt = turn.state.attempts_for(symbol, side, signal.pivot) + 1
    ref = entry_ref(symbol, side, attempt, next_token(turn))
    stop_ref = closing_ref(ref, "stop", symbol, side, attempt, next_token(turn))
    entry_id = next_order_id(turn)
    target1, target2, target3 = setup.targets(side)
    entry = new_order(turn, ref, "entry", symbol, con_id, ref, entry_id, quantity, entry_action(side), "entry")
    entry.plan = EntryPlan(
        side=side,
        pivot=signal.pivot,
        target1=target1,
        target2=target2,
        target3=target3,
        stop_price=stop_price,
        attempt=attempt,
        path=signal.path,
    )
    stop = new_order(
        turn, stop_ref, "stop", symbol, con_id, ref, entry_id + 1, quantity, exit_action(side), "stop_loss_hit"
    )
    stop.stop_price, stop.parent_ref = stop_price, ref
    taken = SignalTaken(
        time=now,
        symbol=symbol,
        side=side,
        path=signal.path,
        pivot=signal.pivot,
        break_time=signal.break_time,
        order_ref=ref,
    )
    tickets = [ticket(turn, entry, transmit=False), ticket(turn, stop, parent_id=entry_id)]
    intents = [OrderIntended(time=now, order=entry), OrderIntended(time=now, order=stop), taken]
    send(turn, tickets, intents, f"{symbol}: {signal.path} entry")
    return ref


def _taken_before(turn: Turn, signal: Signal) -> bool:
    """Whether an entry was already sent on this break: a restart that refills the bars gives it again."""
    last = turn.state.last_signals.get(signal.symbol)
    return last is not None and (last.side, last.break_time) == (signal.side, signal.break_time)


def _block(turn: Turn, signal: Signal, name: str) -> None:
    turn.log("info", f"{signal.symbol}: {signal.side} {signal.path} blocked by {name}.")
    turn.record(
        EntryBlocked(
            time=turn.moment.now,
            symbol=signal.symbol,
            side=signal.side,
            path=signal.path,
            pivot=signal.pivot,
            break_time=signal.break_time,
            filter=name,
        )
    )


def _context(turn: Turn, monitor: SymbolMonitor, signal: Signal, *, entries_open: bool) -> EntryContext:
    state, symbol, now, rules = turn.state, signal.symbol, turn.moment.now, turn.config.entry
    pending = {o.symbol for o in state.orders.values() if o.role == "entry" and o.is_live}
    occupied = set(state.positions) | pending
    last = state.last_signals.get(symbol)
    setup = monitor.setup
    return EntryContext(
        now=now,
        window=monitor.hours.entry_window(now.date(), rules),
        live_data=has_live_data(turn, monitor),
        price=monitor.price,
        target1=setup.target1_of(signal.side) if setup is not None else float("nan"),
        warm=monitor.buffer.warm,
        atr=monitor.atr,
        range_5m=monitor.range_5m,
        attempts=state.attempts_for(symbol, signal.side, signal.pivot),
        open_positions=len(occupied),
        held=symbol in occupied or symbol in state.foreign or symbol in turn.view.others,
        equity=state.risk.start_equity or turn.view.equity,
        daily_pnl=state.daily_pnl,
        trades_today=len({o.trade_id for o in state.orders.values() if o.role == "entry" and o.filled}),
        consecutive_losses=state.consecutive_losses,
        consecutive_errors=state.risk.broker_errors,
        breaker_tripped=state.risk.breaker_tripped or state.risk.loss_limit_hit,
        paused=state.risk.paused or symbol in state.halted or symbol in turn.view.unsettled or not entries_open,
        avoided=symbol in turn.config.universe.avoid_symbols,
        last_break=last.break_time if last is not None and last.side == signal.side else None,
    )
