"""Subscriptions to real-time bars and prices, within IBKR's pacing of requests for bars.

A symbol's prices and bars are two requests, each of which takes one of the login's market data lines. Requests for
bars that are not allowed yet wait in the order of the symbols, the preferred ones first. A renewal asks for the
prices first, and for the bars once IBKR serves them: a refused symbol then uses up no request for bars. Until the
new request is sent, the one before stays.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from trader.broker.ibkr.client import PacedClient
from trader.broker.ibkr.listener import Listener
from trader.broker.ibkr.pacing import BarPacer
from trader.broker.port import DataFact, FactSink

UNANSWERED_S = 2.0  # after which the bars are asked for, although IBKR has told nothing about the prices
LINES_IN_USE = 101
PACED = (420, 456)  # 420 also means that a permission is missing
WAKE_AFTER_S = 0.01  # a timer may fire early by a rounding error


@dataclass(slots=True, eq=False)
class _Subscription:
    symbol: str
    prices_id: int = 0  # of the request at IBKR; 0: none
    bars_id: int = 0
    bars_wanted: bool = False  # a request for bars has to be sent
    queued: bool = False  # and it was reported that it waits
    renewing: bool = False  # the bars are asked for once IBKR serves the prices


class Subscriptions:
    """The data of all symbols that are subscribed to, across connections."""

    def __init__(self, sink: FactSink, request_id: Callable[[], int]) -> None:
        """request_id: gives the next free one."""
        self._sink = sink
        self._request_id = request_id
        self._pacer = BarPacer()
        self._all: dict[str, _Subscription] = {}
        self._preferred: tuple[str, ...] = ()
        self._connection: tuple[PacedClient, Listener] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # From the broker

    def connected(self, client: PacedClient, listener: Listener) -> None:
        """Subscribe to every symbol over a new connection."""
        self._connection = client, listener
        self.lost()

    def disconnected(self) -> None:
        """The connection and its requests are gone."""
        self._connection = None
        for subscription in self._all.values():
            subscription.prices_id = subscription.bars_id = 0

    def add(self, symbol: str) -> None:
        """Subscribe to a symbol. A second call does nothing."""
        if symbol not in self._all:
            self._all[symbol] = _Subscription(symbol)
            if self._open() is not None:
                self._begin(self._all[symbol])

    def renew(self, symbol: str) -> None:
        """Ask again for the data of a symbol that has none: the prices, then the bars."""
        subscription = self._all.get(symbol)
        if subscription is None or self._open() is None or subscription.bars_wanted:
            return
        subscription.renewing = True
        self._ask_prices(subscription)
        asyncio.get_running_loop().call_later(UNANSWERED_S, self._unanswered, subscription, subscription.prices_id)

    def prefer(self, symbols: tuple[str, ...]) -> None:
        """These symbols go before all others."""
        self._preferred = symbols

    # From the listener

    def lost(self) -> None:
        """IBKR has lost all subscriptions (message 1101)."""
        for subscription in self._in_order():
            self._begin(subscription)

    def bars_ended(self, symbol: str) -> None:
        """IBKR has ended a symbol's bars: ask for them again."""
        if symbol in self._all:
            self._pacer.ended(symbol)
            self._want_bars(self._all[symbol])

    def served(self, request_id: int) -> None:
        """IBKR sends live prices for this request: ask for the bars, if they are missing."""
        subscription = self._of(request_id)
        if subscription is not None and subscription.renewing:
            self._want_bars(subscription)

    def refused(self, request_id: int, code: int) -> None:
        """A request is not at IBKR. Prices without bars give their line back, where none is left."""
        subscription = self._of(request_id)
        if subscription is None:
            return
        self._forget(request_id)
        if request_id == subscription.prices_id:
            subscription.prices_id = 0
            subscription.renewing = subscription.bars_wanted = subscription.queued = False
            return
        subscription.bars_id = 0
        subscription.renewing = self._is_delayed(subscription)
        if code == LINES_IN_USE:
            self._end_prices(subscription)
        if code not in PACED:
            self._pacer.forget(subscription.symbol)
            self._send_bars()  # another symbol may have its turn now

    # Requests

    def _open(self) -> tuple[PacedClient, Listener] | None:
        """The connection, if requests can be sent over it."""
        return self._connection if self._connection is not None and self._connection[0].isReady() else None

    def _is_delayed(self, subscription: _Subscription) -> bool:
        return self._connection is not None and self._connection[1].is_delayed(subscription.prices_id)

    def _in_order(self) -> list[_Subscription]:
        first = [self._all[symbol] for symbol in self._preferred if symbol in self._all]
        return first + [one for one in self._all.values() if one.symbol not in self._preferred]

    def _of(self, request_id: int) -> _Subscription | None:
        return next((one for one in self._all.values() if request_id in (one.prices_id, one.bars_id)), None)

    def _begin(self, subscription: _Subscription) -> None:
        subscription.queued = False
        self._pacer.ended(subscription.symbol)
        self._want_bars(subscription)
        self._ask_prices(subscription)

    def _unanswered(self, subscription: _Subscription, prices_id: int) -> None:
        same = subscription.renewing and subscription.prices_id == prices_id
        if same and not self._is_delayed(subscription):
            self._want_bars(subscription)

    def _want_bars(self, subscription: _Subscription) -> None:
        subscription.bars_wanted, subscription.renewing = True, False
        self._send_bars()

    def _send_bars(self) -> None:
        """Send the requests for bars that are allowed now, and come back for the others."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._open() is None:
            return
        waits = []
        for subscription in self._in_order():
            if not subscription.bars_wanted:
                continue
            wait_s = self._pacer.wait_s(subscription.symbol, time.monotonic())
            if wait_s <= 0:
                self._ask_bars(subscription)
            else:
                waits.append(wait_s)
                self._report_queued(subscription, wait_s)
        if waits:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(waits) + WAKE_AFTER_S, self._send_bars)

    def _report_queued(self, subscription: _Subscription, wait_s: float) -> None:
        if not subscription.queued:
            subscription.queued = True
            text = f"IBKR's pacing allows its real-time bars in {wait_s:.0f} s at the earliest"
            self._sink(DataFact(subscription.symbol, "queued", text=text))

    def _ask_bars(self, subscription: _Subscription) -> None:
        connection = self._open()
        if connection is None:
            return
        client, listener = connection
        if subscription.bars_id:
            self._forget(subscription.bars_id)
            client.end_real_time_bars(subscription.bars_id)
        subscription.bars_wanted = subscription.queued = False
        subscription.bars_id = self._request_id()
        listener.add_request(subscription.bars_id, subscription.symbol)
        self._pacer.asked(subscription.symbol, time.monotonic())
        client.ask_real_time_bars(subscription.bars_id, subscription.symbol)
        self._sink(DataFact(subscription.symbol, "requested"))

    def _ask_prices(self, subscription: _Subscription) -> None:
        connection = self._open()
        if connection is None:
            return
        client, listener = connection
        self._end_prices(subscription)
        subscription.prices_id = self._request_id()
        listener.add_request(subscription.prices_id, subscription.symbol)
        client.ask_prices(subscription.prices_id, subscription.symbol)

    def _end_prices(self, subscription: _Subscription) -> None:
        connection = self._open()
        if connection is not None and subscription.prices_id:
            self._forget(subscription.prices_id)
            connection[0].end_prices(subscription.prices_id)
        subscription.prices_id = 0

    def _forget(self, request_id: int) -> None:
        if self._connection is not None:
            self._connection[1].forget_request(request_id)
