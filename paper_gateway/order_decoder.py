"""Decodes placeOrder (message 3) into a Ticket."""

from __future__ import annotations

from paper_gateway import order_fields as names
from paper_gateway.errors import ProtocolError
from paper_gateway.orders import ContractRef, Ticket
from paper_gateway.validation import unsupported
from paper_gateway.wire import FieldReader, to_bool, to_float, to_int

_NUMBERS = (
    "strike",
    "discretionaryAmt",
    "percentOffset",
    "nbboPriceCap",
    "startingPrice",
    "stockRefPrice",
    "delta",
    "stockRangeLower",
    "stockRangeUpper",
    "volatility",
    "deltaNeutralAuxPrice",
    "triggerPrice",
    "lmtPriceOffset",
    "adjustedStopPrice",
    "adjustedStopLimitPrice",
    "adjustedTrailingAmount",
    "cashQty",
)
_INTEGERS = ("origin", "displaySize", "triggerMethod", "shortSaleSlot", "exemptCode", "minQty", "volatilityType")
_FLAGS = (
    "blockOrder",
    "sweepToFill",
    "hidden",
    "allOrNone",
    "eTradeOnly",
    "firmQuoteOnly",
    "notHeld",
    "solicited",
    "randomizeSize",
    "randomizePrice",
)


def decode_ticket(reader: FieldReader, version: int) -> Ticket:
    """The order of a placeOrder message at `version` (157 to 176), read from the field after the message id.

    Raises ProtocolError for wrong fields (too few, too many, not a number), and RequestRefused for features
    that the gateway does not support.
    """
    order_id = reader.whole("orderId")
    reader.request_id = order_id
    raw: dict[str, str] = {}
    _take(reader, raw, names.PLACE_HEAD)
    _refuse_if(raw["secType"] == "BAG", "combination orders")
    _take(reader, raw, names.PLACE_MIDDLE)
    _refuse_if(raw["deltaNeutralOrderType"] not in ("", "None"), "delta neutral orders")
    if raw["deltaNeutralOrderType"]:
        reader.skip(*names.DELTA_NEUTRAL_OPEN)
    _take(reader, raw, names.PLACE_AFTER_DELTA_NEUTRAL)
    increment = to_float(raw["scalePriceIncrement"], "scalePriceIncrement", order_id)
    _refuse_if(increment is not None and increment > 0, "scale orders")
    _take(reader, raw, names.PLACE_AFTER_SCALE)
    _refuse_if(raw["hedgeType"] != "", "hedge orders")
    _take(reader, raw, (*names.PLACE_AFTER_HEDGE, "algoStrategy"))
    _refuse_if(to_bool(raw["dncFlag"], "dncFlag", order_id), "delta neutral contracts")
    _refuse_if(raw["algoStrategy"] != "", "algo orders")
    _take(reader, raw, names.PLACE_AFTER_ALGO)
    _refuse_if(raw["orderType"].startswith("PEG"), "pegged orders")
    _take(reader, raw, ("nConditions",))
    _refuse_if(to_int(raw["nConditions"], "nConditions", order_id) != 0, "conditional orders")
    _take(reader, raw, names.PLACE_TAIL)
    _take(reader, raw, tuple(name for since, name in names.PLACE_TAIL_SINCE if version >= since))
    if version >= names.PEGGED_SINCE and raw["exchange"] == "IBKRATS":
        _take(reader, raw, ("minTradeQty",))
    if reader.left:
        raise ProtocolError(f"placeOrder has {reader.left} fields too many for server version {version}", order_id)
    return _typed(order_id, raw)


def contract_of(raw: dict[str, str], request_id: int) -> ContractRef:
    """The contract, from fields that were read by the names of C12."""
    return ContractRef(
        con_id=to_int(raw["conId"], "conId", request_id),
        symbol=raw["symbol"].strip().upper(),
        sec_type=raw["secType"],
        exchange=raw["exchange"],
        primary_exchange=raw["primaryExchange"],
        currency=raw["currency"],
        local_symbol=raw["localSymbol"],
        trading_class=raw["tradingClass"],
    )


def read_contract(reader: FieldReader) -> ContractRef:
    """Read the contract of a data request: twelve fields (C12)."""
    raw: dict[str, str] = {}
    _take(reader, raw, names.C12)
    to_float(raw["strike"], "strike", reader.request_id)
    return contract_of(raw, reader.request_id)


def _take(reader: FieldReader, raw: dict[str, str], wanted: tuple[str, ...]) -> None:
    for name in wanted:
        raw[name] = reader.text(name)


def _refuse_if(condition: object, what: str) -> None:
    if condition:
        raise unsupported(f"{what} are")


def _typed(order_id: int, raw: dict[str, str]) -> Ticket:
    for name in _NUMBERS:
        to_float(raw[name], name, order_id)
    for name in _INTEGERS:
        to_int(raw[name], name, order_id)
    for name in _FLAGS:
        to_bool(raw[name], name, order_id)

    def number(name: str) -> float | None:
        return to_float(raw[name], name, order_id)

    return Ticket(
        order_id=order_id,
        contract=contract_of(raw, order_id),
        action=raw["action"].upper(),
        quantity=number("totalQuantity"),
        order_type=raw["orderType"].upper(),
        limit_price=number("lmtPrice"),
        aux_price=number("auxPrice"),
        tif=raw["tif"].upper() or "DAY",
        oca_group=raw["ocaGroup"],
        oca_type=to_int(raw["ocaType"], "ocaType", order_id),
        account=raw["account"],
        order_ref=raw["orderRef"],
        transmit=to_bool(raw["transmit"], "transmit", order_id),
        parent_id=to_int(raw["parentId"], "parentId", order_id),
        outside_rth=to_bool(raw["outsideRth"], "outsideRth", order_id),
        trail_stop_price=number("trailStopPrice"),
        trailing_percent=number("trailingPercent"),
        what_if=to_bool(raw["whatIf"], "whatIf", order_id),
        raw=raw,
    )
