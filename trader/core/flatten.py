"""`flatten`: pause, cancel entries, close every own position, and verify. It takes several turns of the engine."""

from collections.abc import Sequence

from trader.broker.port import PART_NAMES, Part
from trader.core.connection_status import is_managing
from trader.core.effects import ArmTimer, Reply
from trader.core.isolation import isolated
from trader.core.messages import OperatorRequest
from trader.core.orders.closing import close, is_closing
from trader.core.orders.order_ref import parse_ref
from trader.core.orders.sending import cancel_order, in_flight
from trader.core.turn import Turn
from trader.core.view import Flatten
from trader.errors import BrokerError

FLATTEN_TIMEOUT_S = 45.0
VERIFY_S = 10.0  # for which an answer of IBKR that verifies it is waited for
NO_CONNECTION_TIMEOUT_S = 5.0  # how long it waits for a lost connection
HINT = "Entries stay paused and the stops are in force. Check TWS, then try again."
TIMER = "flatten"


def start(turn: Turn, request: OperatorRequest) -> None:
    """Begin; the caller has recorded the pause. The reply is sent when all is flat, or after FLATTEN_TIMEOUT_S."""
    turn.view.flatten = Flatten(request.request_id, turn.moment.real_s)
    turn.do(ArmTimer(TIMER, FLATTEN_TIMEOUT_S))
    go_on(turn)


def go_on(turn: Turn) -> None:
    """Each tick: do what is left to do, and reply once it is done."""
    flatten, state = turn.view.flatten, turn.state
    if flatten is None:
        return
    if not is_managing(turn):
        if not state.connection.connected and turn.moment.real_s - flatten.since_s > NO_CONNECTION_TIMEOUT_S:
            _give_up(turn, flatten)
        return
    _step(turn)
    if state.positions or state.live_orders():
        flatten.seen_before, flatten.flat_since_s = None, None
        return
    if flatten.flat_since_s is None:
        flatten.flat_since_s = turn.moment.real_s
    if _verified(turn, flatten):
        _reply(turn, flatten, ())
    elif turn.moment.real_s - flatten.flat_since_s >= VERIFY_S and (missing := _not_answered(turn)):
        _reply(turn, flatten, missing)


def _reply(turn: Turn, flatten: Flatten, unverified: Sequence[Part]) -> None:
    """Flat; unverified: what IBKR has not answered, so that it is flat by own executions and orders only."""
    turn.view.flatten = None
    names = [PART_NAMES[part] for part in unverified]
    note = f" IBKR has not answered about {' and '.join(names)}: check TWS." if names else ""
    turn.log("info", f"Flat: no position and no order of this trader.{note}")
    content = {"ok": True, "closed": True, "daily_pnl": round(turn.state.daily_pnl, 2), "unverified": names}
    turn.do(Reply(flatten.request_id, content | {"note": note}))


def _not_answered(turn: Turn) -> tuple[Part, ...]:
    """What a flat account is verified by, and IBKR does not answer."""
    failed = turn.view.comparison.failed.keys() | turn.view.comparison.asked.keys()
    return tuple(part for part in ("positions", "open_orders") if part in failed)


def timer_fired(turn: Turn) -> None:
    """Give the flatten up after its timeout. The timer of an earlier flatten does nothing."""
    flatten = turn.view.flatten
    if flatten is not None and turn.moment.real_s - flatten.since_s >= FLATTEN_TIMEOUT_S - 1.0:
        _give_up(turn, flatten)


def _verified(turn: Turn, flatten: Flatten) -> bool:
    """Whether IBKR confirms it in an answer that is newer than the flat state; an older one does not count."""
    answer, foreign = turn.view.snapshot, turn.state.foreign
    if flatten.seen_before is None:
        flatten.seen_before = answer
    turn.view.comparison.wanted = True
    if answer is None or answer is flatten.seen_before:
        return False
    if answer.positions is None or answer.open_orders is None:
        return False
    held = [p for p in answer.positions if p.quantity and p.symbol not in foreign]
    own = (order for order in answer.open_orders if order.client_id == turn.settings.client_id)
    return not held and not any(parse_ref(order.order_ref) for order in own)


def _step(turn: Turn) -> None:
    """Cancel and close. Each step closes new fills too: an entry may fill before its cancel arrives."""
    state = turn.state
    entries = {order.symbol for order in state.orders.values() if order.role == "entry" and order.is_live}
    for symbol in sorted(entries | state.positions.keys()):
        isolated(turn, symbol, _close)


def _close(turn: Turn, symbol: str) -> None:
    unanswered = in_flight(turn)
    for order in turn.state.live_orders(symbol):
        if order.role == "entry" and order.order_ref not in unanswered:
            cancel_order(turn, order, "flatten")
    position = turn.state.positions.get(symbol)
    if position is not None and not is_closing(position):
        close(turn, position, "flatten")


def _give_up(turn: Turn, flatten: Flatten) -> None:
    """Reply with what is still open. Orders that were sent are not taken back, and the stops stay in force."""
    turn.view.flatten = None
    state, waited_s = turn.state, turn.moment.real_s - flatten.since_s
    held = ", ".join(f"{p.symbol} {p.quantity:+d}" for p in state.positions.values()) or "no position"
    orders = sum(order.is_live for order in state.orders.values())
    text = f"Not known to be flat after {waited_s:.0f} s: {held}, {orders} own orders are open"
    if not state.connection.ready:
        text += f"; {state.connection.reason}"
    turn.log("error", f"{text}.")
    content = {"ok": False, "error": f"{text}.", "hint": HINT, "exit_code": BrokerError.exit_code}
    turn.do(Reply(flatten.request_id, content))
