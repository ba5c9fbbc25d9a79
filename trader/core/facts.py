"""Takes the broker's facts into the state, as events, or into the live view. Sends nothing."""

from state.domain.events import BrokerErrorCounted, Event, OrderAcknowledged, OrderChanged
from state.errors import TraderError
from trader.broker.port import (
    BarFact,
    CommissionFact,
    ConnectionFact,
    ExecutionFact,
    MessageFact,
    OrderFact,
    PositionFact,
    PricesFact,
)
from trader.core.connection_status import record_loss
from trader.core.effects import Reconnect, RequestSave
from trader.core.orders.broker_events import (
    commission_event,
    execution_event,
    find_order,
    message_events,
    order_events,
)
from trader.core.orders.closing import take_stop_report
from trader.core.turn import Turn
from trader.core.view import note_execution

COMPETING_SESSION = 10197  # IBKR's message code


def _record(turn: Turn, event: Event) -> None:
    turn.record(event)
    turn.view.activity += 1


def take_prices(turn: Turn, fact: PricesFact) -> None:
    """The newest last prices."""
    for symbol, price in fact.prices.items():
        monitor = turn.view.monitors.get(symbol)
        if monitor is not None:
            monitor.take_price(price)
            turn.view.priced.add(symbol)


def take_bar(turn: Turn, fact: BarFact) -> None:
    """A 5-second bar. The candle that it closes is judged after all waiting facts were taken in."""
    monitor = turn.view.monitors.get(fact.symbol)
    if monitor is None:
        return
    try:
        candle = monitor.take_bar(fact.bar)
    except TraderError as error:
        turn.log("warning", f"{fact.symbol}: {error}")
        return
    turn.view.priced.add(fact.symbol)
    if candle is not None:
        turn.view.candles.append((fact.symbol, candle))


def take_execution(turn: Turn, fact: ExecutionFact) -> None:
    """Record an execution that is new and belongs to a known order or position."""
    execution = fact.execution
    event = execution_event(turn.state, execution, turn.moment.now)
    if event is None:
        return
    _record(turn, event)
    note_execution(turn.view, event)
    turn.log(
        "info",
        f"FILL {execution.symbol} {execution.side} {execution.shares} @ {execution.price:.2f} "
        f"({execution.order_ref or 'manual'}).",
    )
    turn.view.changed.add(execution.symbol)
    if turn.state.risk.broker_errors and execution.order_ref in turn.state.orders:
        _record(turn, BrokerErrorCounted(time=turn.moment.now, reset=True))  # the limit counts errors in a row
    turn.do(RequestSave())
    if not execution.order_ref:
        turn.view.comparison.wanted = True


def take_commission(turn: Turn, fact: CommissionFact) -> None:
    """Record the commission of a known execution."""
    event = commission_event(turn.state, fact, turn.moment.now)
    if event is not None:
        _record(turn, event)


def take_order(turn: Turn, fact: OrderFact) -> None:
    """An order of this trader as IBKR reports it."""
    state, comparison = turn.state, turn.view.comparison
    for event in order_events(state, fact.order, turn.moment.now):
        _record(turn, event)
        known = state.orders[fact.order.order_ref]
        if isinstance(event, OrderChanged) and not known.is_live:
            comparison.wanted = True  # it may have been a position's stop
        if isinstance(event, OrderAcknowledged) and known.other_perm_ids:
            perms = ", ".join(str(perm) for perm in (known.perm_id, *known.other_perm_ids))
            turn.alert(known.symbol, f"Two orders carry the reference {known.order_ref}: permIds {perms}.")
            comparison.wanted = True
    take_stop_report(turn, fact.order)


def take_message(turn: Turn, fact: MessageFact) -> None:
    """An error or a notice. One about an order is followed by a comparison."""
    for event in list(message_events(turn.state, fact, turn.moment.now)):
        _record(turn, event)
    order = find_order(turn.state, fact.order_id) if fact.order_id > 0 else None
    if order is not None:
        turn.log("warning", f"{order.symbol}: IBKR message {fact.code} about {order.order_ref}: {fact.text}")
        turn.view.comparison.wanted = True
    else:
        turn.log("info", f"IBKR: {fact.code} {fact.text}")
    if fact.code == COMPETING_SESSION:
        turn.alert(fact.symbol, f"Another session of this login takes the market data: {fact.text}")


def take_position(turn: Turn, fact: PositionFact) -> None:
    """IBKR's share count, which answers repeat: compare soon if it has changed."""
    symbol, quantity, seen = fact.position.symbol, fact.position.quantity, turn.view.positions_seen
    if seen.get(symbol, 0) != quantity:
        seen[symbol] = quantity
        turn.view.comparison.wanted = True


def take_connection(turn: Turn, fact: ConnectionFact) -> None:
    """The API connection is lost, or TWS has lost or regained its own connection to IBKR."""
    turn.view.outage = fact.state == "broken"
    if fact.state == "restored":
        turn.log("info", f"The connection to IBKR is restored: {fact.text}")
        turn.view.restored = True
        return
    record_loss(turn, connected=fact.state != "down", reason=fact.text)
    if fact.state == "down":
        turn.view.connection_lost = True
        turn.do(Reconnect())
