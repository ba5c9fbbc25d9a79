"""IBKR's objects as the port's plain values. Pure, and by the objects' attributes alone: no client library here.

Quantities come as floats and leave as whole shares. IBKR writes "not set" as 0.0 or as the largest double, and
both leave as None. A value that is no number raises ValueError: the message that carried it then counts as
undecodable, and an answer it belongs to as incomplete.
"""

import logging
import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from msgspec.structs import replace

from state.domain.model import Action
from trader.broker.port import (
    AccountValues,
    Bar,
    BrokerExecution,
    BrokerOrder,
    BrokerPosition,
    ConnectionFact,
    Instrument,
    OrderTicket,
    check_bar,
)
from trader.errors import BrokerError, MarketDataError

UNSET_DOUBLE = 1.7976931348623157e308
ACCOUNT_TAGS = ("NetLiquidation", "BuyingPower", "TotalCashValue")
_SIDES = {"BOT": "BOT", "BUY": "BOT", "SLD": "SLD", "SELL": "SLD"}
_LINE_STATES: dict[int, Literal["broken", "restored"]] = {
    1100: "broken",  # between TWS and IBKR's servers
    2110: "broken",
    1101: "restored",  # market data subscriptions are lost
    1102: "restored",
}
_log = logging.getLogger(__name__)

# Any: ib_insync's Contract, Order, OrderState, Execution and ContractDetails, told apart by the parameter's name.


def is_managed_kind(contract: Any) -> bool:
    """Whether the contract is a stock in dollars, the only kind that this program knows how to hold."""
    return contract.secType == "STK" and contract.currency in ("USD", "")


def whole(value: float) -> int:
    """Whole shares, towards zero. Raises ValueError for NaN and infinity."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a number of shares")
    return int(value)


def price_or_none(value: float | None) -> float | None:
    """A price, or None where it is unset. Raises ValueError for NaN and infinity."""
    if value is None or value in (0.0, UNSET_DOUBLE):
        return None
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a price")
    return value


def amount_or_none(value: float) -> float | None:
    """An amount of money, zero included, or None where it is unset or no number."""
    return value if math.isfinite(value) and value != UNSET_DOUBLE else None


def position_of(account: str, contract: Any, quantity: float, avg_cost: float) -> BrokerPosition:
    """A position message; quantity 0 is flat."""
    return BrokerPosition(
        account, contract.symbol, contract.conId, whole(quantity), amount_or_none(avg_cost) or 0.0
    )


def _action(text: str) -> Action:
    if text not in ("BUY", "SELL"):  # SSHORT and SLONG belong to institutions
        return "SELL" if text.startswith("S") else "BUY"
    return cast("Action", text)


def _order(contract: Any, order: Any, status: str, quantity: int, filled: int, text: str) -> BrokerOrder:
    trailing = order.orderType.startswith("TRAIL")
    return BrokerOrder(
        order_ref=order.orderRef,
        perm_id=order.permId,
        order_id=order.orderId,
        client_id=order.clientId,
        account=order.account,
        symbol=contract.symbol,
        con_id=contract.conId,
        action=_action(order.action),
        quantity=quantity,
        filled=filled,
        order_type=order.orderType,
        limit_price=price_or_none(order.lmtPrice),
        stop_price=price_or_none(order.trailStopPrice if trailing else order.auxPrice),
        status=status,
        parent_id=order.parentId,
        oca_group=order.ocaGroup,
        text=text,
    )


def open_order_of(contract: Any, order: Any, order_state: Any, filled: int) -> BrokerOrder:
    """An openOrder message. It does not say how much was filled: that comes from orderStatus and executions."""
    quantity = whole(order.totalQuantity)
    if order_state.status == "Filled":
        filled = quantity
    return _order(contract, order, order_state.status, quantity, filled, order_state.warningText or "")


def completed_order_of(contract: Any, order: Any, order_state: Any) -> BrokerOrder:
    """A completedOrder message. A filled one reports quantity 0, and no one carries order or client id."""
    filled = whole(order.filledQuantity) if order.filledQuantity != UNSET_DOUBLE else 0
    quantity = max(whole(order.totalQuantity), filled)
    found = _order(contract, order, order_state.status, quantity, filled, order_state.completedStatus or "")
    return replace(found, order_id=0, client_id=0)


def ticket_order(ticket: OrderTicket, client_id: int) -> BrokerOrder:
    """An order of ours as it is before IBKR has said anything about it."""
    return BrokerOrder(
        order_ref=ticket.order_ref,
        perm_id=0,
        order_id=ticket.order_id,
        client_id=client_id,
        account=ticket.account,
        symbol=ticket.symbol,
        con_id=ticket.con_id,
        action=ticket.action,
        quantity=ticket.quantity,
        filled=0,
        order_type=ticket.order_type,
        limit_price=None,
        stop_price=ticket.stop_price,
        status="PendingSubmit",
        parent_id=ticket.parent_id,
    )


def execution_of(contract: Any, execution: Any, commission: float | None) -> BrokerExecution:
    """An execDetails message. Orders of other programs may carry any order id, TWS's own an unset one."""
    order_id = execution.orderId if execution.orderId != 2**31 - 1 else 0
    price = price_or_none(execution.price)
    if price is None or execution.side not in _SIDES:
        raise ValueError(f"execution {execution.execId} has side {execution.side!r} and price {execution.price}")
    return BrokerExecution(
        exec_id=execution.execId,
        order_ref=execution.orderRef,
        perm_id=execution.permId,
        order_id=order_id,
        client_id=execution.clientId,
        account=execution.acctNumber,
        symbol=contract.symbol,
        con_id=contract.conId,
        side=cast("Literal['BOT', 'SLD']", _SIDES[execution.side]),
        shares=whole(execution.shares),
        price=price,
        time=execution.time,
        cum_quantity=whole(execution.cumQty),
        commission=commission,
    )


