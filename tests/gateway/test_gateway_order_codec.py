"""The three long order messages against ib_insync's encoder and decoder, at every supported version."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any

import pytest
from gateway_helpers import UNTYPED, decoded, order_fields, stock
from hypothesis import given
from hypothesis import strategies as st
from ib_insync import LimitOrder, MarketOrder, Order, StopLimitOrder, TagValue

from paper_gateway import wire
from paper_gateway.errors import ProtocolError, RequestRefused
from paper_gateway.market import EASTERN
from paper_gateway.order_decoder import decode_ticket
from paper_gateway.order_encoder import encode_completed, encode_open, encode_status
from paper_gateway.orders import Order as KeptOrder
from paper_gateway.orders import Status, Ticket

VERSIONS = [157, 158, 159, 160, 162, 163, 164, 166, 169, 170, 175, 176]
NOON = datetime(2025, 10, 6, 12, 0, 30, tzinfo=EASTERN)


def ticket(order: Order, version: int = 176) -> Ticket:
    return decode_ticket(wire.FieldReader(order_fields(7, stock(), order, version)[1:]), version)


def fields_of(frame: bytes) -> list[str]:
    return wire.split(frame[4:])


def kept(**changes: Any) -> KeptOrder:
    values: dict[str, Any] = {
        "perm_id": 2**31 + 5,
        "client_id": 3,
        "order_id": 7,
        "account": "DU1234567",
        "symbol": "TSLA",
        "con_id": 76792991,
        "exchange": "SMART",
        "trading_class": "NMS",
        "action": "SELL",
        "quantity": 100,
        "order_type": "STP LMT",
        "limit_price": 430.01,
        "aux_price": 430.5,
        "tif": "GTC",
        "oca_group": "g",
        "oca_type": 3,
        "order_ref": "ref-1",
        "outside_rth": True,
        "trailing_percent": None,
        "trail_stop": None,
        "accepted_at": NOON,
        "status": Status.PRE_SUBMITTED,
        "filled": 40,
        "shares_value": 40 * 430.2,
        "last_price": 430.2,
    }
    return KeptOrder(**(values | changes))


def test_a_plain_order_has_115_fields() -> None:
    assert len(order_fields(7, stock(), MarketOrder("BUY", 100))) == 115


@pytest.mark.parametrize("version", VERSIONS)
def test_place_order_is_read_at_every_version(version: int) -> None:
    order = StopLimitOrder(
        "SELL",
        100,
        430.01,
        430.5,
        tif="GTC",
        ocaGroup="g",
        ocaType=2,
        orderRef="ref-1",
        transmit=False,
        parentId=6,
        outsideRth=True,
        account="DU1234567",
    )
    read = ticket(order, version)
    assert (read.order_id, read.action, read.quantity, read.order_type) == (7, "SELL", 100, "STP LMT")
    assert (read.limit_price, read.aux_price, read.tif) == (430.01, 430.5, "GTC")
    assert (read.oca_group, read.oca_type, read.order_ref) == ("g", 2, "ref-1")
    assert (read.transmit, read.parent_id, read.outside_rth) == (False, 6, True)
    assert (read.account, read.contract.symbol) == ("DU1234567", "TSLA")


def test_unset_values_of_the_official_client_are_unset() -> None:
    fields = order_fields(7, stock(), MarketOrder("BUY", 100))
    unset_double, unset_integer = "1.7976931348623157e+308", "2147483647"
    assert fields[18] == "MKT"
    fields[19] = fields[20] = unset_double  # lmtPrice, auxPrice
    fields[110] = fields[111] = unset_integer  # duration, postToAts
    read = decode_ticket(wire.FieldReader(fields[1:]), 176)
    assert (read.limit_price, read.aux_price) == (None, None)


@given(cut=st.integers(1, 114))
def test_a_torn_order_is_an_error_that_names_a_field(cut: int) -> None:
    fields = order_fields(7, stock(), MarketOrder("BUY", 100))[:cut]
    with pytest.raises(ProtocolError, match=r"ends before its field '\w+'"):
        decode_ticket(wire.FieldReader(fields[1:]), 176)


def test_an_order_with_fields_too_many_is_an_error() -> None:
    fields = [*order_fields(7, stock(), MarketOrder("BUY", 100)), ""]
    with pytest.raises(ProtocolError, match="1 fields too many"):
        decode_ticket(wire.FieldReader(fields[1:]), 176)


@given(place=st.integers(0, 113), junk=st.sampled_from(["nan", "inf", "x", "1.5", "-1", "\x01", "é" * 50]))
def test_junk_in_any_field_raises_an_error_of_the_gateway_or_none(place: int, junk: str) -> None:
    fields = order_fields(7, stock(), LimitOrder("BUY", 100, 10))[1:]
    fields[place] = junk
    with contextlib.suppress(ProtocolError, RequestRefused):
        assert decode_ticket(wire.FieldReader(fields), 176).raw


@pytest.mark.parametrize(
    "changes",
    [
        {"algoStrategy": "Vwap", "algoParams": [TagValue("a", "b")]},
        {"hedgeType": "D", "hedgeParam": "x"},
        {"orderType": "PEG BENCH"},
    ],
    ids=["algo", "hedge", "pegged"],
)
def test_unsupported_features_are_refused_and_not_ignored(changes: dict[str, Any]) -> None:
    with pytest.raises(RequestRefused, match="not supported") as caught:
        ticket(UNTYPED.Order(**({"action": "BUY", "totalQuantity": 1, "orderType": "MKT"} | changes)))
    assert caught.value.code == 387


@pytest.mark.parametrize("version", VERSIONS)
def test_open_order_reads_back_field_by_field(version: int) -> None:
    parent = kept(order_id=6, perm_id=99)
    order = kept(parent=parent)
    name, (order_id, contract, read, state) = decoded(fields_of(encode_open(order, version)), version)
    assert (name, order_id, state.status) == ("openOrder", 7, "PreSubmitted")
    assert (contract.conId, contract.symbol, contract.exchange) == (76792991, "TSLA", "SMART")
    assert (contract.currency, contract.tradingClass) == ("USD", "NMS")
    assert (read.permId, read.clientId, read.parentId) == (2**31 + 5, 3, 6)
    assert (read.action, read.totalQuantity, read.orderType) == ("SELL", 100, "STP LMT")
    assert (read.lmtPrice, read.auxPrice, read.tif) == (430.01, 430.5, "GTC")
    assert (read.ocaGroup, read.ocaType, read.orderRef) == ("g", 3, "ref-1")
    assert (read.account, read.outsideRth, read.whatIf) == ("DU1234567", True, False)
    assert (read.deltaNeutralOrderType, read.clearingIntent) == ("None", "IB")


@pytest.mark.parametrize("version", VERSIONS)
def test_no_message_has_a_field_more_than_its_reader_takes(version: int) -> None:
    order = kept(completed_at=NOON)
    for frame in (encode_open(order, version), encode_completed(order, version)):
        fields = fields_of(frame)
        decoded(fields, version)
        with pytest.raises((ValueError, IndexError, TypeError, AssertionError)):
            decoded(fields[:-1], version)


def test_unset_prices_come_back_as_zero() -> None:
    _, (_, _, read, _) = decoded(fields_of(encode_open(kept(limit_price=None, aux_price=None), 176)))
    assert (read.lmtPrice, read.auxPrice) == (0.0, 0.0)


def test_a_what_if_answer_carries_margins() -> None:
    answer = encode_open(kept(), 176, {"whatIf": True, "initMarginChange": 1075.25, "commission": 1.0})
    _, (_, _, read, state) = decoded(fields_of(answer))
    assert read.whatIf
    assert (state.initMarginChange, state.commission) == ("1075.25", 1.0)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("status", [Status.FILLED, Status.CANCELLED])
def test_completed_order_reads_back_without_ids_of_the_client(version: int, status: Status) -> None:
    order = kept(status=status, completed_at=NOON, completed_text="why", parent=kept(perm_id=99))
    name, (contract, read, state) = decoded(fields_of(encode_completed(order, version)), version)
    assert (name, contract.symbol, read.permId, read.orderRef) == ("completedOrder", "TSLA", 2**31 + 5, "ref-1")
    assert (read.orderId, read.clientId, read.parentPermId) == (0, 0, 99)
    assert (read.totalQuantity, read.filledQuantity) == (0 if status is Status.FILLED else 100, 40)
    why = "why" if status is Status.FILLED else "Cancelled by Trader"
    assert (state.status, state.completedStatus) == (status.value, why)
    assert state.completedTime == "20251006 12:00:30 US/Eastern"


def test_order_status_reads_back() -> None:
    name, arguments = decoded(fields_of(encode_status(kept())))
    assert name == "orderStatus"
    assert arguments == (7, "PreSubmitted", 40, 60, 430.2, 2**31 + 5, 0, 430.2, 3, "trigger", 0.0)
