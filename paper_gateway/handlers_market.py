"""Client messages about the market: contract details, ticks, real-time bars, historical bars."""

from __future__ import annotations

import time

from paper_gateway import replies
from paper_gateway.errors import RequestRefused
from paper_gateway.feed import FormingBar
from paper_gateway.handlers import Services, handles
from paper_gateway.history import HistoryQuery, bar_start, parse_query, refused
from paper_gateway.market import Bar, ContractInfo
from paper_gateway.order_decoder import read_contract
from paper_gateway.order_encoder import zoned
from paper_gateway.orders import ContractRef
from paper_gateway.session import Session
from paper_gateway.wire import FieldReader, encode

NO_TICKER = 300
NO_HISTORY = 366


@handles(9)
def contract_details(services: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    reader.request_id = reader.whole("reqId")
    wanted = read_contract(reader)
    info = services.brokerage.contracts.resolve(wanted, needs_exchange=False)
    frame = replies.contract_details(reader.request_id, info, wanted.exchange, session.version)
    session.send("contract", frame, encode(52, 1, reader.request_id))


@handles(59)
def market_data_type(services: Services, session: Session, reader: FieldReader) -> None:
    """Accept any type. Live data are sent, as from TWS, which prefers them to other types."""
    reader.skip("version")
    if reader.whole("marketDataType") not in (1, 2, 3, 4):
        raise refused("Market data type must be 1, 2, 3 or 4")


@handles(1)
def market_data(services: Services, session: Session, reader: FieldReader) -> None:
    reader.skip("version")
    reader.request_id = reader.whole("reqId")
    info = stock_of(services, read_contract(reader))
    if reader.flag("dncFlag"):
        raise refused("delta neutral contracts are not supported")
    reader.skip("genericTicks")
    snapshot_only = reader.flag("snapshot") or reader.flag("regulatorySnapshot")
    services.feed.requests.open_ticks(session, reader.request_id, info.symbol, snapshot_only=snapshot_only)


@handles(2)
def cancel_market_data(_: Services, session: Session, reader: FieldReader) -> None:
    _cancel(session.subscriptions.ticks, reader)


@handles(50)
def real_time_bars(services: Services, session: Session, reader: FieldReader) -> None:
    """Five-second bars, the only size. The bars are of trades for every `whatToShow`."""
    reader.skip("version")
    reader.request_id = reader.whole("reqId")
    info = stock_of(services, read_contract(reader))
    if reader.whole("barSize") != 5:
        raise refused("The size of real-time bars must be 5 seconds")
    if reader.text("whatToShow") not in ("TRADES", "MIDPOINT", "BID", "ASK"):
        raise refused("What to show field is missing or incorrect")
    reader.flag("useRTH")
    services.feed.requests.open_bars(session, reader.request_id, info.symbol)


@handles(51)
def cancel_real_time_bars(_: Services, session: Session, reader: FieldReader) -> None:
    _cancel(session.subscriptions.real_time_bars, reader)


@handles(20)
def historical_bars(services: Services, session: Session, reader: FieldReader) -> None:
    reader.request_id = request_id = reader.whole("reqId")
    wanted = read_contract(reader)
    reader.skip("includeExpired")
    end, bar_size, duration = reader.text("end"), reader.text("barSize"), reader.text("duration")
    reader.flag("useRTH")
    show, format_date = reader.text("whatToShow"), reader.whole("formatDate")
    keep = reader.flag("keepUpToDate")
    info = stock_of(services, wanted)
    now = services.brokerage.engine.now
    query = parse_query(end, bar_size, duration, show, format_date, now, keep=keep)
    _pace(services, (info.symbol, end, bar_size, duration, show))
    dated = [
        query.shown(bar) for bar in services.brokerage.market.bars(info.symbol, query.start, query.end, query.bar_s)
    ]
    if not end:
        forming = FormingBar(session, request_id, info.symbol, query)
        dated += _begun(services, forming, query)
        if keep:
            services.feed.forming_bars[(id(session), request_id)] = forming
    if not dated and not keep:
        raise _service_error(f"HMDS query returned no data: {info.symbol}@{wanted.exchange} {show}")
    session.send("history", replies.historical_bars(request_id, zoned(query.start), zoned(query.end), dated))


@handles(25)
def cancel_historical(services: Services, session: Session, reader: FieldReader) -> None:
    """A live request is ended, which TWS tells as an error, too."""
    reader.skip("version")
    reader.request_id = request_id = reader.whole("reqId")
    if services.feed.forming_bars.pop((id(session), request_id), None) is None:
        raise RequestRefused(NO_HISTORY, f"No historical data query found for ticker id:{request_id}")
    raise _service_error(f"API historical data query cancelled: {request_id}")


def stock_of(services: Services, wanted: ContractRef) -> ContractInfo:
    """The stock that a data request is about. Raises RequestRefused."""
    if not wanted.exchange:
        raise refused("Missing exchange")
    return services.brokerage.contracts.resolve(wanted)


def _begun(services: Services, forming: FormingBar, query: HistoryQuery) -> list[tuple[str, Bar]]:
    """The unfinished bar at the end of the query, if five seconds of it have passed.

    As from TWS, requests that end now get it as their last bar.
    """
    if query.bar_s <= 5:
        return []
    begun = bar_start(query.end, query.bar_s)
    parts = services.brokerage.market.bars(forming.symbol, begun, query.end, 5)
    return [forming.add(part) for part in parts][-1:]


def _pace(services: Services, key: tuple[str, ...]) -> None:
    if services.pacing is not None and not services.pacing.admits(key, time.monotonic()):
        raise _service_error("Historical data request pacing violation")


def _service_error(cause: str) -> RequestRefused:
    return RequestRefused(162, f"Historical Market Data Service error message:{cause}")


def _cancel(subscriptions: dict[int, str], reader: FieldReader) -> None:
    reader.skip("version")
    reader.request_id = reader.whole("reqId")
    if subscriptions.pop(reader.request_id, None) is None:
        raise RequestRefused(NO_TICKER, f"Can't find EId with tickerId:{reader.request_id}")
