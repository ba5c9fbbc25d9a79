"""The loop: gives messages to the core, its events to the journal, and carries its effects out in their order.

The queue takes the broker's facts and every other message of the core. A turn is synchronous, so two decisions
never overlap. What takes time is a task, and its result is a message again.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from state.errors import DiskError, StateError
from state.manager import StateManager
from state.storage.bars import BarStore, StoredBar
from state.storage.pause_request import forget_pause_request, pause_request_waits
from trader.broker.port import Bar, Broker
from trader.clock import Clock
from trader.core import effects as fx
from trader.core import engine
from trader.core.messages import (
    HistoryFailed,
    HistoryReceived,
    InstrumentKnown,
    InstrumentUnknown,
    Message,
    Moment,
    PartAnswered,
    StoredBarsRead,
    TimerFired,
)
from trader.core.turn import Settings, Turn
from trader.core.view import View
from trader.errors import BrokerError, MarketDataError
from trader.runtime.order_sender import OrderSender

_log = logging.getLogger("trader.core")

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
Queue = asyncio.Queue[Message]
Work = Coroutine[Any, Any, None]
T = TypeVar("T")

BEAT_S = 0.5
ASLEEP_S = 2.0
CATCH_UP_S = 0.3  # real seconds; the socket delivers several megabytes meanwhile


class Session(Protocol):
    """Effects that the session carries out. Called in the event loop's thread; must not wait."""

    def reply(self, request_id: int, content: dict[str, Any]) -> None: ...

    def save_soon(self) -> None: ...

    def reconnect(self) -> None: ...

    def stop(self, reason: str) -> None: ...

    def reach_step(self, name: str) -> None: ...

    def take_recovered(self, recovered: fx.RecoveryFinished | fx.RecoveryRefused) -> None: ...

    def take_opened(self, count: int) -> None: ...

    def take_data_arrived(self, arrived: fx.DataArrived) -> None: ...

    def fail(self, error: BaseException) -> None:
        """A task of an effect has ended with this error."""
        ...


