"""Takes each message from the client library's decoder: answers go to the questions, the rest to the sink as facts.

Nothing is decided or sent here; the trader's loop does that. ib_insync's own Wrapper is not used: it marks a live
order Cancelled on any error that it does not know, adds corrections to fills, and treats a lost answer as an empty
one. The method names are the decoder's.
"""
# ruff: noqa: N802, N803 - the decoder calls these names

import asyncio
import logging
import math
from datetime import UTC, datetime
from typing import Any, Protocol

from state.errors import TraderError
from trader.broker.ibkr.known_orders import KnownOrders
from trader.broker.ibkr.questions import (
    ACCOUNT_VALUES,
    COMPLETED_ORDERS,
    EXECUTIONS,
    FIRST_REQUEST_ID,
    OPEN_ORDERS,
    POSITIONS,
    TIME,
    Questions,
    RefusedError,
)
from trader.broker.ibkr.translate import (
    amount_or_none,
    bar_of,
    completed_order_of,
    connection_fact_of,
    execution_of,
    is_managed_kind,
    is_notice,
    open_order_of,
    position_of,
    whole,
)
from trader.broker.port import (
    BarFact,
    CommissionFact,
    ConnectionFact,
    DataFact,
    DataKind,
    ExecutionFact,
    Fact,
    FactSink,
    MessageFact,
    OrderFact,
    PositionFact,
    PricesFact,
)
from trader.errors import BrokerError, BrokerUnreachableError, MarketDataError
from trader.plain_text import plain

LIVE = -1  # the request id of an execution that no request asked for
CLIENT_ID_IN_USE = 326
POSITIONS_UNKNOWN = 2151  # IBKR has not loaded the positions yet: they are unknown, not flat
BARS_ENDED = 10225  # "bust event": IBKR has ended this subscription to bars
DELAYED_FOLLOW = 10167
PARTLY_REFUSED = (10090, 10091)  # a part of the data is not subscribed to; the rest comes
_DATA_TYPES: dict[int, DataKind] = {1: "current", 2: "current", 3: "delayed", 4: "delayed"}  # 2, 4: frozen
_FARM_IS_OK = (2104, 2106, 2158)
_PARTS = {
    61: POSITIONS,
    5: OPEN_ORDERS,
    3: OPEN_ORDERS,
    101: COMPLETED_ORDERS,
    11: EXECUTIONS,
    59: EXECUTIONS,
    63: ACCOUNT_VALUES,
}
_log = logging.getLogger(__name__)


class DataRequests(Protocol):
    """Takes what becomes of the subscriptions. Called outside of the decoder's callbacks."""

    def lost(self) -> None:
        """IBKR has lost all subscriptions (message 1101)."""
        ...

    def bars_ended(self, symbol: str) -> None:
        """IBKR has ended the subscription to a symbol's bars, which has to be renewed at once."""
        ...

    def served(self, request_id: int) -> None:
        """IBKR sends live prices for this request."""
        ...

    def refused(self, request_id: int, code: int) -> None:
        """The request does not exist at IBKR, or no longer."""
        ...


