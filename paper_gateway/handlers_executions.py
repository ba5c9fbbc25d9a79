"""Client messages about executions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from paper_gateway import replies
from paper_gateway.execution_log import Execution
from paper_gateway.handlers import Services, handles
from paper_gateway.history import parse_time, refused
from paper_gateway.session import Session
from paper_gateway.wire import FieldReader, encode

_SIDES = {"": "", "BUY": "BOT", "BOT": "BOT", "SELL": "SLD", "SLD": "SLD"}
_OLD_NAMES = {"ISLAND": "NASDAQ"}


@dataclass(frozen=True, slots=True)
class Filter:
    """What a request selects; an empty field selects everything. client_id: None for all clients."""

    client_id: int | None
    account: str
    since: datetime | None
    symbol: str
    sec_type: str
    exchange: str
    side: str

    def passes(self, one: Execution, exchange: str) -> bool:
        """Whether an execution on this exchange is selected."""
        return (
            self.client_id in (None, one.order.client_id)
            and self.account in ("", one.order.account)
            and (self.since is None or one.time >= self.since)
            and self.symbol in ("", one.order.symbol)
            and self.sec_type in ("", "STK")
            and self.exchange in ("", exchange)
            and self.side in ("", one.side)
        )


@handles(7)
def executions(services: Services, session: Session, reader: FieldReader) -> None:
    """The executions of the day that pass the filter, then their commission reports, then the end marker."""
    reader.skip("version")
    reader.request_id = reader.whole("reqId")
    wanted = _read_filter(services, reader)
    quirks = services.brokerage.quirks
    chosen = [] if quirks.on("executions-empty") else list(_chosen(services, wanted))
    for one in chosen:
        session.send("executions", *services.publisher.execution_frames(reader.request_id, one))
    for one in chosen:
        if services.publisher.is_commission_known(one):
            session.send("executions", replies.commission(one))
    if not quirks.on("executions-open"):
        session.send("executions", encode(55, 1, reader.request_id))


def _read_filter(services: Services, reader: FieldReader) -> Filter:
    """The filter of a request.

    Three reports contradict each other about client id 0. So it is an option of the gateway (--executions-of):
    the executions of all clients, or those of client 0.
    """
    client_id = reader.whole("clientId")
    account, since = reader.text("account"), reader.text("time")
    symbol, sec_type = reader.text("symbol").upper(), reader.text("secType").upper()
    exchange, side = reader.text("exchange").upper(), reader.text("side").upper()
    if side not in _SIDES:
        raise refused(f"Invalid side {side[:20]!r}")
    return Filter(
        None if client_id == 0 and services.executions_of == "all" else client_id,
        account,
        parse_time(since) if since else None,
        symbol,
        sec_type,
        _OLD_NAMES.get(exchange, exchange),
        _SIDES[side],
    )


def _chosen(services: Services, wanted: Filter) -> Iterator[Execution]:
    brokerage = services.brokerage
    for one in (*brokerage.yesterday.executions, *brokerage.execution_log.executions):
        if wanted.passes(one, brokerage.info(one.order.symbol).primary_exchange):
            yield one
