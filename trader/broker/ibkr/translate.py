"""IBKR's objects as the port's plain values. Pure; reads the objects' attributes and imports no client library.

Quantities come as floats and are returned as whole shares. IBKR writes "not set" as 0.0 or as the largest double;
both become None. A value that is no number raises ValueError: its message then counts as undecodable, and the
answer that it belongs to as incomplete.
"""

import logging
import math
from collections.abc import Iterable, Mapping
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
from trader.plain_text import plain
from trader.time_zones import parse_time

UNSET_DOUBLE = 1.7976931348623157e308
ACCOUNT_TAGS = ("NetLiquidation", "BuyingPower", "TotalCashValue")
EXCHANGE_RATES = "$LEDGER:ALL"  # asks for rows by currency; a row's ExchangeRate is its value in the base currency
_RATE, _DOLLAR = "ExchangeRate", "USD"
_SUM = "BASE"  # in a currency's place: the sum over all currencies
_EVERY_ACCOUNT = "All"  # in an account's place, in rows by currency
_SIDES = {"BOT": "BOT", "BUY": "BOT", "SLD": "SLD", "SELL": "SLD"}
_CONNECTION_STATES: dict[int, Literal["broken", "restored"]] = {
    1100: "broken",  # between TWS and IBKR's servers
    2110: "broken",
    1101: "restored",  # market data subscriptions are lost
    1102: "restored",
}
_log = logging.getLogger(__name__)

# Any: ib_insync's Contract, Order, OrderState, Execution or ContractDetails, as the parameter's name says.


def is_managed_kind(contract: Any) -> bool:
    """Whether the contract is a stock in dollars, the only kind that this program manages."""
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
        account, plain(contract.symbol), contract.conId, whole(quantity), amount_or_none(avg_cost) or 0.0
    )


def _action(text: str) -> Action:
    if text not in ("BUY", "SELL"):  # SSHORT and SLONG are for institutional accounts
        return "SELL" if text.startswith("S") else "BUY"
    return cast("Action", text)


def _order(contract: Any, order: Any, status: str, quantity: int, filled: int, text: str) -> BrokerOrder:
    trailing = order.orderType.startswith("TRAIL")
    return BrokerOrder(
        order_ref=plain(order.orderRef),
        perm_id=order.permId,
        order_id=order.orderId,
        client_id=order.clientId,
        account=order.account,
        symbol=plain(contract.symbol),
        con_id=contract.conId,
        action=_action(order.action),
        quantity=quantity,
        filled=filled,
        order_type=order.orderType,
        stop_price=price_or_none(order.trailStopPrice if trailing else order.auxPrice),
        status=plain(status),
        parent_id=order.parentId,
        oca_group=plain(order.ocaGroup),
        oca_type=order.ocaType,
        tif=plain(order.tif),
        text=plain(text),
    )


def open_order_of(contract: Any, order: Any, order_state: Any, filled: int) -> BrokerOrder:
    """An openOrder message. It has no filled quantity: that comes from orderStatus and executions."""
    quantity = whole(order.totalQuantity)
    if order_state.status == "Filled":
        filled = quantity
    return _order(contract, order, order_state.status, quantity, filled, order_state.warningText or "")


def completed_order_of(contract: Any, order: Any, order_state: Any) -> BrokerOrder:
    """A completedOrder message. It has no order id and no client id; a filled order's has quantity 0."""
    filled = whole(order.filledQuantity) if order.filledQuantity != UNSET_DOUBLE else 0
    quantity = max(whole(order.totalQuantity), filled)
    found = _order(contract, order, order_state.status, quantity, filled, order_state.completedStatus or "")
    return replace(found, order_id=0, client_id=0, completed_at=_time_or_none(order_state.completedTime))


def _time_or_none(text: str) -> datetime | None:
    """The time of a message, None where it has none that can be read."""
    try:
        return parse_time(text) if text else None
    except MarketDataError as error:
        _log.warning("The time of a completed order is not used: %s", error.what)
        return None


def ticket_order(ticket: OrderTicket, client_id: int) -> BrokerOrder:
    """An own order as it is before IBKR's first message about it."""
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
        stop_price=ticket.stop_price,
        status="PendingSubmit",
        parent_id=ticket.parent_id,
    )


