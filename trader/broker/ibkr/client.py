"""The socket side of ib_insync, with stricter checks: the only module that imports the client library.

Used from ib_insync 0.9.86: the connection, the handshake, the encoding of requests and the decoding of messages.
Replaced:

- its framing: it accepts a frame of any length, invalid bytes raise inside the event loop, and control characters
  pass;
- its decoder's error handling: it logs a message that it cannot read and continues without it;
- its throttle: a stop would wait behind a hundred subscriptions;
- its reading of executions and commissions, of which an answer may have ten thousand: it takes several times as
  long, does not know EDT, and takes EST as a zone without daylight saving time.

`ib_async` has the same classes; to change to it, change the imports.
"""
# ruff: noqa: N802, N815, FBT003 - the library's names and its positional flags
# The library types its objects, not its client:
# mypy: disable-error-code="no-untyped-call"

import asyncio
import logging
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from trader.broker.ibkr.listener import Listener
from trader.broker.ibkr.pacing import Lane, SendLanes
from trader.broker.port import OrderTicket
from trader.plain_text import plain
from trader.startup import parts_of
from trader.time_zones import parse_time

with parts_of("ib_insync", without="numpy"):
    from ib_insync.client import Client
    from ib_insync.contract import Stock
    from ib_insync.decoder import Decoder
    from ib_insync.objects import ExecutionFilter
    from ib_insync.order import Order

MAX_FRAME_BYTES = 16 * 1024 * 1024  # TWS's largest messages are scanner parameters, about 2 MB; unused here
CLOSE_TIMEOUT_S = 1.0
EXECUTION_FIELDS = 31
UTC_FORMAT = "%Y%m%d-%H:%M:%S"  # TWS's notation for UTC
LAST_PRICE, LAST_TIME = "4", "45"  # tick types
DELAYED_PRICES = frozenset(("66", "67", "68", "72", "73", "75", "76"))
_DECODED = frozenset((3, 4, 5, 9, 10, 11, 15, 17, 49, 50, 52, 53, 55, 58, 59, 61, 62, 63, 64, 101, 102))
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class ExecutedContract:
    """The contract of an execution, as far as it is used."""

    conId: int
    symbol: str
    secType: str
    currency: str


@dataclass(slots=True)
class ReportedExecution:
    """An execDetails message, as far as it is used."""

    orderId: int
    execId: str
    time: datetime
    acctNumber: str
    side: str
    shares: float
    price: float
    permId: int
    clientId: int
    cumQty: float
    orderRef: str


@dataclass(slots=True)
class ReportedCommission:
    """A commissionReport message, as far as it is used."""

    execId: str
    commission: float


@lru_cache(maxsize=1024)
def _execution_time(text: str) -> datetime:
    """Many executions share a second."""
    return parse_time(text).astimezone(UTC)


class StrictDecoder(Decoder):
    """Decodes the messages that the listener takes, and reports to it each one that cannot be read."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener, 0)  # type: ignore[arg-type]  # it calls methods by name, no more
        self._listener = listener
        self._handlers = {str(number): self.handlers[number] for number in _DECODED}
        self._handlers["1"] = self._tick_price
        self._handlers["46"] = self._tick_string

    def wrap(self, methodName: str, types: list[type], skip: int = 2) -> Any:  # noqa: N803
        """As the library's, but errors are raised."""
        readers = [_READERS[kind] for kind in types]
        method = getattr(self.wrapper, methodName, None)

        def handler(fields: list[str]) -> None:
            if len(fields) - skip < len(readers):
                raise ValueError(f"it has {len(fields)} fields, fewer than {len(readers) + skip}")
            method(*[read(field) for read, field in zip(readers, fields[skip:], strict=False)])  # type: ignore[misc]

        return handler

    def interpret(self, fields: list[str]) -> None:
        handler = self._handlers.get(fields[0]) if fields else None
        if handler is None:
            return
        try:
            handler(fields)
        except Exception as error:  # noqa: BLE001 - an unreadable message is reported and ends no connection
            self._listener.undecodable(int(fields[0]), fields, error)

    def _tick_price(self, fields: list[str]) -> None:
        if fields[3] == LAST_PRICE and fields[4]:
            self._listener.last_price(int(fields[2]), float(fields[4]))
        elif fields[3] in DELAYED_PRICES:
            self._listener.delayed_price(int(fields[2]))

    def _tick_string(self, fields: list[str]) -> None:
        if fields[3] == LAST_TIME and fields[4]:
            self._listener.last_time(int(fields[2]), int(fields[4]))

    def execDetails(self, fields: list[str]) -> None:
        if len(fields) != EXECUTION_FIELDS:
            raise ValueError(f"it has {len(fields)} fields, not {EXECUTION_FIELDS}")
        _, request_id, order_id, con_id, symbol, kind, *_, currency, _, _ = fields[:14]
        exec_id, moment, account, _, side, shares, price, perm_id, client_id, _, cum_quantity, _, ref = fields[
            14:27
        ]
        self._listener.execDetails(
            int(request_id),
            ExecutedContract(int(con_id or 0), symbol, kind, currency),
            ReportedExecution(
                int(order_id or 0),
                exec_id,
                _execution_time(moment),
                account,
                side,
                float(shares or 0),
                float(price or 0),
                int(perm_id or 0),
                int(client_id or 0),
                float(cum_quantity or 0),
                ref,
            ),
        )

    def commissionReport(self, fields: list[str]) -> None:
        self._listener.commissionReport(ReportedCommission(fields[2], float(fields[3] or 0)))


