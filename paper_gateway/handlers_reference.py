"""Client messages about reference data. Most carry no request id: they get an empty answer rather than an error,
because no client can tell to which request an error without an id belongs."""

from __future__ import annotations

from datetime import UTC, timedelta

from paper_gateway import replies
from paper_gateway.handlers import Services, handles
from paper_gateway.handlers_market import stock_of
from paper_gateway.history import DAY_S, refused
from paper_gateway.order_decoder import read_contract
from paper_gateway.session import Session
from paper_gateway.wire import FieldReader, encode

MARKET_RULE = 26
"""The rule that contract details name: a tick of one cent at every price."""
HISTORY = timedelta(days=60)
"""The market simulates fewer days before its date than this."""
NO_ADVISOR = '<?xml version="1.0" encoding="UTF-8"?><ListOfGroups/>'
NO_SCANNERS = '<?xml version="1.0" encoding="UTF-8"?><ScanParameterResponse/>'


@handles(12, 13)
def news_bulletins(_: Services, __: Session, ___: FieldReader) -> None:
    """There are none. TWS answers nothing before the first one either."""


@handles(18)
def advisor_data(_: Services, session: Session, reader: FieldReader) -> None:
    """No account is an advisor's, so there is nothing in the answer."""
    reader.skip("version")
    session.send("contract", encode(16, 1, reader.whole("faDataType"), NO_ADVISOR))


@handles(24)
def scanner_parameters(_: Services, session: Session, __: FieldReader) -> None:
    session.send("contract", encode(19, 1, NO_SCANNERS))


@handles(80)
def family_codes(_: Services, session: Session, __: FieldReader) -> None:
    session.send("contract", encode(78, 0))


@handles(82)
def depth_exchanges(_: Services, session: Session, __: FieldReader) -> None:
    session.send("contract", encode(80, 0))


@handles(85)
def news_providers(_: Services, session: Session, __: FieldReader) -> None:
    session.send("contract", encode(85, 0))


@handles(91)
def market_rule(_: Services, session: Session, reader: FieldReader) -> None:
    """The price increments of a rule; none for a rule that no contract here names."""
    rule = reader.whole("marketRuleId")
    increments = (1, 0.0, 0.01) if rule == MARKET_RULE else (0,)
    session.send("contract", encode(93, rule, *increments))


@handles(87)
def head_timestamp(services: Services, session: Session, reader: FieldReader) -> None:
    """When the data of a stock begin: as UTC text (format 1) or in epoch seconds (format 2)."""
    reader.request_id = reader.whole("reqId")
    wanted = read_contract(reader)
    reader.skip("includeExpired", "useRTH", "whatToShow")
    format_date = reader.whole("formatDate")
    if format_date not in (1, 2):
        raise refused(f"formatDate must be 1 or 2, not {format_date}")
    market, now = services.brokerage.market, services.brokerage.engine.now
    first = market.bars(stock_of(services, wanted).symbol, now - HISTORY, now, DAY_S)[0].start
    text = str(int(first.timestamp())) if format_date == 2 else f"{first.astimezone(UTC):%Y%m%d-%H:%M:%S}"
    session.send("history", replies.head_timestamp(reader.request_id, text))