def execution_of(contract: Any, execution: Any, commission: float | None) -> BrokerExecution:
    """An execDetails message. An order of another program may have any order id, one of TWS itself an unset one."""
    order_id = execution.orderId if execution.orderId != 2**31 - 1 else 0
    price = price_or_none(execution.price)
    if price is None or execution.side not in _SIDES:
        raise ValueError(f"execution {execution.execId} has side {execution.side!r} and price {execution.price}")
    return BrokerExecution(
        exec_id=execution.execId,
        order_ref=plain(execution.orderRef),
        perm_id=execution.permId,
        order_id=order_id,
        client_id=execution.clientId,
        account=execution.acctNumber,
        symbol=plain(contract.symbol),
        con_id=contract.conId,
        side=cast("Literal['BOT', 'SLD']", _SIDES[execution.side]),
        shares=whole(execution.shares),
        price=price,
        time=execution.time,
        cum_quantity=whole(execution.cumQty),
        commission=commission,
    )


def account_values_of(account: str, rows: Iterable[tuple[str, str, str, str]]) -> AccountValues | None:
    """The account's values from (account, tag, value, currency) rows; None if a tag is missing or no number.

    IBKR may send rows twice: the last one counts. Rows of different currencies are never added up.
    """
    given = list(rows)
    newest = {(owner, tag, currency): _number(value) for owner, tag, value, currency in given}
    own = [row for row in given if row[0] == account and row[1] in ACCOUNT_TAGS]
    currencies = {currency for *_, currency in own} - {_SUM} or {_SUM}
    amounts = {tag: _number(value) for _, tag, value, currency in own if currency in currencies}
    if len(amounts) < len(ACCOUNT_TAGS) or any(_number(value) is None for _, _, value, _ in own):
        return None
    currency = " and ".join(sorted(currencies)) or "not named"
    rate = _dollar_rate(account, currency, newest) if len(currencies) == 1 and "" not in currencies else None
    net_liquidation, buying_power, cash = (amounts[tag] or 0.0 for tag in ACCOUNT_TAGS)
    return AccountValues(account, net_liquidation, buying_power, cash, currency, rate)


def _dollar_rate(account: str, base: str, rows: Mapping[tuple[str, str, str], float | None]) -> float | None:
    """What one dollar is worth in the base currency; None if no row tells it.

    1 is no rate for another currency: it is what IBKR sends where it has none. If a row's own base currency has
    another rate than 1, the row is of an account with another base currency.
    """
    if base == _DOLLAR:
        return 1.0
    for owner in (account, _EVERY_ACCOUNT):
        rate = rows.get((owner, _RATE, _DOLLAR))
        of_base = rows.get((owner, _RATE, base), 1.0)
        if rate is not None and rate > 0 and rate != 1 and of_base == 1:
            return rate
    return None


def _number(text: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def instrument_of(symbol: str, rows: list[Any]) -> Instrument:
    """The only stock among the contract details. Raises BrokerError if there is none, or several."""
    stocks = {row.contract.conId: row for row in rows if is_managed_kind(row.contract)}
    if len(stocks) != 1:
        raise BrokerError(
            f"IBKR knows {len(stocks)} US stocks under the symbol {symbol}.",
            "Correct the symbol in the scanner's file, or remove it.",
        )
    ((con_id, details),) = stocks.items()
    return Instrument(symbol, con_id, details.minTick or 0.01, details.liquidHours, details.timeZoneId)


def bar_of(start: datetime, open_: float, high: float, low: float, close: float, volume: float) -> Bar:
    """A 5-second bar. Raises MarketDataError for an invalid one."""
    bar = Bar(start, open_, high, low, close, max(volume, 0.0))  # -1: IBKR does not know the volume
    check_bar(bar)
    return bar


def bars_between(rows: Iterable[Any], start: datetime, end: datetime) -> list[Bar]:
    """The bars that start in [start, end), by start, each once; an invalid one is left out, as a gap."""
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
    """1100 and 2110: broken. 1101: restored, market data subscriptions are lost. 1102: restored. Else None."""
    state = _CONNECTION_STATES.get(code)
    return ConnectionFact(state, f"{code} {text}", data_lost=code == 1101) if state else None


def is_notice(code: int) -> bool:
    """Whether a message with a question's id is a notice, so that the question stays open (2100-2199, 10167)."""
    return 2100 <= code < 2200 or code == 10167