_READERS: dict[type, Any] = {
    str: str,
    int: lambda field: int(field or 0),
    float: lambda field: float(field or 0),
    bool: lambda field: bool(int(field or 0)),
}


class PacedClient(Client):
    """One connection. Use it once: a new connection is a new client with a new listener."""

    def __init__(self, listener: Listener) -> None:
        self._lane = Lane.QUESTIONS
        self._batch: list[bytes] | None = None
        super().__init__(listener)
        self.decoder = StrictDecoder(listener)
        self._listener = listener
        loop = asyncio.get_running_loop()
        self.lanes = SendLanes(self.conn.sendMsg, loop.time, loop.call_at)
        self._logger = _log.getChild("library")
        self._logger.setLevel(logging.CRITICAL)  # it logs, twice, what the broker's exceptions report

    def reset(self) -> None:
        super().reset()
        lanes: SendLanes | None = getattr(self, "lanes", None)  # the library calls reset before `lanes` is set
        if lanes is not None and (unsent := lanes.clear()):
            _log.error("The connection ended before %d messages about orders were sent", unsent)

    @contextmanager
    def together(self, lane: Lane) -> Iterator[None]:
        """Send the requests of the block in one write on this lane. If the block raises, nothing is sent."""
        self._batch = []
        try:
            yield
            if self._batch:
                self.lanes.put(self._batch, lane)
        finally:
            self._batch = None

    def sendMsg(self, msg: str) -> None:
        frame = self._prefix(msg.encode())
        if self._batch is not None:
            self._batch.append(frame)
        else:
            self.lanes.put([frame], Lane.QUESTIONS)

    def _onSocketHasData(self, data: bytes) -> None:
        self._listener.tcpDataArrived()
        buffer = self._data + data if self._data else data
        at = 0
        while len(buffer) - at >= 4:
            (size,) = struct.unpack_from(">I", buffer, at)
            if size > MAX_FRAME_BYTES:
                self._give_up(f"a frame of {size} bytes")
                return
            if len(buffer) - at - 4 < size:
                break
            fields = _fields_of(buffer[at + 4 : at + 4 + size])
            at += 4 + size
            if not (self._apiReady or self._begin(fields)):
                return
            if self._serverVersion:
                self.decoder.interpret(fields)
        self._data = buffer[at:]
        self._listener.tcpDataProcessed()

    def _begin(self, fields: list[str]) -> bool:
        """Take a message that comes before the connection is ready; False if the peer is not TWS."""
        if not self._serverVersion:
            if len(fields) != 2 or not fields[0].isdigit() or int(fields[0]) < self.MinClientVersion:
                self._give_up(f"a greeting that is not TWS's ({','.join(fields)[:60]!r})")
                return False
            self._serverVersion = self.decoder.serverVersion = int(fields[0])
            self.connState = Client.CONNECTED
            self.startApi()
            fields.clear()  # the greeting is not decoded as a message
            return True
        if fields[:1] == ["9"]:
            self._hasReqId = True
        elif fields[:1] == ["15"] and len(fields) > 2:
            self._accounts = [name for name in fields[2].split(",") if name]
        if self._hasReqId and self._accounts:
            self._apiReady = True
            self.apiStart.emit()
        return True

    def _give_up(self, what: str) -> None:
        self._listener.refusal = self._listener.refusal or (0, f"it sent {what}")
        self._data = b""
        was_ready = self._apiReady
        self.disconnect()
        self._listener.setEventsDone()
        if was_ready:
            self._listener.connectionClosed()

    async def open(self, host: str, port: int, client_id: int, timeout_s: float) -> None:
        """Connect and start the API, each within `timeout_s`. Raises what the library raises."""
        await self.connectAsync(host, port, client_id, timeout_s)

    async def close(self) -> None:
        """Close the socket. Bytes written before are still sent, if the peer reads them in time."""
        transport = self.conn.transport
        try:
            self.disconnect()
        except OSError:  # the peer has reset the connection
            self.reset()
        if transport is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.shield(self._listener.closed)
        except TimeoutError:
            transport.abort()

    # Questions. The answer carries the request id, if the question has one.

    def ask_time(self) -> None:
        self.reqCurrentTime()

    def ask_positions(self) -> None:
        """All positions of all accounts, and from then on each change."""
        self.reqPositions()

    def ask_open_orders(self) -> None:
        """The open orders of all clients, without binding any."""
        self.reqAllOpenOrders()

    def ask_completed_orders(self) -> None:
        """Orders that were filled or cancelled today, of every client and of TWS itself."""
        self.reqCompletedOrders(False)

    def ask_executions(self, request_id: int, account: str, client_id: int, since: datetime | None = None) -> None:
        """Today's executions of one account. client_id: 0 for all clients; see `IbkrBroker._ask_executions`."""
        first = f"{since.astimezone(UTC):{UTC_FORMAT}}" if since is not None else ""
        self.reqExecutions(request_id, ExecutionFilter(clientId=client_id, acctCode=account, time=first))

    def ask_account_values(self, request_id: int, tags: Sequence[str]) -> None:
        self.reqAccountSummary(request_id, "All", ",".join(tags))

    def end_account_values(self, request_id: int) -> None:
        """End the subscription that `ask_account_values` opened: IBKR allows two at a time."""
        self.cancelAccountSummary(request_id)

    def ask_contract(self, request_id: int, symbol: str) -> None:
        self.reqContractDetails(request_id, stock(symbol))

    def ask_bars(self, request_id: int, symbol: str, end: datetime, seconds: int) -> None:
        """5-second bars of regular trading hours up to `end`; IBKR sends their times as epoch seconds."""
        last = f"{end.astimezone(UTC):{UTC_FORMAT}}"
        self.reqHistoricalData(
            request_id, stock(symbol), last, f"{seconds} S", "5 secs", "TRADES", True, 2, False, None
        )

    # Market data and orders

    def ask_real_time_bars(self, request_id: int, symbol: str) -> None:
        """Real-time 5-second bars of regular trading hours."""
        with self.together(Lane.SUBSCRIPTIONS):
            self.reqRealTimeBars(request_id, stock(symbol), 5, "TRADES", True, None)

    def end_real_time_bars(self, request_id: int) -> None:
        with self.together(Lane.SUBSCRIPTIONS):
            self.cancelRealTimeBars(request_id)

    def ask_prices(self, request_id: int, symbol: str) -> None:
        with self.together(Lane.SUBSCRIPTIONS):
            self.reqMktData(request_id, stock(symbol), "", False, False, None)

    def end_prices(self, request_id: int) -> None:
        with self.together(Lane.SUBSCRIPTIONS):
            self.cancelMktData(request_id)

    def send_orders(self, tickets: Sequence[OrderTicket]) -> None:
        """Write the orders, in this order, in one write."""
        with self.together(Lane.ORDERS):
            for ticket in tickets:
                self.placeOrder(ticket.order_id, stock(ticket.symbol, ticket.con_id), order_of(ticket))

    def cancel_order(self, order_id: int) -> None:
        with self.together(Lane.ORDERS):
            self.cancelOrder(order_id)


def _fields_of(body: bytes) -> list[str]:
    """The fields of one message. What IBKR says is data: here, and only here, its control characters end (g08)."""
    fields = body.decode(errors="backslashreplace").split("\0")
    fields.pop()
    if not "".join(fields).isprintable():
        fields = [plain(field, None) for field in fields]
    return fields


def stock(symbol: str, con_id: int = 0) -> Any:
    """The contract of a US stock, routed by IBKR (SMART)."""
    return Stock(symbol, "SMART", "USD", conId=con_id)


def order_of(ticket: OrderTicket) -> Any:
    """A ticket as the library's order."""
    order = Order(
        action=ticket.action,
        totalQuantity=ticket.quantity,
        orderType=ticket.order_type,
        tif=ticket.tif,
        orderRef=ticket.order_ref,
        account=ticket.account,
        parentId=ticket.parent_id,
        ocaGroup=ticket.oca_group,
        ocaType=ticket.oca_type,
        transmit=ticket.transmit,
        outsideRth=False,
    )
    if ticket.stop_price is not None:
        order.auxPrice = ticket.stop_price
    return order