class Listener:
    """The messages of one connection. Only facts of `account` are reported; none while it is empty."""

    def __init__(self, client_id: int, sink: FactSink, data: DataRequests) -> None:
        self.ib = self  # the decoder reads TimezoneTWS through it
        self.TimezoneTWS = "US/Eastern"
        self.account = ""
        self.questions = Questions()
        self.orders = KnownOrders()
        self.commissions: dict[str, float] = {}
        self.symbols: dict[int, str] = {}  # request id of a subscription -> symbol
        self.next_order_id = 0
        self.highest_order_id = 0
        self.times_received = 0
        self.received_anything = False
        self.refusal: tuple[int, str] | None = None  # the last error before the connection was ready
        self.zero_names_all = False  # whether client id 0 in a question for executions has meant every client
        self.broken_by = 0  # 1100 or 2110 while TWS has lost IBKR's servers
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.prices: dict[str, float] = {}  # to be reported, by symbol
        self._last: dict[int, float] = {}  # last price by request id
        self._times: dict[str, int] = {}  # of the last trade, by symbol
        self._data_types: dict[int, DataKind] = {}  # by request id
        self._client_id = client_id
        self._sink = sink
        self._data = data

    def _report(self, fact: Fact) -> None:
        self._sink(fact)

    # The connection

    def connectAck(self) -> None:
        """The handshake is done."""

    def setEventsDone(self) -> None:
        """The socket is closed, by either side."""
        if not self.closed.done():
            self.closed.set_result(None)

    def connectionClosed(self) -> None:
        """The socket of a connection that was ready was closed by the other side."""
        error = BrokerUnreachableError("The connection to TWS or IB Gateway was lost.", "The trader tries again.")
        self.questions.fail_all(error)
        self._report(ConnectionFact("down", error.what))

    def tcpDataArrived(self) -> None:
        self.received_anything = True

    def tcpDataProcessed(self) -> None:
        if self.prices:
            prices, self.prices = self.prices, {}
            times = {symbol: self._times[symbol] for symbol in prices if symbol in self._times}
            self._report(PricesFact(prices, times))

    def undecodable(self, message_id: int, fields: list[str], error: Exception) -> None:
        """A message could not be read. The answer that it belongs to is incomplete, and fails."""
        _log.error("Message %d of IBKR cannot be read (%s): %s", message_id, error, ",".join(fields)[:500])
        part = _PARTS.get(message_id)
        hint = "The answer is not used. Report the message, which is in the log."
        why = error.what if isinstance(error, TraderError) else str(error)
        failure = BrokerError(f"A part of IBKR's answer (message {message_id}) cannot be read: {why}", hint)
        if part is not None:
            self.questions.fail_where(part, failure)
        elif len(fields) > 1 and fields[1].lstrip("-").isdigit():
            self.questions.fail(int(fields[1]), failure)

    def nextValidId(self, reqId: int) -> None:
        self.next_order_id = max(self.next_order_id, reqId)

    def managedAccounts(self, accountsList: str) -> None:
        accounts = [name for name in accountsList.split(",") if name]
        if len(accounts) == 1:
            self.account = accounts[0]

    def error(self, reqId: int, errorCode: int, errorString: str, _advanced: str = "") -> None:
        """Error, warning or notice; `reqId` is a question's, a subscription's or an order's id, or -1."""
        text = plain(errorString)
        if self.next_order_id == 0 and not is_notice(errorCode):
            self.refusal = (errorCode, text)
        if self._is_about_connection(errorCode, text):
            return
        if not is_notice(errorCode) and self.questions.fail(reqId, RefusedError(errorCode, text)):
            return
        if reqId in self.symbols and self._is_about_data(reqId, errorCode, text):
            return
        if errorCode == POSITIONS_UNKNOWN:
            self.questions.fail(POSITIONS, RefusedError(errorCode, text), ended=True)
        order_id = reqId if 0 < reqId < FIRST_REQUEST_ID else -1
        order = self.orders.find(self._client_id, order_id, 0)
        symbol = self.symbols.get(reqId) or (order.symbol if order else "")
        self._report(MessageFact(errorCode, text, order_id, symbol, order.order_ref if order else ""))

    def _is_about_connection(self, code: int, text: str) -> bool:
        fact = connection_fact_of(code, text)
        if fact is None and self.broken_by == 2110 and code in _FARM_IS_OK:
            fact = ConnectionFact("restored", f"{code} {text}")
        if fact is None:
            return False
        self.broken_by = code if fact.state == "broken" else 0
        if fact.data_lost:
            asyncio.get_running_loop().call_soon(self._data.lost)
        self._report(fact)
        return True

    def _is_about_data(self, request_id: int, code: int, text: str) -> bool:
        """Take an error of a subscription; False for a notice, and for one that has to be logged as well."""
        symbol, later = self.symbols[request_id], asyncio.get_running_loop().call_soon
        if code == BARS_ENDED:
            later(self._data.bars_ended, symbol)
            return False
        if code == DELAYED_FOLLOW:
            self._note_data_type(request_id, "delayed", code, text)
            return True
        if is_notice(code) or code in PARTLY_REFUSED:
            return False
        self._report(DataFact(symbol, "refused", code, text))
        later(self._data.refused, request_id, code)
        return True

    def _note_data_type(self, request_id: int, kind: DataKind, code: int = 0, text: str = "") -> None:
        symbol = self.symbols.get(request_id)
        if symbol is None or self._data_types.get(request_id) == kind:
            return
        self._data_types[request_id] = kind
        self._report(DataFact(symbol, kind, code, text))
        if kind == "current":
            asyncio.get_running_loop().call_soon(self._data.served, request_id)

    def currentTime(self, time: int) -> None:
        self.times_received += 1
        self.questions.row(TIME, time)
        self.questions.end(TIME)

    # Positions and money

    def position(self, account: str, contract: Any, posSize: float, avgCost: float) -> None:
        if not is_managed_kind(contract):
            _log.debug("Position in %s %s is ignored: not a US stock", contract.secType, contract.symbol)
            return
        position = position_of(account, contract, posSize, avgCost)
        self.questions.row(POSITIONS, position)
        if account == self.account:  # also while a question is open: the row may be a change
            self._report(PositionFact(position))

    def positionEnd(self) -> None:
        self.questions.end(POSITIONS)

    def accountSummary(self, reqId: int, account: str, tag: str, value: str, currency: str) -> None:
        self.questions.row(reqId, (account, tag, value, currency))

    def accountSummaryEnd(self, reqId: int) -> None:
        self.questions.end(reqId)

    # Orders

    def openOrder(self, orderId: int, contract: Any, order: Any, orderState: Any) -> None:
        if order.clientId == self._client_id:
            self.highest_order_id = max(self.highest_order_id, orderId)
        if order.whatIf or not is_managed_kind(contract):
            return
        before = self.orders.find(order.clientId, orderId, order.permId)
        found = self.orders.keep(open_order_of(contract, order, orderState, before.filled if before else 0))
        self.questions.row(OPEN_ORDERS, (found.client_id, found.order_id, found.perm_id))
        if found.account == self.account:
            self._report(OrderFact(found))

    def openOrderEnd(self) -> None:
        self.questions.end(OPEN_ORDERS)

    def orderStatus(
        self,
        orderId: int,
        status: str,
        filled: float,
        _remaining: float,
        _avgFillPrice: float,
        permId: int,
        parentId: int,
        _lastFillPrice: float,
        clientId: int,
        *_unused: object,
    ) -> None:
        order = self.orders.status(clientId, orderId, permId, status, whole(filled), parentId)
        if order is None:
            _log.warning(
                "Status %s of an order that IBKR has not described: id %d, permId %d", status, orderId, permId
            )
        elif order.account == self.account:
            self._report(OrderFact(order, described=False))

    def completedOrder(self, contract: Any, order: Any, orderState: Any) -> None:
        if is_managed_kind(contract):
            self.questions.row(COMPLETED_ORDERS, completed_order_of(contract, order, orderState))

    def completedOrdersEnd(self) -> None:
        self.questions.end(COMPLETED_ORDERS)

    def execDetails(self, reqId: int, contract: Any, execution: Any) -> None:
        if not is_managed_kind(contract):
            return
        found = execution_of(contract, execution, self.commissions.get(execution.execId))
        if reqId != LIVE:
            self.questions.row(reqId, found)
            return
        if found.account == self.account:
            self._report(ExecutionFact(found))

    def execDetailsEnd(self, reqId: int) -> None:
        self.questions.end(reqId)

    def commissionReport(self, report: Any) -> None:
        commission = amount_or_none(report.commission)
        if commission is not None:
            self.commissions[report.execId] = commission
            self._report(CommissionFact(report.execId, commission))

    # Instruments and market data

    def contractDetails(self, reqId: int, contractDetails: Any) -> None:
        self.questions.row(reqId, contractDetails)

    def contractDetailsEnd(self, reqId: int) -> None:
        self.questions.end(reqId)

    def historicalData(self, reqId: int, bar: Any) -> None:
        self.questions.row(reqId, bar)

    def historicalDataEnd(self, reqId: int, _start: str, _end: str) -> None:
        self.questions.end(reqId)

    def marketDataType(self, reqId: int, marketDataType: int) -> None:
        kind = _DATA_TYPES.get(marketDataType)
        if kind is not None:
            self._note_data_type(reqId, kind)

    def last_price(self, req_id: int, price: float) -> None:
        """A trade's price. The newest of each symbol is reported once per read of the socket (f20: never NaN)."""
        symbol = self.symbols.get(req_id)
        if symbol is not None and 0.0 < price < math.inf:
            self.prices[symbol] = self._last[req_id] = price

    def last_time(self, req_id: int, seconds: int) -> None:
        """When the last trade was; a trade at the price before changes this time only."""
        symbol = self.symbols.get(req_id)
        if symbol is None:
            return
        self._times[symbol] = seconds
        if req_id in self._last:
            self.prices[symbol] = self._last[req_id]

    def delayed_price(self, req_id: int) -> None:
        """A price that is minutes old; no message has to announce such data."""
        self._note_data_type(req_id, "delayed")

    def is_delayed(self, request_id: int) -> bool:
        """Whether IBKR sends delayed data for this request."""
        return self._data_types.get(request_id) == "delayed"

    def add_request(self, request_id: int, symbol: str) -> None:
        """A request for a symbol's data is sent."""
        self.symbols[request_id] = symbol

    def forget_request(self, request_id: int) -> None:
        """A request for data has ended: what still comes of it is ignored."""
        symbol = self.symbols.pop(request_id, "")
        if self._last.pop(request_id, None) is not None:
            self._times.pop(symbol, None)
        self._data_types.pop(request_id, None)

    def realtimeBar(
        self, reqId: int, time: int, open_: float, high: float, low: float, close: float, volume: float, *_: object
    ) -> None:
        symbol = self.symbols.get(reqId)
        if symbol is None:
            return
        try:
            bar = bar_of(datetime.fromtimestamp(time, UTC), open_, high, low, close, volume)
        except MarketDataError as error:
            _log.warning("%s: %s", symbol, error)
        else:
            self._report(BarFact(symbol, bar))
