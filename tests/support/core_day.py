"""A day through the core alone: no socket, no file, no event loop, no clock.

`CoreDay` carries out the engine's effects. Its broker fills market orders at once at the last price, and stops as
soon as the last price reaches them. Virtual time runs from bar to bar.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, cast

from msgspec.structs import replace

from state.domain.apply import new_state
from state.domain.model import exit_action
from state.domain.recording import Recorded
from trader.broker.port import (
    AccountValues,
    Bar,
    BarFact,
    BrokerExecution,
    BrokerOrder,
    BrokerPosition,
    BrokerSnapshot,
    CommissionFact,
    ExecutionFact,
    Instrument,
    MessageFact,
    OrderFact,
    OrderTicket,
    Part,
    PartAnswer,
    PositionFact,
    PricesFact,
)
from trader.config.sections import Config
from trader.core import effects as fx
from trader.core import engine, messages
from trader.core.strategy.ps60.setups import Setup
from trader.core.turn import Settings, Turn
from trader.core.view import View

ACCOUNT = "DU1234567"
TICK_S = 2.5
PATIENCE = timedelta(seconds=20)  # after which a question without an answer has failed


class CoreDay:
    """The core and a broker for one trading date. events: what the journal would have, in order."""

    def __init__(
        self, day: date, setups: Mapping[str, Setup], start: datetime, config: Config | None = None
    ) -> None:
        self.config = config or Config()
        self.state = new_state(day.isoformat(), ACCOUNT, "core-day")
        self.view = View()
        self.settings = Settings(config=self.config, account=ACCOUNT, setups=setups)
        self.now = start
        self.events: list[Recorded] = []
        self.effects: list[fx.Effect] = []
        self.stopped = ""
        self.refuses: Callable[[OrderTicket, BrokerOrder | None], int] | None = None  # the code, 0: it accepts
        self.tells: Callable[[OrderTicket, BrokerOrder | None], int] | None = None  # a code, and it accepts
        self.cancel_code = 0  # told about each cancel
        self.keeps_cancelled = False  # cancels have no effect
        self.shows_changes = 2  # how often an accepted change is described
        self.values = AccountValues(ACCOUNT, 100_000.0, 400_000.0, 100_000.0)
        self.silent: set[Part] = set()  # questions that the broker does not answer
        self.refused: set[Part] = set()  # questions that end without an answer
        self._start = start
        self._waiting: list[messages.Message] = []
        self._timers: list[tuple[datetime, int, messages.Message]] = []
        self._orders: dict[int, BrokerOrder] = {}
        self._held: dict[str, int] = {}
        self._prices: dict[str, float] = {}
        self._executions: list[BrokerExecution] = []
        self._perm_id = 1000
        self._count = 0

    def begin(self) -> None:
        """Recover from an empty state and start to trade."""
        self.handle(messages.RecoveryStarted())

    def handle(self, *given: messages.Message) -> None:
        """One turn for these messages, then turns for the messages that its effects cause, until none is left."""
        self._waiting += given
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            turn = Turn(self.state, self.view, self.settings, self._moment())
            engine.handle(turn, waiting)
            self.events += turn.recorded
            for _, effect in turn.effects:
                self.effects.append(effect)
                self._carry_out(effect)

    def trade(self, bars: Iterable[tuple[str, Bar]]) -> None:
        """Bars of all symbols in order of time; each is delivered when its five seconds are over."""
        moment: datetime | None = None
        for symbol, bar in bars:
            end = bar.time + timedelta(seconds=5)
            if moment is not None and end > moment:
                self._pass_time(moment)
            moment = end
            for price in (bar.open, bar.low, bar.high, bar.close):
                self._trade_at(symbol, price)
            self._waiting += [BarFact(symbol, bar), PricesFact({symbol: bar.close})]
            if self.stopped:
                return
        if moment is not None:
            self._pass_time(moment)

    def journal(self) -> bytes:
        """The events as bytes."""
        return b"\n".join(f"{item.sequence} {item.kind} ".encode() + item.data for item in self.events)

    def pass_time(self, seconds: float) -> None:
        """Let virtual time pass, with its ticks and timers."""
        self._pass_time(self.now + timedelta(seconds=seconds))

    def _pass_time(self, until: datetime) -> None:
        while self.now < until:
            self.now = min(until, self.now + timedelta(seconds=TICK_S))
            while self._timers and self._timers[0][0] <= self.now:
                self._waiting.append(heapq.heappop(self._timers)[2])
            self.handle(messages.Tick())

    def _moment(self) -> messages.Moment:
        real_s = (self.now - self._start).total_seconds()
        free = max(self._orders, default=0) + 1
        return messages.Moment(
            now=self.now, real_s=real_s, wall_ms=int(self.now.timestamp() * 1000), free_order_id=free
        )

    def _carry_out(self, effect: fx.Effect) -> None:
        if isinstance(effect, fx.SendOrders):
            self._send(effect)
        elif isinstance(effect, fx.SendCancel):
            self._cancel(effect.order_id)
        elif isinstance(effect, fx.AskBroker):
            self._answer(effect)
        elif isinstance(effect, fx.AskInstrument):
            found = Instrument(effect.symbol, 1, 0.01, "", "US/Eastern")
            self._waiting.append(messages.InstrumentKnown(found))
        elif isinstance(effect, fx.ReadStoredBars):
            self._waiting.append(messages.StoredBarsRead(effect.symbol, ()))
        elif isinstance(effect, fx.AskHistory):
            self._waiting.append(messages.HistoryReceived(effect.symbol, (), effect.filling))
        elif isinstance(effect, fx.ArmTimer):
            self._count += 1
            due = self.now + timedelta(seconds=effect.after_s)
            heapq.heappush(self._timers, (due, self._count, messages.TimerFired(effect.name)))
        elif isinstance(effect, fx.RecoveryFinished):
            self._waiting.append(messages.TradingStarted())
        elif isinstance(effect, fx.StopRun):
            self.stopped = self.stopped or effect.reason

    def snapshot(self) -> BrokerSnapshot:
        """The broker's complete answer."""
        held = tuple(BrokerPosition(ACCOUNT, symbol, 1, n, 0.0) for symbol, n in self._held.items() if n)
        live = tuple(order for order in self._orders.values() if not order.is_closed)
        return BrokerSnapshot(ACCOUNT, self.now, held, live, (), tuple(self._executions), self.values)

    def _answer(self, effect: fx.AskBroker) -> None:
        if effect.part in self.refused:
            error = f"no answer about {effect.part}"
            self._waiting.append(messages.PartAnswered(effect.part, effect.activity, None, error))
        elif effect.part in self.silent:
            late = messages.PartAnswered(effect.part, effect.activity, None, f"no answer about {effect.part}")
            self._count += 1
            heapq.heappush(self._timers, (self.now + PATIENCE, self._count, late))
        else:
            self._waiting.append(messages.PartAnswered(effect.part, effect.activity, self.answer(effect.part)))

    def answer(self, part: Part) -> PartAnswer:
        """The broker's answer to one question."""
        whole = self.snapshot()
        rows = {
            "positions": whole.positions,
            "open_orders": whole.open_orders,
            "completed_orders": whole.completed_orders,
            "executions": whole.executions,
            "account": (whole.values,),
        }
        found: Any = rows[part]
        return cast("PartAnswer", found)

    # The broker

    def _send(self, effect: fx.SendOrders) -> None:
        for ticket in effect.tickets:
            self._accept(ticket)
        changed = tuple(t.order_ref for t in effect.tickets if t.order_ref not in effect.new)
        self._waiting.append(messages.OrdersSent(effect.new, changed))
        for ticket in effect.tickets:
            if ticket.order_id in self._orders:
                self._match(self._orders[ticket.order_id])

    def _accept(self, ticket: OrderTicket) -> None:
        if self.tells is not None and (code := self.tells(ticket, self._orders.get(ticket.order_id))):
            self._waiting.append(MessageFact(code, "told", ticket.order_id, ticket.symbol, ticket.order_ref))
        known = self._orders.get(ticket.order_id)
        if known is not None:
            if self.refuses is not None and (code := self.refuses(ticket, known)):
                self._waiting.append(MessageFact(code, "refused", ticket.order_id, ticket.symbol, ticket.order_ref))
                return
            changed = replace(known, quantity=ticket.quantity, stop_price=ticket.stop_price)
            for _ in range(self.shows_changes):
                self._keep(changed)
            return
        if self.refuses is not None and (code := self.refuses(ticket, None)):
            self._waiting.append(MessageFact(code, "refused", ticket.order_id, ticket.symbol, ticket.order_ref))
            return
        self._perm_id += 1
        self._keep(
            BrokerOrder(
                order_ref=ticket.order_ref,
                perm_id=self._perm_id,
                order_id=ticket.order_id,
                client_id=self.settings.client_id,
                account=ACCOUNT,
                symbol=ticket.symbol,
                con_id=1,
                action=ticket.action,
                quantity=ticket.quantity,
                filled=0,
                order_type=ticket.order_type,
                stop_price=ticket.stop_price,
                status="PreSubmitted",
                parent_id=ticket.parent_id,
            )
        )

    def _keep(self, order: BrokerOrder) -> None:
        self._orders[order.order_id] = order
        self._waiting.append(OrderFact(order))

    def _cancel(self, order_id: int) -> None:
        order = self._orders[order_id]
        if self.cancel_code:
            self._waiting.append(MessageFact(self.cancel_code, "told", order_id, order.symbol, order.order_ref))
        if not order.is_closed and not self.keeps_cancelled:
            self._keep(replace(order, status="Cancelled"))

    def _trade_at(self, symbol: str, price: float) -> None:
        self._prices[symbol] = price
        for order in list(self._orders.values()):
            if order.symbol == symbol and not order.is_closed:
                self._match(order)

    def _match(self, order: BrokerOrder) -> None:
        """Fill a market order, and a stop that the last price has reached once its parent has filled."""
        price = self._prices.get(order.symbol)
        parent = self._orders.get(order.parent_id)
        if order.is_closed or price is None or (parent is not None and parent.status != "Filled"):
            return
        if order.stop_price is not None:
            reached = price <= order.stop_price if order.action == "SELL" else price >= order.stop_price
            if not reached:
                return
        self._fill(order, price)
        for child in list(self._orders.values()):
            if child.parent_id == order.order_id:
                self._match(child)

    def _fill(self, order: BrokerOrder, price: float) -> None:
        shares = order.quantity - order.filled
        bought = order.action == "BUY"
        held = self._held.get(order.symbol, 0) + (shares if bought else -shares)
        self._held[order.symbol] = held
        self._count += 1
        execution = BrokerExecution(
            exec_id=f"core.{self._count:06d}.01",
            order_ref=order.order_ref,
            perm_id=order.perm_id,
            order_id=order.order_id,
            client_id=order.client_id,
            account=ACCOUNT,
            symbol=order.symbol,
            con_id=1,
            side="BOT" if bought else "SLD",
            shares=shares,
            price=price,
            time=self.now,
            cum_quantity=order.quantity,
            commission=1.0,
        )
        self._executions.append(execution)
        self._waiting.append(ExecutionFact(replace(execution, commission=None)))
        self._keep(replace(order, status="Filled", filled=order.quantity))
        self._waiting.append(CommissionFact(execution.exec_id, 1.0))
        self._waiting.append(PositionFact(BrokerPosition(ACCOUNT, order.symbol, 1, held, price)))

    # Checks

    def uncovered(self) -> dict[str, int]:
        """By symbol: shares held less shares that live stops of the right side close, where they differ."""
        found = {}
        for symbol, held in self._held.items():
            action = exit_action("LONG" if held > 0 else "SHORT")
            live = [o for o in self._orders.values() if o.symbol == symbol and not o.is_closed and not o.parent_id]
            live += [
                o
                for o in self._orders.values()
                if o.symbol == symbol
                and not o.is_closed
                and o.parent_id
                and self._orders[o.parent_id].status == "Filled"
            ]
            closing = sum(order.remaining for order in live if order.action == action) if held else 0
            if closing != abs(held):
                found[symbol] = abs(held) - closing
        return found


def bars_of(symbol: str, candles: Iterable[Any]) -> list[tuple[str, Bar]]:
    """Twelve 5-second bars for each candle (time, open, high, low, close, volume): open, low, high, close."""
    bars = []
    for candle in candles:
        points = [candle.open, candle.low, candle.high, candle.close]
        prices = [
            points[min(3, i // 4)] + (points[min(3, i // 4 + 1)] - points[min(3, i // 4)]) * (i % 4) / 4
            for i in range(12)
        ]
        prices.append(candle.close)
        for slot in range(12):
            first, last = round(prices[slot], 2), round(prices[slot + 1], 2)
            start = candle.time + timedelta(seconds=5 * slot)
            bars.append((symbol, Bar(start, first, max(first, last), min(first, last), last, candle.volume / 12)))
    return bars
