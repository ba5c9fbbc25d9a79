"""How a stop is changed, and how a position is closed: through its stop, for partial and full exits alike.

A full exit changes the stop so that it triggers at once. A partial exit makes the stop smaller, and its order
at the market is sent once IBKR has shown that twice. So the closing orders together never exceed what is held,
whatever fills first and whenever the program dies (f14, f15).

Where IBKR refuses to change the stop, it is cancelled, and when it is gone another one is placed, or the exit goes
to the market. `closing_life` has the steps; this module starts them, finds out which signal a step has got, and
sends.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from state.domain.events import ClosingChanged, OrderCancelSent, OrderIntended, OrderModifyRefused
from state.domain.model import Closing, ClosingStep, Order, OrderReason, PartialReason, Position, exit_action, sign
from trader.core.effects import ArmTimer
from trader.core.numbers import round_to_tick, same_price
from trader.core.orders.actions import BrokerAction, CancelOrder, PlaceStop, describe
from trader.core.orders.closing_life import REFUSALS_MAX, Signal, next_step, wait_s
from trader.core.orders.protection import wanted_stop_size
from trader.core.orders.sending import cancel, closing_order, modified, send, send_modified, ticket
from trader.core.prices import price_of
from trader.core.turn import Turn

TIMER = "closing"
STEPS_A_TURN = 4
THROUGH = 0.005  # of the price: how far through the market a stop is moved to trigger at once
YIELD_S = 1.0  # real seconds for which a change that was sent is waited for before an exit goes on without it
PARTIALS_REFUSED_MAX = 3
STOP_REASONS: dict[str, OrderReason] = {"breakeven": "breakeven_stop_hit", "trail": "trailing_stop_hit"}
RETRIED = frozenset({103, 135, 321, 2102, 10326, 10327, 10341})
"""Codes that refuse a change which is not built from the order as IBKR reports it now, or comes too soon."""
RESTING_STEPS: tuple[ClosingStep, ...] = (
    "wait",
    "market",
)  # steps in which no message about the stop is on its way


# Starting


def move_stop(turn: Turn, position: Position, price: float, reason: Literal["breakeven", "trail"]) -> None:
    """Move the stop to a better price. While the entry works its stop is left as it was sent (g01)."""
    stop = turn.state.protective_stop(position)
    if stop is None or position.closing is not None or turn.state.working_entry(position) is not None:
        return
    size = stop.filled + wanted_stop_size(turn.state, position)
    _start(turn, position, "change", STOP_REASONS[reason], quantity=size, stop_price=price)


def resize_stop(turn: Turn, position: Position) -> None:
    """Change the stop to what is held, less pending exits, and to its price, where IBKR shows another one."""
    stop = turn.state.protective_stop(position)
    size = wanted_stop_size(turn.state, position)
    if stop is None or position.closing is not None or size == 0 or stop.change is not None:
        return
    if stop.quantity - stop.filled == size and same_price(stop.stop_price, position.stop_price):
        return
    _start(turn, position, "change", stop.reason, quantity=stop.filled + size, stop_price=position.stop_price)


def replace_stop(turn: Turn, position: Position) -> None:
    """Place a stop for a position without one."""
    if position.closing is None and wanted_stop_size(turn.state, position) > 0:
        _start(turn, position, "replacement", "stop_loss_hit", stop_price=position.stop_price)


def take_partial(turn: Turn, position: Position, shares: int, reason: PartialReason) -> None:
    """Sell (buy back) a part of a position: a smaller stop first, and the exit once IBKR has shown it twice."""
    stop = turn.state.protective_stop(position)
    if stop is None or position.closing is not None or turn.state.working_entry(position) is not None:
        return
    if position.partials_refused >= PARTIALS_REFUSED_MAX:
        return
    covered = wanted_stop_size(turn.state, position)
    if shares >= covered:
        close(turn, position, reason)
        return
    quantity = stop.filled + covered - shares
    _start(turn, position, "partial", reason, quantity=quantity, stop_price=position.stop_price, shares=shares)


def close(turn: Turn, position: Position, reason: OrderReason) -> None:
    """Close all that is held. Does nothing if that is under way; waits for what was sent a moment ago."""
    under_way = position.closing
    if under_way is not None and (under_way.kind == "exit" or not _gives_way(turn, position, under_way)):
        return
    if under_way is not None and under_way.step == "cancel":
        _go(turn, position, replace(under_way, kind="exit", reason=reason, tries=0), "cancel", sent=True)
        return
    first: ClosingStep = "change"
    if turn.state.working_entry(position) is not None:
        first = "entry_cancel"
    elif under_way is not None and under_way.step in ("change", "confirm"):
        first = "cancel"  # its change is unanswered, and two changes at once are refused
    _go(turn, position, Closing(kind="exit", step=first, reason=reason, since=turn.moment.now), first)


def _gives_way(turn: Turn, position: Position, under_way: Closing) -> bool:
    """Whether an exit may take the place of what is under way."""
    if under_way.step in (*RESTING_STEPS, "cancel"):
        return True
    if under_way.step == "place":
        return False
    return turn.moment.real_s - turn.view.step_began_s.get(position.symbol, 0.0) >= YIELD_S


def is_closing(position: Position) -> bool:
    """Whether the whole position is being closed."""
    return position.closing is not None and position.closing.kind == "exit"


def _start(
    turn: Turn,
    position: Position,
    kind: Literal["change", "partial", "replacement"],
    reason: OrderReason,
    *,
    stop_price: float,
    quantity: int = 0,
    shares: int = 0,
) -> None:
    first: ClosingStep = "change"
    if kind == "replacement":
        first = "place" if _inactive_stop(turn, position) is None else "cancel"
    closing = Closing(
        kind=kind,
        step=first,
        reason=reason,
        since=turn.moment.now,
        shares=shares,
        quantity=quantity,
        stop_price=stop_price,
    )
    _go(turn, position, closing, first)


# Going on


def advance(turn: Turn, symbol: str) -> None:
    """Take the next steps of what is under way for a symbol, as far as they have got their signals."""
    for _ in range(STEPS_A_TURN):
        if not _advance_once(turn, symbol):
            return


def _advance_once(turn: Turn, symbol: str) -> bool:
    """Take one step; False if the step under way has got no signal."""
    position = turn.state.positions.get(symbol)
    if position is None or position.closing is None:
        turn.view.step_until_s.pop(symbol, None)
        return False
    closing = position.closing
    signal = _signal(turn, position, closing)
    if signal is None:
        return False
    following = next_step(closing.kind, closing.step, signal)
    if following == "end":
        _end(turn, position, closing, gave_up=closing.kind == "partial" and signal in ("refused", "late"))
    elif following != closing.step or signal == "late":
        _step(turn, position, closing, following, signal)
    else:
        return False
    return True


def _signal(turn: Turn, position: Position, closing: Closing) -> Signal | None:
    """What the step waits for, as state and live view show it now."""
    order = turn.state.orders.get(closing.order_ref)
    found: Signal | None = None
    if closing.step == "entry_cancel":
        found = "gone" if turn.state.working_entry(position) is None else None
    elif closing.step != "wait":
        found = _order_signal(turn, closing, order)
    if found is not None and next_step(closing.kind, closing.step, found) != closing.step:
        return found
    return "late" if turn.moment.real_s >= _until_s(turn, position) else found


def _order_signal(turn: Turn, closing: Closing, order: Order | None) -> Signal | None:
    if order is None:
        return "gone"
    if not order.is_live:
        if order.status in ("rejected", "not_sent") and closing.step in ("place", "market"):
            return "refused"
        if closing.kind == "exit" and closing.step == "market" and order.status == "filled":
            return "late"  # it was for a part of the shares: the next one is for the rest
        return None if _fills_missing(turn, order) else "gone"
    as_sent = order.quantity == closing.quantity and same_price(order.stop_price, closing.stop_price)
    if closing.step == "change" and order.change is None:
        return "shown" if as_sent else "refused"
    if closing.step == "confirm":
        if not as_sent and order.order_ref in turn.view.refused:
            return "refused"  # IBKR showed the change before it had decided
        return "shown" if as_sent and turn.view.shown.get(order.order_ref, 0) >= 2 else None
    if closing.step == "place" and order.status == "working":
        return "shown"
    inactive = order.status == "inactive"
    return "refused" if closing.step in ("place", "market") and inactive else None


def _fills_missing(turn: Turn, order: Order) -> bool:
    """Whether IBKR has shown more shares of an ended order as filled than its executions have told yet."""
    reported = turn.view.reported.get(order.order_ref)
    return reported is not None and reported.filled > order.filled


def _step(turn: Turn, position: Position, closing: Closing, following: ClosingStep, signal: Signal) -> None:
    """Go to the next step, or choose another one: after the last refusal, or where a change is not possible."""
    kind, tries = closing.kind, closing.tries + (signal == "refused" or following == closing.step)
    if kind != "exit" and following != closing.step and signal != "refused" and closing.step != "wait":
        tries = 0
    if closing.step in ("change", "confirm") and signal == "refused":
        if _may_be_retried(turn, closing):
            following = "change"
        else:
            turn.record(OrderModifyRefused(time=turn.moment.now, order_ref=closing.order_ref, final=True))
    if closing.step == following == "cancel" and _inactive_stop(turn, position) is not None:
        following = "market" if kind == "exit" else "place"  # its cancel is not answered: it protects nothing
    if kind in ("change", "partial") and following in ("wait", "place") and closing.step == "place":
        kind = "replacement"  # the former stop is gone: what matters is that there is one
    if kind == "replacement" and following == "wait" and tries >= REFUSALS_MAX:
        if not position.is_adopted:
            turn.alert(position.symbol, f"IBKR refused a stop {tries} times: out at the market.")
            out = Closing(kind="exit", step="market", reason="unprotectable", since=turn.moment.now)
            _go(turn, position, out, "market")
            return
        text = f"IBKR refuses a stop of the adopted position: protect it in TWS ({tries} tries)."
        turn.alert(position.symbol, text, key=f"{position.symbol}:no-stop")
    if kind == "exit" and following == "place":
        turn.alert(position.symbol, "IBKR refused the order that closes the position: its stop is placed again.")
    _go(turn, position, replace(closing, kind=kind, tries=tries), following)


def _may_be_retried(turn: Turn, closing: Closing) -> bool:
    """Whether the same change may be accepted once it is sent as IBKR reports the order by now."""
    return closing.kind != "exit" and closing.tries == 0 and turn.view.refused.get(closing.order_ref) in RETRIED


def _end(turn: Turn, position: Position, closing: Closing, *, gave_up: bool) -> None:
    turn.record(ClosingChanged(time=turn.moment.now, symbol=position.symbol, closing=None, gave_up=gave_up))
    turn.view.step_until_s.pop(position.symbol, None)
    turn.view.comparison.wanted = True
    turn.view.changed.add(position.symbol)  # the stop may need another size now
    if gave_up:
        last = ", and no other is tried" if position.partials_refused >= PARTIALS_REFUSED_MAX else ""
        turn.log("warning", f"{position.symbol}: no {closing.reason}: IBKR did not confirm it{last}.")


# Steps


def _go(turn: Turn, position: Position, closing: Closing, step: ClosingStep, *, sent: bool = False) -> None:
    """Enter a step: record it, and send what it needs. sent: what the step waits for was sent already."""
    if turn.settings.dry_run:
        _dry_run(turn, position, closing)
        return
    closing = replace(closing, step=step, since=turn.moment.now)
    if not sent and step in ("change", "cancel", "place", "market"):
        closing = SENDERS[step](turn, position, closing)
    turn.record(ClosingChanged(time=turn.moment.now, symbol=position.symbol, closing=closing))
    if step == "entry_cancel":
        _cancel_entry(turn, position)
    wait = wait_s(closing.kind, closing.step, closing.tries, adopted=position.is_adopted)
    turn.view.step_began_s[position.symbol] = turn.moment.real_s
    turn.view.step_until_s[position.symbol] = turn.moment.real_s + wait
    turn.do(ArmTimer(TIMER, wait))


def _until_s(turn: Turn, position: Position) -> float:
    """Until when the step may last; after a restart its wait begins anew."""
    closing, until_s = position.closing, turn.view.step_until_s
    assert closing is not None
    if position.symbol not in until_s:
        wait = wait_s(closing.kind, closing.step, closing.tries, adopted=position.is_adopted)
        until_s[position.symbol] = turn.moment.real_s + wait
        turn.do(ArmTimer(TIMER, wait))
    return until_s[position.symbol]


def _send_change(turn: Turn, position: Position, closing: Closing) -> Closing:
    """Change the stop; or, where that is not possible, take the next rung of the ladder."""
    stop = turn.state.protective_stop(position)
    if stop is None:
        step: ClosingStep = "market" if closing.kind == "exit" else "place"
        return SENDERS[step](turn, position, replace(closing, step=step))
    if turn.state.children_fixed and stop.parent_ref:
        return _send_cancel(turn, position, replace(closing, step="cancel"))
    quantity, price, reason = closing.quantity, closing.stop_price, closing.reason
    if closing.kind == "exit":
        through = _through(turn, position)
        if through is None:
            return _send_cancel(turn, position, replace(closing, step="cancel"))
        quantity, price = stop.filled + wanted_stop_size(turn.state, position), through
    elif closing.kind == "partial":
        reason = stop.reason
    text = {
        "exit": f"out, {closing.reason} ({position.held} shares)",
        "partial": f"stop for {quantity - stop.filled} shares, before {closing.reason}",
    }.get(closing.kind, f"stop for {quantity - stop.filled} shares at {price:.2f} ({reason})")
    change = modified(turn, stop, quantity, price, reason, closing=closing.kind == "exit")
    send_modified(turn, stop, change, f"{position.symbol}: {text}")
    turn.view.shown[stop.order_ref] = 0
    if closing.tries == 0:
        turn.view.refused.pop(stop.order_ref, None)
    return replace(closing, order_ref=stop.order_ref, quantity=quantity, stop_price=price)


def _send_cancel(turn: Turn, position: Position, closing: Closing) -> Closing:
    """Cancel the stop, or the one that is Inactive."""
    stop = turn.state.protective_stop(position) or _inactive_stop(turn, position)
    if stop is None:
        step: ClosingStep = "market" if closing.kind == "exit" else "place"
        return SENDERS[step](turn, position, replace(closing, step=step))
    turn.log("info", f"{position.symbol}: cancelling its stop {stop.order_ref} ({closing.kind}).")
    turn.record(OrderCancelSent(time=turn.moment.now, order_ref=stop.order_ref, reason="replacement"))
    cancel(turn, stop.order_id, stop.order_ref, position.symbol)
    return replace(closing, order_ref=stop.order_ref)


def _send_stop(turn: Turn, position: Position, closing: Closing) -> Closing:
    """Place a stop of its own, without a parent and without a group: one that can be changed freely."""
    known = turn.state.protective_stop(position)
    if known is not None:
        return replace(closing, order_ref=known.order_ref)
    if closing.kind != "exit" and closing.step != "place" and _inactive_stop(turn, position) is not None:
        return _send_cancel(turn, position, replace(closing, step="cancel"))
    size = wanted_stop_size(turn.state, position)
    if closing.kind == "partial":
        size -= closing.shares
    if size < 1:  # exits on their way cover all of it
        return replace(closing, order_ref="")
    price = position.stop_price if closing.kind == "exit" else closing.stop_price
    order = closing_order(turn, position, "stop", size, exit_action(position.side), "stop_loss_hit")
    order.stop_price = price
    if closing.kind == "change":
        order.reason = closing.reason
    text = f"{position.symbol}: a stop for {size} shares at {price:.2f} ({closing.kind})"
    send(turn, [ticket(turn, order)], [OrderIntended(time=turn.moment.now, order=order)], text)
    return replace(closing, order_ref=order.order_ref, quantity=size, stop_price=price)


def _send_exit(turn: Turn, position: Position, closing: Closing) -> Closing:
    """Send the order at the market; none if one is live already."""
    live = [o for o in turn.state.live_orders(position.symbol) if o.role == "exit" and o.status != "inactive"]
    open_shares = position.held - sum(order.pending for order in live)
    shares = min(closing.shares, open_shares) if closing.kind == "partial" else open_shares
    if shares < 1 or any(order.order_ref == closing.order_ref for order in live):
        return replace(closing, order_ref=live[-1].order_ref if live else "")
    order = closing_order(turn, position, "exit", shares, exit_action(position.side), closing.reason)
    text = f"{position.symbol}: {closing.reason}, {shares} of {position.held} shares"
    send(turn, [ticket(turn, order)], [OrderIntended(time=turn.moment.now, order=order)], text)
    return replace(closing, order_ref=order.order_ref)


SENDERS = {"change": _send_change, "cancel": _send_cancel, "place": _send_stop, "market": _send_exit}


def _cancel_entry(turn: Turn, position: Position) -> None:
    entry = turn.state.working_entry(position)
    if entry is not None:
        turn.log("info", f"{position.symbol}: cancelling the rest of its entry before it is closed.")
        cancel(turn, entry.order_id, entry.order_ref, position.symbol)


def _inactive_stop(turn: Turn, position: Position) -> Order | None:
    stop = turn.state.orders.get(position.stop_ref)
    return stop if stop is not None and stop.status == "inactive" else None


def _through(turn: Turn, position: Position) -> float | None:
    """The price that makes the stop trigger at once; None without a price of now."""
    monitor = turn.view.monitors.get(position.symbol)
    price = price_of(turn, position.symbol)
    if monitor is None or price is None:
        return None
    way: Literal["up", "down"] = "up" if position.side == "LONG" else "down"
    return round_to_tick(price * (1 + sign(position.side) * THROUGH), monitor.min_tick, way)


def _dry_run(turn: Turn, position: Position, closing: Closing) -> None:
    """Say what would be done. Once: it is decided again at each price, since nothing is ever sent."""
    text = f"{position.symbol}: {closing.kind}, {closing.reason}"
    logged = turn.view.dry_run_logged.setdefault(position.symbol, set())
    if text not in logged:
        turn.log("info", f"Dry run, not sent. {text}.")
    logged.add(text)


# Comparisons


def carry_out(turn: Turn, actions: Sequence[BrokerAction]) -> None:
    """Do what a comparison decided on."""
    for action in actions:
        position = turn.state.positions.get(action.symbol)
        if isinstance(action, CancelOrder):
            turn.log("warning", f"{action.symbol}: {describe(action)}.")
            cancel(turn, action.order_id, action.order_ref, action.symbol)
        elif position is not None and isinstance(action, PlaceStop):
            replace_stop(turn, position)
        elif position is not None:
            resize_stop(turn, position)
