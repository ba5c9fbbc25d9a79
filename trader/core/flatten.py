"""`flatten`: pause, cancel entries, close all that is ours, verify; over many turns, until it is seen done."""

import asyncio
import logging
import time

from trader.broker.port import BrokerSnapshot
from trader.core.engine import Engine
from trader.core.market_data import Market
from trader.core.messages import Request
from trader.core.orders.order_ref import parse_ref
from trader.core.protection_gate import Gate
from trader.errors import BrokerError

_log = logging.getLogger("trader.runtime.control_socket")

FLATTEN_TIMEOUT_S = 45.0
NO_LINE_TIMEOUT_S = 5.0  # how long it waits for a line that is down
HINT = "Entries stay paused and the stops are in force; look at TWS, then try again."


class Flatten:
    """One at a time. The caller has paused the entries durably before, so that none slips in between (p17)."""

    def __init__(self, engine: Engine, gate: Gate, market: Market) -> None:
        self._engine = engine
        self._gate = gate
        self._market = market
        self._request: Request | None = None
        self._since = 0.0
        self._seen_before: BrokerSnapshot | None = None  # the last answer of IBKR as the books came to be flat

    @property
    def going_on(self) -> bool:
        """Whether one has been started and not answered."""
        return self._request is not None

    async def start(self, request: Request) -> None:
        """Begin; the answer comes when all is flat, or when that cannot be reached."""
        self._request, self._since, self._seen_before = request, time.monotonic(), None
        # A timer's, so that the answer comes even where a comparison keeps the engine waiting.
        asyncio.get_running_loop().call_later(FLATTEN_TIMEOUT_S, self._give_up, request)
        await self.go_on()

    async def go_on(self) -> None:
        """Every half second: what is left to do, and whether it is done."""
        request, state = self._request, self._engine.state
        if request is None:
            return
        if not state.connection.ready:  # nothing is closed on what is not known (invariant 2)
            if not state.connection.connected and time.monotonic() - self._since > NO_LINE_TIMEOUT_S:
                self._give_up(request)
            return
        await self._step()
        if state.positions or any(order.is_live for order in state.orders.values()):
            self._seen_before = None
        elif self._verified():
            self._request = None
            _log.info("Flat: IBKR holds no position and no order of ours any more.")
            request.answer(ok=True, closed=True, daily_pnl=round(state.daily_pnl, 2))

    def _verified(self) -> bool:
        """Whether IBKR says so too, in an answer younger than the books' last word: older ones are not taken."""
        answer, foreign = self._gate.last_snapshot, self._engine.state.foreign
        if self._seen_before is None:
            self._seen_before = answer
        self._engine.compare_wanted.set()
        if answer is None or answer is self._seen_before:
            return False
        held = [p for p in answer.positions if p.quantity and p.symbol not in foreign]
        return not held and not any(parse_ref(order.order_ref) for order in answer.open_orders)

    async def _step(self) -> None:
        """Also what filled since the last step is closed: an entry may have been quicker than its cancel."""
        state = self._engine.state
        entries = {order.symbol for order in state.orders.values() if order.role == "entry" and order.is_live}
        for symbol in sorted(entries | state.positions.keys()):
            await self._engine.guarded(symbol, self._close)

    async def _close(self, symbol: str) -> None:
        desk = self._engine.desk
        flying = desk.in_flight()
        for order in desk.state.live_orders(symbol):
            if order.role == "entry" and order.order_ref not in flying:
                desk.cancel(order, "flatten")
        position = desk.state.positions.get(symbol)
        if position is None or desk.is_closing(position):
            return
        await self._market.monitor(symbol)
        monitor = self._engine.monitors.get(symbol)
        if monitor is not None:
            await self._engine.exits.close(position, monitor, "flatten")

    def _give_up(self, request: Request) -> None:
        """Say what is still open. What was sent stays sent, and the stops stay in force."""
        if self._request is not request:
            return
        self._request = None
        state, waited_s = self._engine.state, time.monotonic() - self._since
        held = ", ".join(f"{p.symbol} {p.quantity:+d}" for p in state.positions.values()) or "no position"
        orders = sum(order.is_live for order in state.orders.values())
        text = f"Not known to be flat after {waited_s:.0f} s: {held}, {orders} orders of ours are open"
        if not state.connection.ready:
            text += f"; {state.connection.reason}"
        _log.error("%s.", text)
        request.answer(ok=False, error=f"{text}.", hint=HINT, exit_code=BrokerError.exit_code)
