"""The operator's commands on a running trader: pause, unpause, adopt, flatten, each in the engine's turn."""

import logging
import time
from datetime import datetime
from typing import Any

from state.errors import CorruptFileError, StateError
from state.events import ForeignSeen, Paused, Unpaused
from state.manager import StateManager
from state.wishes import WISHES, forget_wishes, read_wishes
from trader.engine.engine import Engine
from trader.engine.gate import Gate
from trader.engine.inbox import Request
from trader.engine.market import Market
from trader.recovery.adopt import adoption
from trader.strategy.numbers import is_price

_log = logging.getLogger("trader.control")

FLATTEN_TIMEOUT_S = 45.0


class Operator:
    """Carries requests out. `flatten` goes on over many turns until everything of ours is closed."""

    def __init__(self, engine: Engine, gate: Gate, market: Market) -> None:
        self.engine = engine
        self.gate = gate
        self.market = market
        self._flatten: Request | None = None
        self._flatten_since = 0.0

    async def take(self, request: Request) -> None:
        """Answer one request, now or, for `flatten`, when it is done."""
        handlers = {"pause": self._pause, "unpause": self._unpause, "adopt": self._adopt}
        try:
            if request.command == "flatten":
                await self._start_flatten(request)
                return
            handler = handlers.get(request.command)
            if handler is None:
                _reply(request, ok=False, error=f"There is no command {request.command!r}.", hint="See --help.")
                return
            await handler(request)
        except StateError as error:
            _reply(request, ok=False, error=error.what, hint=error.hint)

    async def go_on(self) -> None:
        """Every half second: what a flatten still has to do, and whether it is done."""
        request = self._flatten
        if request is None:
            return
        await self._flatten_step()
        state = self.engine.state
        working = [order.order_ref for order in state.orders.values() if order.is_live]
        if not state.positions and not working and self.engine.standing.ready:
            self._flatten = None
            _log.info("Flat: every position of ours is closed and no order of ours is left.")
            _reply(request, ok=True, closed=True, daily_pnl=round(state.daily_pnl, 2))
        elif time.monotonic() - self._flatten_since > FLATTEN_TIMEOUT_S:
            self._flatten = None
            held = ", ".join(f"{p.symbol} {p.quantity:+d}" for p in state.positions.values())
            _reply(
                request,
                ok=False,
                error=f"Not flat after {FLATTEN_TIMEOUT_S:.0f} s: {held or 'orders are still open'}.",
                hint="Entries stay paused and the stops are in force; look at TWS, then try again.",
            )

    async def _pause(self, request: Request) -> None:
        reason = str(request.arguments.get("reason") or "by the operator")
        await self._pause_durably(reason)
        _reply(request, ok=True, paused=True, reason=reason)

    async def _pause_durably(self, reason: str) -> None:
        await self.engine.memory.record_durably(Paused(time=self.engine.clock.now(), reason=reason))
        _log.warning("PAUSED: %s. No new entries; stops and exits go on.", reason)
        self.engine.save_wanted.set()

    async def _unpause(self, request: Request) -> None:
        await self.engine.memory.record_durably(Unpaused(time=self.engine.clock.now()))
        _log.warning("Unpaused: entries are possible again.")
        self.engine.save_wanted.set()
        _reply(request, ok=True, paused=False)

    async def _adopt(self, request: Request) -> None:
        """A foreign position becomes ours: with estimated values, and a stop before the answer is given."""
        symbol = str(request.arguments.get("symbol", "")).upper()
        state, snapshot = self.engine.state, self.gate.last_snapshot
        holding = (
            next((p for p in snapshot.positions if p.symbol == symbol and p.quantity), None) if snapshot else None
        )
        if symbol in state.positions:
            _reply(request, ok=False, error=f"{symbol} is managed already.", hint="See `status`.")
            return
        if holding is None or symbol not in state.foreign:
            _reply(
                request, ok=False, error=f"The account holds no foreign position in {symbol}.", hint="See `status`."
            )
            return
        await self.market.watch(symbol)
        watch = self.engine.watches.get(symbol)
        price = watch.price if watch is not None and is_price(watch.price) else None
        now = self.engine.clock.now()
        event = adoption(symbol, holding, self.market.setups.get(symbol), price, now)
        await self.engine.memory.record_durably(
            event, ForeignSeen(time=now, symbol=symbol, con_id=holding.con_id, quantity=0, avg_cost=0.0)
        )
        await self.gate.pass_gate(f"{symbol} adopted")
        position = self.engine.state.positions.get(symbol)
        stop = self.engine.state.protection(position) if position is not None else None
        _log.warning("ADOPTED %s %+d with estimated values.", symbol, holding.quantity)
        self.engine.save_wanted.set()
        _reply(
            request,
            ok=True,
            symbol=symbol,
            quantity=holding.quantity,
            stop_price=position.stop_price if position is not None else None,
            stop_perm_id=stop.perm_id if stop is not None else None,
        )

    async def _start_flatten(self, request: Request) -> None:
        """Pause durably, then cancel entries, then close, then verify: an entry cannot slip in between (p17)."""
        if self._flatten is not None:
            _reply(request, ok=False, error="A flatten is going on already.", hint="Wait for it.")
            return
        await self._pause_durably("flatten")
        self._flatten, self._flatten_since = request, time.monotonic()
        await self.go_on()

    async def _flatten_step(self) -> None:
        """Also what filled since the last step is closed: an entry may have been quicker than its cancel."""
        engine = self.engine
        flying = engine.desk.in_flight()
        for order in list(engine.state.orders.values()):
            if order.role == "entry" and order.is_live and order.order_ref not in flying:
                engine.desk.cancel(order, "flatten")
        for position in list(engine.state.positions.values()):
            if engine.desk.is_closing(position):
                continue
            await self.market.watch(position.symbol)
            watch = engine.watches.get(position.symbol)
            if watch is not None:
                await engine.exits.close(position, watch, "flatten")


def _reply(request: Request, **answer: Any) -> None:
    if not request.reply.done():
        request.reply.set_result(answer)


async def take_up_wishes(memory: StateManager, now: datetime) -> None:
    """A pause or unpause that was asked for while no trader ran becomes part of the state. now: session time."""
    try:
        wishes = read_wishes(memory.folder)
    except CorruptFileError as error:
        kept = memory.folder.quarantine(WISHES, error.reason)
        _log.error("%s It is kept as quarantine/%s; entries are paused until you say `unpause`.", error.what, kept)
        await memory.record_durably(Paused(time=now, reason=f"{WISHES} was damaged"))
        return
    if wishes is None:
        return
    event = Paused(time=now, reason=wishes.reason) if wishes.paused else Unpaused(time=now)
    await memory.record_durably(event)
    forget_wishes(memory.folder)
    _log.warning("%s, as asked for while no trader ran: %s.", event.kind(), wishes.reason)