def with_executions(order: BrokerOrder, executions: Iterable[BrokerExecution]) -> BrokerOrder:
    """The order with at least what its executions say was filled: an orderStatus may be late or lost."""
    executed = max((e.cum_quantity for e in executions if e.perm_id and e.perm_id == order.perm_id), default=0)
    return replace(order, filled=max(order.filled, executed))


def account_values_of(account: str, rows: Iterable[tuple[str, str, str]]) -> AccountValues | None:
    """The account's money from (account, tag, value) rows; None if one of the three is missing or no number."""
    found: dict[str, float] = {}
    for row_account, tag, text in rows:
        if row_account == account and tag in ACCOUNT_TAGS:
            try:
                value = float(text)
            except ValueError:
                return None
            if not math.isfinite(value):
                return None
            found[tag] = value
    if len(found) < len(ACCOUNT_TAGS):
        return None
    return AccountValues(account, *(found[tag] for tag in ACCOUNT_TAGS))


def instrument_of(symbol: str, rows: list[Any]) -> Instrument:
    """The one stock that the contract details name. Raises BrokerError for none, or for several."""
    stocks = {row.contract.conId: row for row in rows if is_managed_kind(row.contract)}
    if len(stocks) != 1:
        raise BrokerError(
            f"IBKR knows {len(stocks)} US stocks under the symbol {symbol}.",
            "Correct the symbol in the scanner's file, or leave it out.",
        )
    ((con_id, details),) = stocks.items()
    return Instrument(symbol, con_id, details.minTick or 0.01, details.liquidHours, details.timeZoneId)


def bar_of(start: datetime, open_: float, high: float, low: float, close: float, volume: float) -> Bar:
    """A 5-second bar. Raises MarketDataError for one that cannot be."""
    bar = Bar(start, open_, high, low, close, max(volume, 0.0))  # -1: IBKR does not know the volume
    check_bar(bar)
    return bar


def bars_between(rows: Iterable[Any], start: datetime, end: datetime) -> list[Bar]:
    """The bars that start in [start, end), by start, each once; one that cannot be is left out, as a gap."""
    bars: dict[datetime, Bar] = {}
    for row in rows:
        try:
            moment = datetime.fromtimestamp(int(row.date), UTC)
            if start <= moment < end:
                bars[moment] = bar_of(moment, row.open, row.high, row.low, row.close, row.volume)
        except (MarketDataError, ValueError, OverflowError, OSError) as error:
            _log.warning("A bar of history was left out: %s", error)
    return [bars[moment] for moment in sorted(bars)]


def history_chunks(end: datetime, seconds: int, chunk_s: int) -> list[tuple[datetime, int]]:
    """(end, seconds) of each request that together cover `seconds` up to `end`, oldest first."""
    chunks: list[tuple[datetime, int]] = []
    while seconds > 0:
        size = min(seconds, chunk_s)
        chunks.insert(0, (end, size))
        end -= timedelta(seconds=size)
        seconds -= size
    return chunks


def connection_fact_of(code: int, text: str) -> ConnectionFact | None:
    """1100 and 2110: broken; 1101 and 1102: restored, the first with its market data lost. None for the rest."""
    state = _LINE_STATES.get(code)
    return ConnectionFact(state, f"{code} {text}", data_lost=code == 1101) if state else None


def is_notice(code: int) -> bool:
    """Whether a message with a question's id is a notice that leaves the question open (2100 to 2199, 10167)."""
    return 2100 <= code < 2200 or code == 10167
