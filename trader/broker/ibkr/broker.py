"""The broker port over the TWS API: one connection at a time, a timeout for every question, no partial answers.

    connect      socket, handshake, account names, next order id; sends no request of its own accord
    ask          one part of a snapshot, up to its end marker; several parts may be asked for at once
    send         the tickets of one call in one write, before everything else that waits
    facts        from the `Listener`; this module only asks and sends

A slow or lost answer never ends the connection: `questions` tells a late answer from the next one.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from trader.broker.ibkr.client import PacedClient
from trader.broker.ibkr.known_orders import KnownOrders
from trader.broker.ibkr.listener import CLIENT_ID_IN_USE, Listener
from trader.broker.ibkr.pacing import HistoryPacer
from trader.broker.ibkr.questions import (
    ACCOUNT_VALUES,
    EXECUTIONS,
    FIRST_REQUEST_ID,
    TIME,
    Question,
    RefusedError,
)
from trader.broker.ibkr.snapshots import completed_orders_of, executions_of, open_orders_of, positions_of
from trader.broker.ibkr.subscriptions import Subscriptions
from trader.broker.ibkr.translate import (
    ACCOUNT_TAGS,
    EXCHANGE_RATES,
    account_values_of,
    bars_between,
    history_chunks,
    instrument_of,
)
from trader.broker.port import (
    HISTORY_S,
    PART_NAMES,
    PARTS,
    Bar,
    BrokerExecution,
    FactSink,
    Instrument,
    OrderTicket,
    Part,
    PartAnswer,
)
from trader.errors import BrokerError, BrokerUnreachableError, ClientIdInUseError

SOON_S = 1.0  # for which a question about all clients' executions is asked alone
QUICK_S = 4.0  # for what TWS answers by itself
NO_DATA = 162  # also "HMDS query returned no data": nothing was traded in that time
_REQUESTS: dict[str, Callable[[PacedClient, int], object]] = {
    "positions": lambda client, _: client.ask_positions(),
    "open_orders": lambda client, _: client.ask_open_orders(),
    "completed_orders": lambda client, _: client.ask_completed_orders(),
}
_BUILDERS: dict[str, Callable[[str, list[Any], KnownOrders], PartAnswer]] = {
    "positions": lambda account, rows, _: positions_of(account, rows),
    "open_orders": open_orders_of,
    "completed_orders": lambda account, rows, _: completed_orders_of(account, rows),
}
_log = logging.getLogger(__name__)


class IbkrBroker:
    """The connection to TWS, IB Gateway or the embedded gateway. Create it inside the running loop."""

    def __init__(
        self,
        host: str,
        port: int,
        client_id: int,
        sink: FactSink,
        connect_timeout_s: float = 4.0,
        answer_timeout_s: float = 20.0,
    ) -> None:
        """sink: gets each fact as it arrives.

        connect_timeout_s: for the TCP connection, and again for the API's start.
        """
        self._sink = sink
        self._where = f"{host}:{port}"
        self._host, self._port, self._client_id = host, port, client_id
        self._connect_timeout_s = connect_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._client: PacedClient | None = None
        self._listener: Listener | None = None
        self._next_request_id = FIRST_REQUEST_ID
        self._sent_order_id = 0
        self._subscriptions = Subscriptions(sink, self._request_id)
        self._pacer = HistoryPacer()
        self._connecting = asyncio.Lock()
        self._asking = {part: asyncio.Lock() for part in PARTS}
        self._asking_time = asyncio.Lock()

    # The connection

    @property
    def connected(self) -> bool:
        """Whether the socket is up and the API has started. TWS's own connection to IBKR may be down."""
        return self._client is not None and self._client.isReady()

    @property
    def accounts(self) -> tuple[str, ...]:
        """Accounts of this login; empty without a connection."""
        return tuple(self._client.getAccounts()) if self._client is not None and self.connected else ()

    async def connect(self) -> None:
        """Try once; an earlier connection is closed. BrokerUnreachableError, or ClientIdInUseError on 326."""
        async with self._connecting:
            await self.disconnect()
            listener = Listener(self._client_id, self._sink, self._subscriptions)
            listener.account = self._listener.account if self._listener else ""
            client = PacedClient(listener)
            await self._open(client, listener)
            self._client, self._listener = client, listener
            self._subscriptions.connected(client, listener)

    async def _open(self, client: PacedClient, listener: Listener) -> None:
        started = client.open(self._host, self._port, self._client_id, self._connect_timeout_s)
        opening = asyncio.ensure_future(started)
        try:
            await asyncio.wait({opening, listener.closed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not opening.done():
                opening.cancel()
                await asyncio.wait({opening})
        error = None if opening.cancelled() else opening.exception()
        if opening.cancelled() or error is not None or not client.isReady():
            await client.close()
            raise self._refusal(listener, error)

    def _refusal(self, listener: Listener, error: BaseException | None) -> BrokerError:
        code, text = listener.refusal or (0, "")
        if code == CLIENT_ID_IN_USE:
            return ClientIdInUseError(
                f"Client id {self._client_id} is in use at {self._where}.",
                "Stop the other program, or wait until TWS has released a crashed one; orders belong to this id.",
            )
        if listener.received_anything:
            return BrokerUnreachableError(
                f"The program at {self._where} started no API session: {text or 'no answer, or it closed'}.",
                "Check that it is TWS or IB Gateway, logged in, with the API enabled for this computer.",
            )
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            return BrokerUnreachableError(
                f"Nothing accepts connections at {self._where} ({error.strerror or error}).",
                "Start TWS or IB Gateway and enable its API, or correct --gateway.",
            )
        return BrokerUnreachableError(
            f"{self._where} accepted the connection and sent nothing, or was not reached in time.",
            "Check that it is TWS or IB Gateway, that no dialog is open there, and the address.",
        )

    async def disconnect(self) -> None:
        """Close the socket; orders stay at IBKR. The sink gets no fact about it."""
        client, listener = self._client, self._listener
        self._client = None
        self._subscriptions.disconnected()
        if client is None or listener is None:
            return
        listener.questions.fail_all(
            BrokerUnreachableError("The connection was closed by this program.", "Connect again.")
        )
        await client.close()

    def _connection(self) -> tuple[PacedClient, Listener]:
        if self._client is None or self._listener is None or not self.connected:
            raise BrokerUnreachableError(f"There is no connection to {self._where}.", "Connect first.")
        return self._client, self._listener

    async def _ask(
        self,
        text: str,
        request: Callable[[PacedClient, int], object],
        timeout_s: float = math.inf,
        key: str = "",
    ) -> list[Any]:
        """Ask one question. key: its kind, for a question without an id. Raises as `Questions.answer`."""
        _, listener = self._connection()
        question = self._put(text, request, key)
        return await listener.questions.answer(question, min(timeout_s, self._answer_timeout_s))

    def _put(self, text: str, request: Callable[[PacedClient, int], object], key: str = "") -> Question:
        """Send a question without waiting for its answer."""
        client, listener = self._connection()
        request_id = self._request_id()
        question = listener.questions.ask(key or request_id, text)
        request(client, request_id)
        return question

    def _request_id(self) -> int:
        self._next_request_id += 1
        return self._next_request_id

    # Questions

    async def current_time(self) -> int:
        """The broker's time, whole seconds since the epoch; the heartbeat. Raises BrokerUnreachableError."""
        async with self._asking_time:
            _, listener = self._connection()
            before = listener.times_received
            try:
                rows = await self._ask(TIME, lambda client, _: client.ask_time(), QUICK_S, key=TIME)
            except BrokerUnreachableError:
                # IBKR answers the time, though too late. The connection works, so late answers are not waited for.
                if listener.times_received > before:
                    listener.questions.forget_owed(TIME)
                raise
            return int(rows[-1])

    async def ask(self, part: Part, account: str, since: datetime | None = None) -> PartAnswer:
        """One part of a snapshot. since: for executions, only those from then on. Raises BrokerError."""
        async with self._asking[part]:
            _, listener = self._connection()
            if account not in self.accounts:
                raise BrokerError(
                    f"{self._where} does not manage the account {account}.", "Log in to that account in TWS."
                )
            listener.account = account
            if listener.broken_by:
                raise BrokerUnreachableError(
                    f"TWS has lost IBKR's servers (message {listener.broken_by}).", "It reconnects by itself."
                )
            if part == "executions":
                return await self._ask_executions(account, listener, since)
            if part == "account":
                values = account_values_of(account, await self._ask_account_values())
                if values is None:
                    raise BrokerError(
                        f"IBKR's answer does not have all values of account {account}.", "The trader asks again."
                    )
                return (values,)
            rows = await self._ask(PART_NAMES[part], _REQUESTS[part], key=PART_NAMES[part])
            return _BUILDERS[part](account, rows, listener.orders)

    async def _ask_executions(
        self, account: str, listener: Listener, since: datetime | None
    ) -> tuple[BrokerExecution, ...]:
        """Client id 0 in the filter means every client in some versions of TWS, and only client 0 in others.

        So the executions of this client are asked for as well, unless an answer for 0 has had some of them.
        """
        question = self._put(EXECUTIONS, lambda c, i: c.ask_executions(i, account, 0, since))
        answering = asyncio.ensure_future(listener.questions.answer(question, self._answer_timeout_s))
        try:
            await asyncio.wait({answering}, timeout=SOON_S)
            listener.zero_names_all |= any(row.client_id == self._client_id for row in question.rows)
            if listener.zero_names_all:
                return executions_of(account, await answering, listener.commissions)
            own = self._ask(EXECUTIONS, lambda c, i: c.ask_executions(i, account, self._client_id, since))
            of_all, of_this_client = await asyncio.gather(answering, own)
            return executions_of(account, [*of_all, *of_this_client], listener.commissions)
        finally:
            answering.cancel()

    async def _ask_account_values(self) -> list[Any]:
        asked: list[int] = []

        def request(client: PacedClient, request_id: int) -> None:
            asked.append(request_id)
            client.ask_account_values(request_id, (*ACCOUNT_TAGS, EXCHANGE_RATES))

        try:
            return await self._ask(ACCOUNT_VALUES, request)
        finally:  # it is a subscription, and IBKR allows two at a time
            if self._client is not None and self.connected and asked:
                self._client.end_account_values(asked[0])

    async def instrument(self, symbol: str) -> Instrument:
        """The US stock of this symbol. Raises BrokerError if IBKR knows none (message 200) or several."""
        try:
            rows = await self._ask(
                f"the contract of {symbol}", lambda client, i: client.ask_contract(i, symbol), QUICK_S
            )
        except RefusedError as error:
            raise BrokerError(
                f"IBKR does not know the stock {symbol}: {error.what}", "Correct the symbol, or remove it."
            ) from error
        return instrument_of(symbol, rows)

    async def history(self, symbol: str, end: datetime, seconds: int) -> list[Bar]:
        """5-second bars of regular trading hours that start in [end - seconds, end), oldest first.

        Waits as long as IBKR's pacing demands; a caller that cannot wait needs a timeout. Raises BrokerError.
        """
        bars: list[Bar] = []
        for chunk_end, chunk_s in history_chunks(end, seconds, HISTORY_S):
            rows = await self._ask_history(symbol, chunk_end, chunk_s)
            bars += bars_between(rows, chunk_end - timedelta(seconds=chunk_s), chunk_end)
        return bars

    async def _ask_history(self, symbol: str, end: datetime, seconds: int) -> list[Any]:
        asked = (symbol, end, seconds)
        while (wait_s := self._pacer.wait_s(symbol, asked, time.monotonic())) > 0:  # noqa: ASYNC110 - only time passes
            await asyncio.sleep(wait_s)
        self._pacer.asked(symbol, asked, time.monotonic())
        text = f"the bars of {symbol}"
        try:
            return await self._ask(text, lambda client, i: client.ask_bars(i, symbol, end, seconds))
        except RefusedError as error:
            if error.code == NO_DATA and "no data" in error.what:
                return []
            raise

    # Market data

    def subscribe(self, symbol: str) -> None:
        """Real-time bars and last prices from now on, across reconnects. A symbol's second call does nothing."""
        self._subscriptions.add(symbol)

    def resubscribe(self, symbol: str) -> None:
        """Ask again for the data of a symbol that has none. Does nothing without a connection."""
        if self.connected:
            self._subscriptions.renew(symbol)

    def prefer(self, symbols: tuple[str, ...]) -> None:
        """Subscribe to these symbols before all others, from now on."""
        self._subscriptions.prefer(symbols)

    # Orders

    def free_order_id(self, above: int = 0) -> int:
        """The lowest id above `above`, above each one sent, and not below the next valid id of IBKR.

        Raises BrokerError without a connection, or if the next id is too large for this program.
        """
        _, listener = self._connection()
        order_id = max(listener.next_order_id, listener.highest_order_id + 1, above + 1, self._sent_order_id + 1)
        if order_id >= FIRST_REQUEST_ID:
            raise BrokerError(
                f"The next order id would be {order_id}, which is too large for this program.",
                "Reset the API order ids in TWS (Global Configuration, API, Settings), with no order open.",
            )
        return order_id

    def send(self, tickets: list[OrderTicket]) -> None:
        """Write the orders in one write; the same id again modifies. BrokerError: nothing was written."""
        client, listener = self._connection()
        for ticket in tickets:
            listener.orders.sent(ticket, self._client_id)
            self._sent_order_id = max(self._sent_order_id, ticket.order_id)
        client.send_orders(tickets)

    def cancel(self, order_id: int) -> None:
        """Ask IBKR to cancel an order of this client. Raises BrokerError without a connection."""
        client, _ = self._connection()
        client.cancel_order(order_id)
