"""The order desk: every order of ours leaves from here, after its intent is durable (invariant 1).

The one closing order of a position is its stop. A full exit brings that stop to the market by a modify, and a
partial exit goes out once IBKR has confirmed that the stop is smaller. So all closing orders together never
exceed what is held, whatever fills first and whenever the program dies (f14, f15): a position cannot be
reversed by its own exits, and it is never without a stop.
"""

import logging
import math
import time
from collections.abc import Sequence
from typing import Literal

from state.domain.events import Event, OrderIntended, OrderModifyIntended, SignalTaken
from state.domain.model import EntryPlan, Order, OrderReason, Position, TraderState, entry_action, exit_action, sign
from state.manager import StateManager
from trader.broker.port import Broker, OrderTicket
from trader.clock import Clock
from trader.core.numbers import round_to_tick
from trader.core.orders.actions import BrokerAction, CancelOrder, ExitAtMarket, ModifyStop, PlaceStop, describe
from trader.core.orders.order_ref import RefMaker
from trader.core.orders.protection import wanted_stop_size
from trader.core.strategy.ps60.breakout import Signal
from trader.core.strategy.ps60.exits import StopReason
from trader.core.strategy.ps60.setups import Setup

_log = logging.getLogger("trader.desk")

THROUGH = 0.005  # how far beyond the last price a stop is brought to execute at once
UNANSWERED_S = 5.0  # real seconds after which IBKR's silence about a new order says something
CONFIRM_S = 2.0  # real seconds in which IBKR confirms a smaller stop
CHANGING_S = 1.5  # real seconds for which IBKR's picture of a changed order may still be the old one
STOP_REASONS: dict[StopReason, OrderReason] = {"breakeven": "breakeven_stop_hit", "trail": "trailing_stop_hit"}


