"""The broker port over the TWS API: one connection at a time, a timeout for every question, no partial answers.

    connect      socket, handshake, account names, next order id; sends no request of its own accord
    snapshot     five questions, each up to its end marker, repeated if something changed meanwhile; else Unknown
    send         the tickets of one call in one write, before everything else that waits
    facts        from the `Listener`; this module only asks and sends

A late answer could be taken for the answer to the next question (see `questions`). So after a lost answer this
module reconnects before the next snapshot, with the same client id, and subscribes again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from trader.broker.ibkr.client import PacedClient
from trader.broker.ibkr.listener import CLIENT_ID_IN_USE, Listener
from trader.broker.ibkr.pacing import HistoryPacer
from trader.broker.ibkr.questions import (
    ACCOUNT_VALUES,
    COMPLETED_ORDERS,
    EXECUTIONS,
    FIRST_REQUEST_ID,
    OPEN_ORDERS,
    POSITIONS,
    TIME,
    RefusedError,
)
from trader.broker.ibkr.snapshots import PARTS, build_snapshot
from trader.broker.ibkr.translate import ACCOUNT_TAGS, bars_between, history_chunks, instrument_of
from trader.broker.port import (
    HISTORY_S,
    Bar,
    BrokerAnswer,
    ConnectionFact,
    FactSink,
    Instrument,
    OrderTicket,
    Unknown,
)
from trader.errors import BrokerError, BrokerUnreachableError, ClientIdInUseError

SNAPSHOT_TRIES = 5  # while fills arrive in between
RENEW_TRIES = 3
RENEW_PAUSE_S = 0.2  # TWS may need a moment to see that the old connection is closed
HISTORY_PATIENCE = 5  # history comes from another server: so many times the answer timeout
NO_DATA = 162  # also "HMDS query returned no data": nothing was traded in that time
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Subscription:
    bars_id: int
    prices_id: int


class IbkrBroker:
    """The connection to TWS, IB Gateway or the embedded gateway. Create it inside the running loop."""

    def __init__(
        self,
        host: str,
        port: int,
        client_id: int,
        sink: FactSink,
        connect_timeout_s: float = 4.0,
        answer_timeout_s: float = 4.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """sink: gets each fact as it arrives. now: session time, which dates the snapshots.

        connect_timeout_s: for the TCP connection, and again for the API's start.
        """
        self._sink = sink
        self._where = f"{host}:{port}"
        self._host, self._port, self._client_id = host, port, client_id
        self._connect_timeout_s = connect_timeout_s
        self._answer_timeout_s = answer_timeout_s
        self._now = now
        self._client: PacedClient | None = None
        self._listener: Listener | None = None
        self._next_request_id = FIRST_REQUEST_ID
        self._sent_order_id = 0
        self._subscriptions: dict[str, _Subscription | None] = {}
        self._pacer = HistoryPacer()
        self._connecting = asyncio.Lock()
        self._asking = asyncio.Lock()
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
            listener = Listener(self._client_id, self._sink, self._renew_data)
            listener.account = self._listener.account if self._listener else ""
            client = PacedClient(listener)
            await self._open(client, listener)
            self._client, self._listener = client, listener
            self.resubscribe_all()

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
        self._subscriptions = dict.fromkeys(self._subscriptions)
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
        self, text: str, request: Callable[[PacedClient, int], object], timeout_s: float = 0.0, key: str = ""
    ) -> list[Any]:
        """Ask one question. key: its kind, for a question without an id. Raises as `Questions.answer`."""
        client, listener = self._connection()
        request_id = self._request_id()
        question = listener.questions.ask(key or request_id, text)
        request(client, request_id)
        return await listener.questions.answer(question, timeout_s or self._answer_timeout_s)

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
                rows = await self._ask(TIME, lambda client, _: client.ask_time(), key=TIME)
            except BrokerUnreachableError:
                # IBKR answers the time, though too late. The connection works, so late answers are not waited for.
                if listener.times_received > before:
                    listener.questions.forget_owed(TIME)
                raise
            return int(rows[-1])

    async def snapshot(self, account: str) -> BrokerAnswer:
        """Everything that IBKR has of one account, or `Unknown` with the missing parts; no BrokerError."""
        async with self._asking:
            try:
                await self._renew_if_in_doubt()
                _, listener = self._connection()
                if account not in self.accounts:
                    return Unknown(("account values",), f"{self._where} does not manage the account {account}")
                listener.account = account
                for _ in range(SNAPSHOT_TRIES):
                    changes = listener.changes
                    answer = await self._ask_all(account, listener)
                    if isinstance(answer, Unknown) or changes == listener.changes:
                        return answer
            except BrokerError as error:
                return Unknown(PARTS, str(error))
            return Unknown(PARTS, f"the account changed during each of {SNAPSHOT_TRIES} requests")

    async def _ask_all(self, account: str, listener: Listener) -> BrokerAnswer:
        if listener.broken_by:
            return Unknown(PARTS, f"TWS has lost IBKR's servers (message {listener.broken_by})")
        # Client id 0 in the filter means every client in some versions of TWS, and only client 0 in others. So the
        # executions of this client are asked for as well.
        answers = await asyncio.gather(
            self._ask(POSITIONS, lambda c, _: c.ask_positions(), key=POSITIONS),
            self._ask(OPEN_ORDERS, lambda c, _: c.ask_open_orders(), key=OPEN_ORDERS),
            self._ask(COMPLETED_ORDERS, lambda c, _: c.ask_completed_orders(), key=COMPLETED_ORDERS),
            self._ask(EXECUTIONS, lambda c, i: c.ask_executions(i, account, 0)),
            self._ask(EXECUTIONS, lambda c, i: c.ask_executions(i, account, self._client_id)),
            self._ask_account_values(),
            return_exceptions=True,
        )
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, BrokerError):
                raise answer
        return build_snapshot(account, self._now(), answers, listener.orders, listener.commissions)

    async def _ask_account_values(self) -> list[Any]:
        asked: list[int] = []

        def request(client: PacedClient, request_id: int) -> None:
            asked.append(request_id)
            client.ask_account_values(request_id, ACCOUNT_TAGS)

        try:
            return await self._ask(ACCOUNT_VALUES, request)
        finally:  # it is a subscription, and IBKR allows two at a time
            if self._client is not None and self.connected and asked:
                self._client.end_account_values(asked[0])

    async def _renew_if_in_doubt(self) -> None:
        _, listener = self._connection()
        owed = [kind for kind in listener.questions.owed if kind != TIME]
        if not owed:
            return
        _log.warning("IBKR did not answer for %s; reconnecting before it is asked again", " and ".join(owed))
        for attempt in range(1, RENEW_TRIES + 1):
            try:
                await self.connect()
                return
            except BrokerError as error:
                if attempt == RENEW_TRIES:
                    self._sink(ConnectionFact("down", str(error)))
                    raise
            await asyncio.sleep(RENEW_PAUSE_S)

    async def instrument(self, symbol: str) -> Instrument:
        """The US stock of this symbol. Raises BrokerError if IBKR knows none (message 200) or several."""
        try:
            rows = await self._ask(f"the contract of {symbol}", lambda client, i: client.ask_contract(i, symbol))
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
        text, timeout_s = f"the bars of {symbol}", self._answer_timeout_s * HISTORY_PATIENCE
        try:
            return await self._ask(text, lambda client, i: client.ask_bars(i, symbol, end, seconds), timeout_s)
        except RefusedError as error:
            if error.code == NO_DATA and "no data" in error.what:
                return []
            raise

    # Market data

    def subscribe(self, symbol: str) -> None:
        """Real-time bars and last prices from now on, across reconnects. A symbol's second call does nothing."""
        if self._subscriptions.get(symbol) is None:
            self._subscriptions[symbol] = None
            if self.connected:
                self._request_data(symbol)

    def resubscribe_all(self) -> None:
        """Subscribe again to the data of every symbol. Done after each connect and after message 1101."""
        self._renew_data("")

    def _renew_data(self, symbol: str) -> None:
        """Subscribe again to the data of one symbol, or of every symbol (empty)."""
        if self.connected:
            for name in [symbol] if symbol else list(self._subscriptions):
                self._request_data(name)

    def _request_data(self, symbol: str) -> None:
        client, listener = self._connection()
        before = self._subscriptions.get(symbol)
        if before is not None:
            client.unsubscribe(before.bars_id, before.prices_id)
            listener.symbols.pop(before.bars_id, None)
            listener.symbols.pop(before.prices_id, None)
        subscription = _Subscription(self._request_id(), self._request_id())
        self._subscriptions[symbol] = subscription
        listener.symbols[subscription.bars_id] = listener.symbols[subscription.prices_id] = symbol
        client.subscribe(subscription.bars_id, subscription.prices_id, symbol)

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
