"""Takes the broker's facts into the state, as events, or into the live view. Sends nothing."""

from datetime import UTC, datetime

from state.domain.events import BrokerErrorCounted, Event, OrderAcknowledged, OrderChanged
from state.domain.model import Order
from state.errors import TraderError
from trader.broker.port import (
    BarFact,
    BrokerOrder,
    CommissionFact,
    ConnectionFact,
    ExecutionFact,
    MessageFact,
    OrderFact,
    PositionFact,
    PricesFact,
)
from trader.core.bars import BAR
from trader.core.connection_status import record_loss
from trader.core.data_check import note_bar
from trader.core.effects import Reconnect, RequestSave
from trader.core.market_data import take_price
from trader.core.orders.broker_events import (
    commission_event,
    execution_event,
    find_order,
    order_events,
    shows,
    terms_event,
)
from trader.core.orders.codes import CANCELLED, is_notice, meaning_of
from trader.core.orders.doubts import doubt, rejection
from trader.core.reconciliation.dates import is_of_date
from trader.core.turn import Turn
from trader.core.view import note_execution

COMPETING_SESSION = 10197  # IBKR's message code


def _record(turn: Turn, event: Event) -> None:
    turn.record(event)
    turn.view.activity += 1


def take_prices(turn: Turn, fact: PricesFact) -> None:
    """The newest last prices, each with the time of its trade where IBKR has told it."""
    for symbol, price in fact.prices.items():
        monitor = turn.view.monitors.get(symbol)
        if monitor is not None:
            seconds = fact.times.get(symbol)
            traded_at = turn.moment.now if seconds is None else datetime.fromtimestamp(seconds, UTC)
            take_price(turn, monitor, price, traded_at)
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
    note_bar(turn, monitor)
    if fact.bar.volume > 0:
        take_price(turn, monitor, fact.bar.close, fact.bar.time + BAR)
    turn.view.priced.add(fact.symbol)
    if candle is not None:
        turn.view.candles.append((fact.symbol, candle))


def take_execution(turn: Turn, fact: ExecutionFact) -> None:
    """Record an execution that is new and belongs to a known order or position."""
    execution = fact.execution
    if not is_of_date(execution.time, turn.state.trading_date):
        return
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
    state, comparison, view = turn.state, turn.view.comparison, turn.view
    order = fact.order
    for event in order_events(state, order, turn.moment.now):
        known = state.orders[order.order_ref]
        woke_up = known.status == "inactive"
        _record(turn, event)
        if isinstance(event, OrderChanged) and (event.status != "working" or woke_up):
            comparison.wanted = True  # a stop is gone, or there is one too many
            if event.status == "inactive":
                doubt(turn, known, 0, order.text)
        if isinstance(event, OrderAcknowledged) and known.other_perm_ids:
            perms = ", ".join(str(perm) for perm in (known.perm_id, *known.other_perm_ids))
            turn.alert(known.symbol, f"Two orders carry the reference {known.order_ref}: permIds {perms}.")
            comparison.wanted = True
    if order.order_ref in state.orders and order.client_id == turn.settings.client_id:
        view.reported[order.order_ref] = order
        if fact.described:
            _take_terms(turn, order)


def _take_terms(turn: Turn, order: BrokerOrder) -> None:
    """A stop as IBKR describes it: the change that was sent, or other terms than it had."""
    event = terms_event(turn.state, order, turn.moment.now)
    if event is not None:
        _record(turn, event)
        turn.view.changed.add(order.symbol)
        turn.view.shown[order.order_ref] = 0  # these terms are shown for the first time
    known = turn.state.orders[order.order_ref]
    if known.change is None and known.stop_price is not None and shows(order, known.quantity, known.stop_price):
        turn.view.shown[order.order_ref] = turn.view.shown.get(order.order_ref, 0) + 1


def take_message(turn: Turn, fact: MessageFact) -> None:
    """An error or a notice. One about an own order that is no notice leaves it in doubt until IBKR proves it."""
    order = _order_of(turn, fact)
    if order is None:
        turn.log("info", f"IBKR: {fact.code} {fact.text}")
    else:
        turn.log("warning", f"{order.symbol}: IBKR message {fact.code} about {order.order_ref}: {fact.text}")
        if fact.code == CANCELLED and order.is_live:
            _record(turn, _cancelled(turn, order, fact.text))
        elif not is_notice(fact.code) and fact.code != CANCELLED:
            _take_refusal(turn, order, fact)
        turn.view.comparison.wanted = True
    if fact.code == COMPETING_SESSION:
        turn.alert(fact.symbol, f"Another session of this login takes the market data: {fact.text}")


def _order_of(turn: Turn, fact: MessageFact) -> Order | None:
    """The own order that a message names; the reference counts, since IB Gateway may reissue ids (p03)."""
    if fact.order_ref in turn.state.orders:
        return turn.state.orders[fact.order_ref]
    return find_order(turn.state, fact.order_id) if fact.order_id > 0 and not fact.order_ref else None


def _cancelled(turn: Turn, order: Order, text: str) -> OrderChanged:
    return OrderChanged(time=turn.moment.now, order_ref=order.order_ref, status="cancelled", text=text)


def _take_refusal(turn: Turn, order: Order, fact: MessageFact) -> None:
    """Count a refusal, and remember what became of the order as a question. The status Inactive may come before."""
    if meaning_of(fact.code).effect != "cancel_refused":
        text = f"{order.symbol}: {fact.code} {fact.text}"
        _record(turn, BrokerErrorCounted(time=turn.moment.now, text=text))
    if order.role == "stop":
        turn.view.refused[order.order_ref] = fact.code
    if order.is_live:
        doubt(turn, order, fact.code, fact.text)
    elif order.status == "rejected" and order.refusal_code is None:
        _record(turn, rejection(order, fact.code, fact.text, turn.moment.now))


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
