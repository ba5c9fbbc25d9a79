"""What every state must satisfy, checked before one is written and after one is read."""

import math
from collections.abc import Iterator

from state.domain.model import Position, TraderState, entry_action, is_date
from state.errors import InvariantError

PRICE_MAX = 10_000_000.0
SHARES_MAX = 100_000_000
NUMBER_MAX = 2**62  # of events and order ids: more than any day needs, and every JSON reader can hold it


def check_state(state: TraderState) -> None:
    """Raise InvariantError, naming the first rule that the state breaks."""
    for problem in _problems(state):
        raise InvariantError(problem, "The state was not used; keep the logs folder for inspection.")


def _problems(state: TraderState) -> Iterator[str]:
    if not is_date(state.trading_date):
        yield f"{state.trading_date!r} is not a date."
    if not (0 <= state.sequence <= NUMBER_MAX and 0 <= state.order_id_high <= NUMBER_MAX):
        yield f"The sequence {state.sequence} or the order id {state.order_id_high} is out of range."
    for symbol, position in state.positions.items():
        if symbol != position.symbol:
            yield f"The position under {symbol} says that it is {position.symbol}."
        if position.held <= 0:
            yield f"The open position in {symbol} holds {position.held} shares."
        if position.trade_id in state.closed:
            yield f"The trade {position.trade_id} is both open and closed."
    for trade_id, position in state.closed.items():
        if trade_id != position.trade_id:
            yield f"The trade under {trade_id} says that it is {position.trade_id}."
    for position in state.trades:
        yield from _position_problems(state, position)
    for order_ref, order in state.orders.items():
        if order_ref != order.order_ref:
            yield f"The order under {order_ref} says that it is {order.order_ref}."
        if not 0 < order.quantity <= SHARES_MAX or not 0 <= order.filled <= SHARES_MAX:
            yield f"The order {order_ref} is for {order.quantity} shares, {order.filled} filled."
        if order.stop_price is not None and not _is_price(order.stop_price):
            yield f"The order {order_ref} has the stop price {order.stop_price}."
    if state.halted.keys() != state.halt_causes.keys():
        yield f"The halted symbols {sorted(state.halted)} have causes for {sorted(state.halt_causes)}."
    for row in state.attempts:
        if row.count < 0 or not _is_price(row.pivot):
            yield f"{row.symbol} has {row.count} attempts at {row.pivot}."


def _position_problems(state: TraderState, position: Position) -> Iterator[str]:
    name = f"{position.symbol} ({position.trade_id})"
    if not 0 <= position.held <= position.shares <= SHARES_MAX:
        yield f"{name} holds {position.held} of {position.shares} shares."
    for label in ("entry_price", "stop_price", "initial_stop", "pivot", "target1", "target2", "target3"):
        if not _is_price(getattr(position, label)):
            yield f"{name} has the {label} {getattr(position, label)}."
    missing = [key for key in position.fills if key not in state.executions]
    if missing:
        yield f"{name} counts the execution {missing[0]}, which is not in the state."
        return
    opening = "BOT" if entry_action(position.side) == "BUY" else "SLD"
    fills = [state.executions[key] for key in position.fills]
    if any(fill.shares < 0 or not _is_price(fill.price) for fill in fills):
        yield f"{name} has an execution with an invalid price or share count."
    net = sum(fill.shares if fill.side == opening else -fill.shares for fill in fills)
    if net != position.held - position.oversold:
        yield f"{name} holds {position.held} shares, but its executions leave {net}."


def _is_price(value: float) -> bool:
    return math.isfinite(value) and 0 < value <= PRICE_MAX