class OrderDesk:
    """Sends orders for one account under one client id, and remembers what is on its way."""

    def __init__(
        self,
        manager: StateManager,
        broker: Broker,
        clock: Clock,
        account: str,
        client_id: int,
        *,
        dry_run: bool = False,
    ) -> None:
        self.manager = manager
        self.account = account
        self.client_id = client_id
        self.dry_run = dry_run
        self._broker = broker
        self._clock = clock
        self.sends = 0  # an answer of IBKR's that was asked for before it changed may lack an order
        self._refs = RefMaker()
        self._sent_at: dict[str, float] = {}  # new orders
        self._changed_at: dict[str, float] = {}  # modified or cancelled ones
        self._said: dict[str, str] = {}  # by a dry run, of each symbol the last

    @property
    def state(self) -> TraderState:
        """The books."""
        return self.manager.state

    def in_flight(self) -> set[str]:
        """OrderRefs whose absence or size at IBKR proves nothing yet: not answered, or changed a moment ago."""
        now = time.monotonic()
        self._sent_at = {ref: at for ref, at in self._sent_at.items() if now - at < UNANSWERED_S}
        self._changed_at = {ref: at for ref, at in self._changed_at.items() if now - at < CHANGING_S}
        return {ref for ref in self._sent_at if self._unanswered(ref)} | set(self._changed_at)

    def _unanswered(self, order_ref: str) -> bool:
        order = self.state.orders.get(order_ref)
        return order is not None and order.status == "intended"

    async def enter(self, signal: Signal, setup: Setup, con_id: int, quantity: int, stop_price: float) -> str:
        """Send a bracket: the entry at the market and its stop, in one write. Returns the trade's id."""
        side, symbol = signal.side, signal.symbol
        attempt = self.state.attempts_for(symbol, side, signal.pivot) + 1
        ref = self._refs.entry(symbol, side, attempt)
        stop_ref = self._refs.closing(ref, "stop", symbol, side, attempt)
        entry_id = self._broker.next_order_id(self.state.order_id_high)
        stop_id = self._broker.next_order_id(max(entry_id, self.state.order_id_high))
        target1, target2, target3 = setup.targets(side)
        plan = EntryPlan(
            side=side,
            pivot=signal.pivot,
            target1=target1,
            target2=target2,
            target3=target3,
            stop_price=stop_price,
            attempt=attempt,
            path=signal.path,
        )
        entry = self._order(ref, "entry", symbol, con_id, ref, entry_id, quantity, entry_action(side), "entry")
        entry.plan = plan
        stop = self._order(
            stop_ref, "stop", symbol, con_id, ref, stop_id, quantity, exit_action(side), "stop_loss_hit"
        )
        stop.stop_price, stop.parent_ref = stop_price, ref
        taken = SignalTaken(
            time=self._clock.now(),
            symbol=symbol,
            side=side,
            path=signal.path,
            pivot=signal.pivot,
            break_time=signal.break_time,
            order_ref=ref,
        )
        tickets = [self._ticket(entry, transmit=False), self._ticket(stop, parent_id=entry_id)]
        await self._send(
            tickets, [self._intent(entry), self._intent(stop), taken], f"{symbol}: {signal.path} entry"
        )
        return ref

    async def take_partial(
        self, position: Position, shares: int, reason: OrderReason, price: float, tick: float
    ) -> None:
        """Sell (buy back) some of a position: the stop shrinks, and once IBKR says so the exit goes out.

        A stop that filled before the change reached it has closed all there was: then no exit may leave. Without
        an answer in time none leaves either; the next comparison makes the stop whole again.
        """
        stop = self.state.protective_stop(position)
        covered = wanted_stop_size(self.state, position)
        if stop is None:
            _log.warning("%s: no partial while its stop is not confirmed.", position.symbol)
            return
        if shares >= covered:
            await self.close(position, reason, price, tick)
            return
        smaller = self._modified(
            stop, stop.filled + covered - shares, position.stop_price, stop.reason, closing=stop.closing
        )
        size = smaller.quantity
        what = f"{position.symbol}: stop for {size - stop.filled} shares, before {reason}"
        await self._send([self._stop_ticket(stop, smaller)], [smaller], what)
        if self.dry_run or await self._broker.changed(stop.order_id, size, CONFIRM_S):
            await self._exit(position, shares, reason)
        else:
            _log.warning("%s: no %s: IBKR has not confirmed that the stop is smaller.", position.symbol, reason)

    async def _exit(self, position: Position, shares: int, reason: OrderReason) -> None:
        """Send an exit at the market."""
        ref = self._refs.closing(position.trade_id, "exit", position.symbol, position.side, position.attempt)
        order = self._order(
            ref,
            "exit",
            position.symbol,
            position.con_id,
            position.trade_id,
            self._broker.next_order_id(self.state.order_id_high),
            shares,
            exit_action(position.side),
            reason,
        )
        what = f"{position.symbol}: {reason}, {shares} of {position.held} shares"
        await self._send([self._ticket(order)], [self._intent(order)], what)

    async def move_stop(self, position: Position, price: float, reason: StopReason) -> None:
        """Bring the stop to a better price."""
        stop = self.state.protective_stop(position)
        if stop is None:
            return
        size = stop.filled + wanted_stop_size(self.state, position)
        change = self._modified(stop, size, price, STOP_REASONS[reason])
        what = f"{position.symbol}: stop to {price:.2f} ({reason})"
        await self._send([self._stop_ticket(stop, change)], [change], what)

    async def close(self, position: Position, reason: OrderReason, price: float, tick: float) -> None:
        """Bring the stop to the market so that it sells (buys back) all that is held, now."""
        stop = self.state.protective_stop(position)
        if stop is None:
            _log.warning("%s: %s waits until its stop is confirmed.", position.symbol, reason)
            return
        way: Literal["up", "down"] = "up" if position.side == "LONG" else "down"
        through = round_to_tick(price * (1 + sign(position.side) * THROUGH), tick, way)
        size = stop.filled + wanted_stop_size(self.state, position)
        change = self._modified(stop, size, through, reason, closing=True)
        what = f"{position.symbol}: out, {reason} ({position.held} shares)"
        await self._send([self._stop_ticket(stop, change)], [change], what)

    def is_closing(self, position: Position) -> bool:
        """Whether the stop was brought to the market already."""
        stop = self.state.protective_stop(position)
        return stop is not None and stop.closing

    async def resize_stop(self, position: Position) -> None:
        """Make the stop as large as what is held, less exits on their way."""
        stop = self.state.protective_stop(position)
        if stop is None or stop.quantity - stop.filled == wanted_stop_size(self.state, position):
            return
        size = wanted_stop_size(self.state, position)
        if size == 0:
            return
        change = self._modified(stop, stop.filled + size, position.stop_price, stop.reason, closing=stop.closing)
        await self._send([self._stop_ticket(stop, change)], [change], f"{position.symbol}: stop for {size} shares")

    def cancel(self, order: Order, why: str) -> None:
        """Take an order back."""
        _log.info("%s: cancelling %s: %s.", order.symbol, order.order_ref, why)
        if not self.dry_run:
            self._broker.cancel(order.order_id)
            self._changed_at[order.order_ref] = time.monotonic()

    async def carry_out(self, actions: Sequence[BrokerAction]) -> None:
        """Do what reconciliation decided, each step durable before it is sent."""
        for action in actions:
            if isinstance(action, PlaceStop):
                await self._place_stop(action)
            elif isinstance(action, ModifyStop):
                stop = self.state.orders[action.order_ref]
                change = self._modified(stop, action.quantity, action.stop_price, stop.reason, closing=stop.closing)
                ticket = self._stop_ticket(stop, change, order_id=action.order_id)
                await self._send([ticket], [change], f"{action.symbol}: {describe(action)}")
            elif isinstance(action, ExitAtMarket):
                await self._exit(self.state.positions[action.symbol], action.quantity, "unprotectable")
            else:
                self._cancel_action(action)

    def _cancel_action(self, action: CancelOrder) -> None:
        _log.warning("%s: %s.", action.symbol, describe(action))
        if not self.dry_run:
            self._broker.cancel(action.order_id)
            self._changed_at[action.order_ref] = time.monotonic()

    async def _place_stop(self, action: PlaceStop) -> None:
        position = self.state.positions[action.symbol]
        ref = self._refs.closing(position.trade_id, "stop", position.symbol, position.side, position.attempt)
        order_id = self._broker.next_order_id(self.state.order_id_high)
        order = self._order(
            ref,
            "stop",
            position.symbol,
            position.con_id,
            position.trade_id,
            order_id,
            action.quantity,
            action.action,
            "stop_loss_hit",
        )
        order.stop_price = action.stop_price
        await self._send([self._ticket(order)], [self._intent(order)], f"{action.symbol}: {describe(action)}")

    async def _send(self, tickets: list[OrderTicket], intents: list[Event], what: str) -> None:
        """Durable first, then on the wire (invariant 1)."""
        if self.dry_run:
            self._say_instead(tickets[0].symbol, intents, what)
            return
        new = {intent.order.order_ref for intent in intents if isinstance(intent, OrderIntended)}
        self.sends += 1
        self._sent_at |= dict.fromkeys(new, math.inf)  # until it is written, IBKR cannot know of it
        try:
            await self.manager.record_durably(*intents)
            _log.info("%s.", what)
            self._broker.send(tickets)
        except BaseException:
            self._sent_at = {ref: at for ref, at in self._sent_at.items() if ref not in new}
            raise
        self.sends += 1
        for ticket in tickets:
            times = self._sent_at if ticket.order_ref in new else self._changed_at
            times[ticket.order_ref] = time.monotonic()

    def _say_instead(self, symbol: str, intents: list[Event], what: str) -> None:
        """What a dry run would send; once, though it is due again with each price for as long as it is not done."""
        if isinstance(intents[-1], SignalTaken) or self._said.get(symbol) != what:
            _log.info("Dry run, not sent. %s.", what)
        self._said[symbol] = what

    def _intent(self, order: Order) -> OrderIntended:
        return OrderIntended(time=self._clock.now(), order=order)

    def _modified(
        self, stop: Order, quantity: int, price: float, reason: OrderReason, *, closing: bool = False
    ) -> OrderModifyIntended:
        return OrderModifyIntended(
            time=self._clock.now(),
            order_ref=stop.order_ref,
            quantity=quantity,
            stop_price=price,
            reason=reason,
            closing=closing,
        )

    def _order(
        self,
        ref: str,
        role: Literal["entry", "stop", "exit"],
        symbol: str,
        con_id: int,
        trade_id: str,
        order_id: int,
        quantity: int,
        action: Literal["BUY", "SELL"],
        reason: OrderReason,
    ) -> Order:
        return Order(
            order_ref=ref,
            role=role,
            symbol=symbol,
            con_id=con_id,
            action=action,
            quantity=quantity,
            order_type="STP" if role == "stop" else "MKT",
            trade_id=trade_id,
            order_id=order_id,
            client_id=self.client_id,
            intended_at=self._clock.now(),
            reason=reason,
        )

    def _ticket(self, order: Order, *, parent_id: int = 0, transmit: bool = True) -> OrderTicket:
        return OrderTicket(
            order_id=order.order_id,
            order_ref=order.order_ref,
            account=self.account,
            symbol=order.symbol,
            con_id=order.con_id,
            action=order.action,
            quantity=order.quantity,
            order_type="STP" if order.role == "stop" else "MKT",
            stop_price=order.stop_price,
            tif="GTC" if order.role == "stop" else "DAY",
            parent_id=parent_id,
            transmit=transmit,
        )

    def _stop_ticket(self, stop: Order, change: OrderModifyIntended, order_id: int = 0) -> OrderTicket:
        parent = self.state.orders.get(stop.parent_ref)
        return OrderTicket(
            order_id=order_id or stop.order_id,
            order_ref=stop.order_ref,
            account=self.account,
            symbol=stop.symbol,
            con_id=stop.con_id,
            action=stop.action,
            quantity=change.quantity,
            order_type="STP",
            stop_price=change.stop_price,
            tif="GTC",
            parent_id=parent.order_id if parent is not None and parent.is_live else 0,
        )
