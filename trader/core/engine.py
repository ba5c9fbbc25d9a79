"""The one loop that decides. Facts, seconds, answers and requests come through one queue, one after the other.

Nothing is decided inside a callback of the client library. A message is first taken in (books and bars), and
what it calls for is done when nothing more is waiting, so that a burst of partial fills costs one resize.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from state.domain.events import (
    AlertRaised,
    BrokerErrorCounted,
    Event,
    OrderAcknowledged,
    OrderChanged,
    SymbolHalted,
)
from state.domain.model import TraderState
from state.errors import SyncFailedError, TraderError
from state.manager import StateManager
from trader.broker.port import (
    BarFact,
    Broker,
    CommissionFact,
    ConnectionFact,
    ExecutionFact,
    MessageFact,
    OrderFact,
    PositionFact,
    PricesFact,
)
from trader.clock import Clock
from trader.config.sections import Config
from trader.core.bars import Candle
from trader.core.connection_status import ConnectionStatus
from trader.core.entries import Entries
from trader.core.exits import Exits
from trader.core.limits import Limits
from trader.core.messages import Answer, Message, Reconnected, Request, Second
from trader.core.orders.broker_events import (
    commission_event,
    execution_event,
    find_order,
    message_events,
    order_events,
)
from trader.core.orders.closing import OrderDesk
from trader.core.orders.protection import wanted_stop_size
from trader.core.view import SymbolMonitor
from trader.errors import BrokerError

_log = logging.getLogger("trader.core")

COMPETING_SESSION = 10197


class Engine:
    """Takes messages in, and reacts. The recovery side plugs in through `on_answer` and `on_reconnect`."""

    def __init__(
        self, config: Config, clock: Clock, manager: StateManager, broker: Broker, desk: OrderDesk
    ) -> None:
        self.config = config
        self.clock = clock
        self.manager = manager
        self.broker = broker
        self.desk = desk
        self.entries = Entries(config, desk)
        self.exits = Exits(config, desk)
        self._limits = Limits(manager, clock, config.risk)
        self.monitors: dict[str, SymbolMonitor] = {}
        self.inbox = cast("asyncio.Queue[Message]", broker.facts.queue)
        self.connection_status = ConnectionStatus(manager, clock)
        self.activity = 0  # counts what makes an older broker snapshot stale
        self.save_wanted = asyncio.Event()
        self.compare_wanted = asyncio.Event()
        self.line_lost = asyncio.Event()
        self.on_answer: Callable[[Answer], Awaitable[None]] = _nothing_to_answer
        self.on_reconnect: Callable[[], Awaitable[None]] = _nothing_to_do
        self.on_request: Callable[[Request], Awaitable[None]] = _refuse
        self.on_second: Callable[[], Awaitable[None]] = _nothing_to_do
        self.on_new_position: Callable[[str], Awaitable[None]] = _no_position
        self._priced: set[str] = set()
        self._candles: list[tuple[str, Candle]] = []
        self._changed: set[str] = set()
        self._backlog: deque[Message] = deque()

    @property
    def state(self) -> TraderState:
        """The books."""
        return self.manager.state

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.handle(self._backlog.popleft() if self._backlog else await self.inbox.get())

    async def handle(self, message: Message) -> None:
        """One message and, where it is a fact, all facts that already wait behind it."""
        try:
            await self._take(message)
        except BrokerError as error:  # the line went away in the middle: that ends the turn and not the run
            _log.warning("Not done for now: %s", error.what)
            self.compare_wanted.set()

    async def _take(self, message: Message) -> None:
        if isinstance(message, Answer):
            self.absorb_waiting()
            await self.on_answer(message)
            await self._react()
        elif isinstance(message, Reconnected):
            await self.on_reconnect()
        elif isinstance(message, Request):
            await self.on_request(message)
        elif isinstance(message, Second):
            await self.on_second()
            self._priced.update(self.state.positions)
            await self._react()
        else:
            self.absorb(message)
            self.absorb_waiting()
            await self._react()

    def absorb_waiting(self) -> None:
        """Take in every fact that waits; what is no fact keeps its turn."""
        while not self.inbox.empty():
            message = self.inbox.get_nowait()
            if isinstance(message, Second) and any(isinstance(m, Second) for m in self._backlog):
                continue
            if isinstance(message, Answer | Reconnected | Request | Second):
                self._backlog.append(message)
            else:
                self.absorb(message)

    async def answer_requests(self) -> None:
        """What the operator asked for while a comparison keeps the queue waiting; nothing is being decided then."""
        waiting = [message for message in self._backlog if isinstance(message, Request)]
        for request in waiting:
            self._backlog.remove(request)
            await self.on_request(request)

    def absorb(self, message: Message) -> None:
        """Take one fact into the books or the bars. Sends nothing."""
        if isinstance(message, PricesFact):
            self._take_prices(message)
        elif isinstance(message, BarFact):
            self._take_bar(message)
        elif isinstance(message, ExecutionFact):
            self._take_execution(message)
        elif isinstance(message, CommissionFact):
            self._record(commission_event(self.state, message, self.clock.now()))
        elif isinstance(message, OrderFact):
            self._take_order(message)
        elif isinstance(message, MessageFact):
            self._take_message(message)
        elif isinstance(message, PositionFact):
            self._take_position(message)
        elif isinstance(message, ConnectionFact):
            self._take_line(message)

    def _record(self, event: Event | None) -> None:
        if event is None:
            return
        self.manager.record(event)
        self.activity += 1

    def _take_prices(self, fact: PricesFact) -> None:
        now = self.clock.now()
        for symbol, price in fact.prices.items():
            monitor = self.monitors.get(symbol)
            if monitor is not None:
                monitor.take_price(price, now)
                self._priced.add(symbol)

    def _take_bar(self, fact: BarFact) -> None:
        monitor = self.monitors.get(fact.symbol)
        if monitor is None:
            return
        try:
            candle = monitor.take_bar(fact.bar, self.clock.now())
        except TraderError as error:
            _log.warning("%s: %s", fact.symbol, error)
            return
        self._priced.add(fact.symbol)
        if candle is not None:
            self._candles.append((fact.symbol, candle))

    def _take_execution(self, fact: ExecutionFact) -> None:
        event = execution_event(self.state, fact.execution, self.clock.now())
        if event is None:
            return
        self._record(event)
        execution = fact.execution
        _log.info(
            "FILL %s %s %d @ %.2f (%s).",
            execution.symbol,
            execution.side,
            execution.shares,
            execution.price,
            execution.order_ref or "by hand",
        )
        self._changed.add(execution.symbol)
        if self.state.risk.broker_errors and execution.order_ref in self.state.orders:
            self._record(BrokerErrorCounted(time=self.clock.now(), reset=True))  # the row ends
        self.save_wanted.set()
        if not execution.order_ref:
            self.compare_wanted.set()

    def _take_order(self, fact: OrderFact) -> None:
        for event in order_events(self.state, fact.order, self.clock.now()):
            self._record(event)
            known = self.state.orders[fact.order.order_ref]
            if isinstance(event, OrderChanged) and not known.is_live:
                self.compare_wanted.set()  # it may have been a position's stop
            if isinstance(event, OrderAcknowledged) and known.other_perm_ids:
                perms = ", ".join(str(perm) for perm in (known.perm_id, *known.other_perm_ids))
                self.alert(known.symbol, f"Two orders carry the reference {known.order_ref}: permIds {perms}.")
                self.compare_wanted.set()

    def _take_message(self, fact: MessageFact) -> None:
        events = list(message_events(self.state, fact, self.clock.now()))
        for event in events:
            self._record(event)
        order = find_order(self.state, fact.order_id) if fact.order_id > 0 else None
        if order is not None:
            _log.warning("%s: IBKR says %d about %s: %s", order.symbol, fact.code, order.order_ref, fact.text)
            self.compare_wanted.set()
        else:
            _log.info("IBKR: %d %s", fact.code, fact.text)
        if fact.code == COMPETING_SESSION:
            self.alert(fact.symbol, f"Another session of this login takes the market data: {fact.text}")

    def _take_position(self, fact: PositionFact) -> None:
        """The account changed, by whoever's hand: the books are compared at once where they disagree."""
        symbol = fact.position.symbol
        position = self.state.positions.get(symbol)
        foreign = self.state.foreign.get(symbol)
        ours = position.quantity if position is not None else (foreign.quantity if foreign is not None else 0)
        if ours != fact.position.quantity:
            self.compare_wanted.set()

    def _take_line(self, fact: ConnectionFact) -> None:
        if fact.state == "restored":
            _log.info("The line to IBKR is restored: %s", fact.text)
            self.inbox.put_nowait(Reconnected())
            return
        self.connection_status.lose(connected=fact.state != "down", reason=fact.text)
        if fact.state == "down":
            self.line_lost.set()

    async def _react(self) -> None:
        """Do what the facts call for. Protection first, then exits, then entries."""
        changed, self._changed = self._changed, set()
        for symbol in sorted(changed):
            await self.guarded(symbol, self._after_fill)
        priced, self._priced = self._priced, set()
        for symbol in sorted(priced & set(self.state.positions)):
            await self.guarded(symbol, self._manage)
        candles, self._candles = self._candles, []
        for text in self._limits.check(self.entries.equity):
            self.alert("", text)
        for symbol, candle in candles:
            await self.guarded(symbol, partial(self._judge, candle))

    async def guarded(self, symbol: str, work: Callable[[str], Awaitable[None]]) -> None:
        """An error in one symbol stays in that symbol; its stop stays at IBKR (f21)."""
        try:
            await work(symbol)
        except SyncFailedError:
            raise
        except TraderError as error:
            _log.error("%s: %s", symbol, error)
            self.alert(symbol, str(error))
        except Exception as error:  # noqa: BLE001 - a defect met in one symbol must not stop the others
            _log.exception("%s: halted by an unexpected error.", symbol)
            if symbol not in self.state.halted:
                reason = f"an unexpected error: {error!r}"
                self.manager.record(
                    SymbolHalted(time=self.clock.now(), symbol=symbol, reason=reason, cause="defect")
                )
            self.alert(symbol, f"{symbol} is halted by an unexpected error: {error!r}")

    async def _after_fill(self, symbol: str) -> None:
        position = self.state.positions.get(symbol)
        if position is not None and wanted_stop_size(self.state, position) > 0:
            if self.connection_status.ready and not self.desk.is_closing(position):
                await self.desk.resize_stop(position)
        elif position is None:
            self._report_close(symbol)
            for order in self.state.live_orders(symbol):
                parent = self.state.orders.get(order.parent_ref)
                if order.role == "stop" and (parent is None or not parent.is_live):
                    self.desk.cancel(order, "the position is closed")

    async def _manage(self, symbol: str) -> None:
        position = self.state.positions.get(symbol)
        if position is None or not self.connection_status.ready:
            return
        monitor = self.monitors.get(symbol)
        if monitor is None:
            await self.on_new_position(symbol)
        else:
            await self.exits.manage(position, monitor, self.clock.now())

    async def _judge(self, candle: Candle, symbol: str) -> None:
        monitor = self.monitors[symbol]
        age_s = (self.clock.now() - candle.end).total_seconds() / self.clock.speed
        for signal in monitor.signals(candle):
            if age_s > self.config.entry.signal_max_age_s:
                _log.warning("%s: %s %s is %.0f s old: not acted upon.", symbol, signal.side, signal.path, age_s)
                continue
            line = self.state.connection
            await self.entries.judge(monitor, signal, self.clock.now(), entries_open=line.entries_open)

    def _report_close(self, symbol: str) -> None:
        done = [
            trade for trade in self.state.closed.values() if trade.symbol == symbol and trade.exit_time is not None
        ]
        if done:
            trade = done[-1]
            _log.info(
                "CLOSED %s %s: %d shares, %s at %.2f, P&L %+.2f; today %+.2f.",
                trade.side,
                symbol,
                trade.shares,
                trade.exit_reason,
                trade.exit_price or 0.0,
                trade.realized_pnl,
                self.state.daily_pnl,
            )

    def alert(self, symbol: str, text: str) -> None:
        """Something that the operator should know; the same again replaces the earlier one."""
        self.manager.record(
            AlertRaised(time=self.clock.now(), symbol=symbol, text=text, key=f"{symbol}:{text[:40]}")
        )


async def _nothing_to_answer(_: Answer) -> None:
    return None


async def _nothing_to_do() -> None:
    return None


async def _no_position(_: str) -> None:
    return None


async def _refuse(request: Request) -> None:
    request.answer(ok=False, error=f"`{request.command}` is not possible yet.", hint="Try again in a moment.")
