"""Encodes the messages to clients, except the order messages (see order_encoder).

The formats are those of server versions 157 to 176. Each function returns one frame.
"""

from __future__ import annotations

from datetime import datetime

from paper_gateway import wire
from paper_gateway.accounts import Position
from paper_gateway.execution_log import Execution
from paper_gateway.market import Bar, ContractInfo
from paper_gateway.order_encoder import zoned
from paper_gateway.time_forms import execution_time
from paper_gateway.wire import Field

ORDER_TYPES = "ACTIVETIM,AD,DAY,GTC,LMT,MKT,OCA,STP,STPLMT,TRAIL,WHATIF"
VALID_EXCHANGES = "SMART,AMEX,NYSE,BATS,ARCA,IEX,EDGX,ISLAND,MEMX"


def handshake(version: int, now: datetime) -> bytes:
    return wire.encode(version, zoned(now))


def error(request_id: int, code: int, text: str, version: int) -> bytes:
    tail = [""] if version >= 166 else []  # advancedOrderRejectJson
    return wire.encode(4, 2, request_id, code, text, *tail)


def managed_accounts(accounts: tuple[str, ...]) -> bytes:
    return wire.encode(15, 1, ",".join(accounts))


def next_valid_id(order_id: int) -> bytes:
    return wire.encode(9, 1, order_id)


def current_time(now: datetime) -> bytes:
    return wire.encode(49, 1, int(now.timestamp()))


def _stock(info: ContractInfo, exchange: str) -> tuple[Field, ...]:
    return (
        info.con_id,
        info.symbol,
        "STK",
        "",
        0.0,
        "",
        "",
        exchange,
        "USD",
        info.symbol,
        info.trading_class,
    )


def execution(request_id: int, one: Execution, info: ContractInfo, time_form: str = "") -> bytes:
    """execDetails. request_id: -1 for an execution that was not requested. time_form: see `execution_time`."""
    order = one.order
    return wire.encode(
        11,
        request_id,
        order.order_id,
        *_stock(info, info.primary_exchange),
        one.exec_id,
        execution_time(one.time, time_form),
        order.account,
        info.primary_exchange,
        one.side,
        one.shares,
        one.price,
        order.perm_id,
        order.client_id,
        0,
        one.cum_qty,
        one.average_price,
        order.order_ref,
        "",
        "",
        "",
        2,
    )


def commission(one: Execution) -> bytes:
    realized = wire.UNSET_DOUBLE if one.realized_pnl is None else one.realized_pnl
    return wire.encode(59, 1, one.exec_id, one.commission, "USD", realized, wire.UNSET_DOUBLE, "")


def position(account: str, info: ContractInfo, held: Position) -> bytes:
    return wire.encode(61, 3, account, *_stock(info, info.primary_exchange), held.quantity, held.average_cost)


def portfolio(account: str, info: ContractInfo, held: Position, price: float, realized: float) -> bytes:
    value = held.quantity * price
    return wire.encode(
        7,
        8,
        *_stock(info, info.primary_exchange),
        held.quantity,
        price,
        value,
        held.average_cost,
        value - held.quantity * held.average_cost,
        realized,
        account,
    )


def contract_details(request_id: int, info: ContractInfo, exchange: str, version: int) -> bytes:
    head: list[Field] = [10, 8] if version < 164 else [10]
    size_multiplier: list[Field] = [1] if version < 164 else []
    if version < 163:
        sizes: list[Field] = []
    else:
        sizes = [1] if version == 163 else [1, 1, 100]
    return wire.encode(
        *head,
        request_id,
        info.symbol,
        "STK",
        "",
        0,
        "",
        exchange or "SMART",
        "USD",
        info.symbol,
        info.trading_class,
        info.trading_class,
        info.con_id,
        info.min_tick,
        *size_multiplier,
        "",
        ORDER_TYPES,
        VALID_EXCHANGES,
        1,
        0,
        info.long_name,
        info.primary_exchange,
        "",
        info.industry,
        info.category,
        info.subcategory,
        info.time_zone,
        info.trading_hours,
        info.liquid_hours,
        "",
        "",
        0,
        1,
        "",
        "",
        "26",
        "",
        "COMMON",
        *sizes,
    )


def tick_price(request_id: int, kind: int, price: float, size: int, mask: int = 0) -> bytes:
    return wire.encode(1, 6, request_id, kind, price, size, mask)


def tick_size(request_id: int, kind: int, size: int) -> bytes:
    return wire.encode(2, 6, request_id, kind, size)


def tick_generic(request_id: int, kind: int, value: float) -> bytes:
    return wire.encode(45, 6, request_id, kind, value)


def tick_string(request_id: int, kind: int, value: str) -> bytes:
    return wire.encode(46, 6, request_id, kind, value)


def tick_parameters(request_id: int, info: ContractInfo) -> bytes:
    return wire.encode(81, request_id, info.min_tick, "a60001", 3)


def market_data_type(request_id: int, kind: int) -> bytes:
    return wire.encode(58, 1, request_id, kind)


def real_time_bar(request_id: int, bar: Bar) -> bytes:
    return wire.encode(
        50,
        3,
        request_id,
        int(bar.start.timestamp()),
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
        bar.wap,
        bar.count,
    )


def historical_bars(request_id: int, start: str, end: str, bars: list[tuple[str, Bar]]) -> bytes:
    """All bars of a request, each with its formatted date."""
    fields: list[Field] = [17, request_id, start, end, len(bars)]
    for date, bar in bars:
        fields += [date, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.wap, bar.count]
    return wire.encode(*fields)


def head_timestamp(request_id: int, moment: str) -> bytes:
    return wire.encode(88, request_id, moment)


def historical_update(request_id: int, date: str, bar: Bar) -> bytes:
    """The unfinished bar of a keepUpToDate request. Here close comes before high."""
    return wire.encode(90, request_id, bar.count, date, bar.open, bar.close, bar.high, bar.low, bar.wap, bar.volume)


def order_bound(perm_id: int, client_id: int, order_id: int) -> bytes:
    return wire.encode(100, perm_id, client_id, order_id)
