"""Encodes openOrder (5), completedOrder (101) and orderStatus (3)."""

from __future__ import annotations

from datetime import datetime

from paper_gateway import order_fields as names
from paper_gateway import wire
from paper_gateway.orders import Order, Status
from paper_gateway.wire import Field

NO_PARENT = 2**63 - 1
"""parentPermId of a completed order without a parent."""
CANCELLED_TEXT = "Cancelled by Trader"
MANUAL_RULE = "0"
"""rule80A of orders that were made by hand."""

_ZERO = dict.fromkeys(
    (
        "origin",
        "outsideRth",
        "hidden",
        "discretionaryAmt",
        "shortSaleSlot",
        "auctionStrategy",
        "displaySize",
        "blockOrder",
        "sweepToFill",
        "allOrNone",
        "eTradeOnly",
        "firmQuoteOnly",
        "parentId",
        "triggerMethod",
        "volatilityType",
        "continuousUpdate",
        "nLegs",
        "nOrderLegs",
        "nSmartParams",
        "optOutSmartRouting",
        "notHeld",
        "dncFlag",
        "solicited",
        "whatIf",
        "randomizeSize",
        "randomizePrice",
        "nConditions",
        "isOmsContainer",
        "discretionaryUpToLimitPrice",
        "usePriceMgmtAlgo",
        "autoCancelParent",
        "dnConId",
        "dnShortSale",
        "dnShortSaleSlot",
        "refFuturesConId",
        "imbalanceOnly",
        "routeMarketableToBbo",
        "clientId",
    ),
    "0",
)
_DEFAULT = _ZERO | {
    "exemptCode": "-1",
    "deltaNeutralOrderType": "None",
    "dontUseAutoPriceForHedge": "1",
    "adjustedOrderType": "None",
    "clearingIntent": "IB",
    "shareholder": "Not an insider or substantial shareholder",
}
_ECHOED = (
    "openClose",
    "origin",
    "hidden",
    "discretionaryAmt",
    "rule80A",
    "displaySize",
    "blockOrder",
    "sweepToFill",
    "allOrNone",
    "minQty",
    "triggerMethod",
    "modelCode",
    "solicited",
    "randomizeSize",
    "randomizePrice",
    "settlingFirm",
    "clearingAccount",
    "extOperator",
    "softDollarName",
    "softDollarVal",
)
"""Fields that the gateway sends back as it received them, and does not use."""


def encode_status(order: Order) -> bytes:
    """orderStatus, in the format without a version field (server version 131 and later)."""
    return wire.encode(
        3,
        order.order_id,
        order.status.value,
        order.filled,
        order.remaining,
        order.average_price,
        order.perm_id,
        order.shown_parent_id,
        order.last_price,
        order.client_id,
        order.why_held,
        0.0,
    )


def encode_open(order: Order, version: int, order_state: dict[str, Field] | None = None) -> bytes:
    """openOrder. order_state: further values by their names, such as the commission or the answer to a what-if."""
    values = _values(order) | {"parentId": order.shown_parent_id} | (order_state or {})
    listed = [
        *names.OPEN_HEAD,
        *names.DELTA_NEUTRAL_OPEN,
        *names.OPEN_MIDDLE,
        *names.ORDER_STATE,
        *names.OPEN_TAIL,
        *(name for since, name in names.OPEN_TAIL_SINCE if version >= since),
        *(names.PEGGED if version >= names.PEGGED_SINCE else ()),
    ]
    return wire.encode(5, order.order_id, *_contract(order), *(values.get(name, "") for name in listed))


def encode_completed(order: Order, version: int) -> bytes:
    """completedOrder. It has no order id and no client id. As from TWS, a filled order has totalQuantity 0."""
    values = _values(order)
    completed_at = order.completed_at or order.accepted_at
    values |= {
        "totalQuantity": 0 if order.status is Status.FILLED else order.quantity,
        "filledQuantity": order.filled,
        "parentPermId": order.parent.perm_id if order.parent else NO_PARENT,
        "completedTime": zoned(completed_at),
        "completedStatus": CANCELLED_TEXT if order.status is Status.CANCELLED else order.completed_text,
        "autoCancelDate": "",
    }
    listed = [
        *names.COMPLETED_HEAD,
        *names.DELTA_NEUTRAL_COMPLETED,
        *names.COMPLETED_TAIL,
        *(names.PEGGED if version >= names.PEGGED_SINCE else ()),
    ]
    return wire.encode(101, *_contract(order), *(values.get(name, "") for name in listed))


def zoned(time: datetime) -> str:
    """A time in the format of TWS: `20251006 09:45:00 US/Eastern`."""
    return time.strftime("%Y%m%d %H:%M:%S US/Eastern")


def _contract(order: Order) -> tuple[Field, ...]:
    return (
        order.con_id,
        order.symbol,
        "STK",
        "",
        0,
        "?",
        "",
        order.exchange or "SMART",
        "USD",
        order.symbol,
        order.trading_class,
    )


def _values(order: Order) -> dict[str, Field]:
    values: dict[str, Field] = dict(_DEFAULT)
    values |= {name: order.raw[name] for name in _ECHOED if order.raw.get(name)}
    if not order.raw:
        values["rule80A"] = MANUAL_RULE
    values |= {
        "action": order.action,
        "totalQuantity": order.quantity,
        "orderType": order.order_type,
        "lmtPrice": order.limit_price or 0.0,  # TWS reports unset prices as 0.0
        "auxPrice": order.aux_price or 0.0,
        "tif": order.tif,
        "ocaGroup": order.oca_group,
        "ocaType": order.oca_type or 3,
        "account": order.account,
        "orderRef": order.order_ref,
        "clientId": order.client_id,
        "permId": order.perm_id,
        "outsideRth": order.outside_rth,
        "trailStopPrice": _trail_stop(order),
        "usePriceMgmtAlgo": order.order_type == "LMT",
        "trailingPercent": order.trailing_percent,
        "status": order.status.value,
    }
    return values


def _trail_stop(order: Order) -> float | None:
    """TWS fills the trail stop price in for other orders too."""
    if order.order_type in ("STP", "STP LMT"):
        return order.aux_price
    if order.order_type == "LMT" and order.limit_price is not None:
        return round(order.limit_price + 1.0, 4)
    return order.trail_stop