class Loop:
    """Owns the live view and the effects that wait for the disk."""

    def __init__(
        self,
        queue: Queue,
        manager: StateManager,
        broker: Broker,
        clock: Clock,
        settings: Settings,
        session: Session,
    ) -> None:
        self.queue = queue
        self.view = View()
        self.settings = settings
        self._manager = manager
        self._broker = broker
        self._clock = clock
        self._session = session
        self._bars = BarStore(manager.folder, manager.state.trading_date)
        self._outbox: deque[tuple[int, fx.Effect]] = deque()
        self._outbox_filled = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._beat_s = math.inf  # when `_beat` ran last; real seconds, monotonic
        self._timer: asyncio.TimerHandle | None = None
        self._slept = False
        order_sender = OrderSender(broker, queue.put_nowait)
        # A handler returns None, or what remains to be awaited.
        self.handlers: dict[type[fx.Effect], Callable[[Any], Work | None]] = {
            fx.AskBroker: self._ask_broker,
            fx.AskInstrument: self._ask_instrument,
            fx.AskHistory: self._ask_history,
            fx.ReadStoredBars: self._read_bars,
            fx.KeepBars: self._keep_bars,
            fx.ForgetPauseRequest: lambda _: self._forget_pause_request(),
            fx.Subscribe: lambda effect: broker.subscribe(effect.symbol),
            fx.Resubscribe: lambda effect: broker.resubscribe(effect.symbol),
            fx.PreferData: lambda effect: broker.prefer(effect.symbols),
            fx.ArmTimer: self._arm_timer,
            fx.Log: _write_log,
            fx.SendOrders: order_sender.send,
            fx.SendCancel: order_sender.cancel,
            fx.Reply: lambda effect: session.reply(effect.request_id, effect.content),
            fx.RequestSave: lambda _: session.save_soon(),
            fx.Reconnect: lambda _: session.reconnect(),
            fx.StopRun: lambda effect: session.stop(effect.reason),
            fx.RecoveryStep: lambda effect: session.reach_step(effect.name),
            fx.RecoveryFinished: session.take_recovered,
            fx.RecoveryRefused: session.take_recovered,
            fx.MarketOpened: lambda effect: session.take_opened(effect.count),
            fx.DataArrived: session.take_data_arrived,
        }

    async def run(self) -> None:
        """Handle messages until cancelled. After a sleep the socket first delivers what waits (invariant 18)."""
        self._start(self._release())
        self._beat()
        while True:
            waiting = [await self.queue.get()]
            if self._slept:
                await asyncio.sleep(CATCH_UP_S)
                self._slept = False
            while not self.queue.empty():
                waiting.append(self.queue.get_nowait())
            self.handle(waiting)

    def _beat(self) -> None:
        """Notice that the process was suspended. A callback, since it runs before the task that takes messages."""
        now_s = time.monotonic()
        if now_s - self._beat_s > ASLEEP_S:
            self._slept = True
            _log.warning("The process did not run for %.1f s.", now_s - self._beat_s)
        self._beat_s = now_s
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def handle(self, waiting: Sequence[Message]) -> None:
        """One turn of the engine on these messages."""
        self.turn(lambda turn: engine.handle(turn, waiting))

    def turn(self, decide: Callable[[Turn], T]) -> T:
        """Run one turn: its events go to the journal, its effects are carried out or wait in the outbox."""
        turn = Turn(self._manager.state, self.view, self.settings, self._moment())
        try:
            return decide(turn)
        finally:
            self._manager.journal(turn.recorded)
            for sequence, effect in turn.effects:
                self._carry_out(sequence, effect)

    @property
    def idle(self) -> bool:
        """Whether no effect waits for its events to be durable."""
        return not self._outbox

    async def end(self) -> None:
        """Cancel the tasks of effects."""
        if self._timer is not None:
            self._timer.cancel()
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _moment(self) -> Moment:
        free_order_id, no_order_id = 0, ""
        try:
            free_order_id = self._broker.free_order_id()
        except BrokerError as error:
            no_order_id = str(error)
        return Moment(
            now=self._clock.now(),
            real_s=time.monotonic(),
            wall_ms=time.time_ns() // 1_000_000,
            speed=self._clock.speed,
            connected=self._broker.connected,
            free_order_id=free_order_id,
            no_order_id=no_order_id,
        )

    def _carry_out(self, sequence: int, effect: fx.Effect) -> None:
        waits = effect.durable and sequence > self._manager.durable_sequence
        if effect.ordered and (waits or self._outbox):
            self._outbox.append((sequence, effect))
            self._outbox_filled.set()
        elif (work := self.handlers[type(effect)](effect)) is not None:
            self._start(work)

    async def _release(self) -> None:
        """Carry out the effects of the outbox, each once its events are on disk (invariant 1)."""
        while True:
            await self._outbox_filled.wait()
            while self._outbox:
                sequence, effect = self._outbox[0]
                await self._manager.durable(sequence)
                if (work := self.handlers[type(effect)](effect)) is not None:
                    await work
                self._outbox.popleft()
            self._outbox_filled.clear()

    def _start(self, work: Work) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        """A task that ends with an error ends the run: it must not continue without that task."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._session.fail(error)

    async def _ask_broker(self, effect: fx.AskBroker) -> None:
        try:
            rows = await self._broker.ask(effect.part, self.settings.account, effect.since)
            message = PartAnswered(effect.part, effect.activity, rows)
        except BrokerError as error:
            message = PartAnswered(effect.part, effect.activity, None, error.what)
        if self.view.recovery is not None:
            self._session.reach_step("sync")  # noted here, since effects of the core follow its decision
        self.queue.put_nowait(message)

    async def _ask_instrument(self, effect: fx.AskInstrument) -> None:
        try:
            message: Message = InstrumentKnown(await self._broker.instrument(effect.symbol))
        except BrokerError as error:
            message = InstrumentUnknown(effect.symbol, error.what)
        self.queue.put_nowait(message)

    async def _ask_history(self, effect: fx.AskHistory) -> None:
        try:
            bars = await self._broker.history(effect.symbol, effect.end, effect.seconds)
            message: Message = HistoryReceived(effect.symbol, tuple(bars), effect.filling)
        except (BrokerError, MarketDataError) as error:
            message = HistoryFailed(effect.symbol, effect.start, effect.end, effect.filling, error.what)
        self.queue.put_nowait(message)

    async def _read_bars(self, effect: fx.ReadStoredBars) -> None:
        bars: tuple[Bar, ...] = ()
        try:
            kept = await asyncio.to_thread(self._bars.read, effect.symbol)
            bars = tuple(Bar(b.time, b.open, b.high, b.low, b.close, b.volume) for b in kept)
        except (DiskError, StateError) as error:
            _log.warning("%s: bars on disk are not used: %s", effect.symbol, error.what)
        self.queue.put_nowait(StoredBarsRead(effect.symbol, bars))

    async def _keep_bars(self, effect: fx.KeepBars) -> None:
        stored = {
            symbol: [StoredBar(b.time, b.open, b.high, b.low, b.close, b.volume) for b in bars]
            for symbol, bars in effect.bars.items()
        }
        try:
            await asyncio.to_thread(self._bars.append, stored)
        except (DiskError, StateError) as error:
            _log.warning("Bars were not kept: %s A restart will fetch them from IBKR.", error.what)

    async def _forget_pause_request(self) -> None:
        folder = self._manager.folder
        if pause_request_waits(folder):
            await asyncio.to_thread(forget_pause_request, folder)

    def _arm_timer(self, effect: fx.ArmTimer) -> None:
        asyncio.get_running_loop().call_later(effect.after_s, self.queue.put_nowait, TimerFired(effect.name))


def _write_log(effect: fx.Log) -> None:
    if not effect.trace:
        _log.log(LEVELS[effect.level], "%s", effect.text)
        return
    record = _log.makeRecord(_log.name, LEVELS[effect.level], __file__, 0, effect.text, (), None)
    record.exc_text = effect.trace
    if _log.isEnabledFor(record.levelno):
        _log.handle(record)
