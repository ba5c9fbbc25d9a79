"""The operator's commands on a running trader: pause, unpause, adopt, flatten, each in the engine's turn."""

import asyncio
import logging
import time
from datetime import datetime

from state.domain.events import ForeignSeen, Paused, Unpaused
from state.errors import CorruptFileError, SyncFailedError, TraderError
from state.manager import StateManager
from state.storage.pause_request import PAUSE_REQUEST, forget_pause_request, pause_request_waits, read_pause_request
from trader.broker.port import BrokerPosition
from trader.core.engine import Engine
from trader.core.flatten import Flatten
from trader.core.market_data import Market
from trader.core.messages import Request
from trader.core.numbers import is_price
from trader.core.protection_gate import Gate
from trader.core.reconciliation.adoption import adoption
from trader.errors import BrokerError

_log = logging.getLogger("trader.runtime.control_socket")

ADOPT_TIMEOUT_S = 20.0
REASON_LENGTH_MAX = 200


class Operator:
    """Carries requests out. `flatten` and `adopt` go on over many turns until what they promise is seen done."""

    def __init__(self, engine: Engine, gate: Gate, market: Market) -> None:
        self.engine = engine
        self.gate = gate
        self.market = market
        self._waiting: dict[str, tuple[Request, float]] = {}  # adopted symbols whose stop is not confirmed yet
        self._flatten = Flatten(engine, gate, market)

    async def take(self, request: Request) -> None:
        """Answer one request, now or when it is done. What fails in a command never ends the run."""
        handlers = {
            "pause": self._pause,
            "unpause": self._unpause,
            "adopt": self._adopt,
            "flatten": self._start_flattening,
        }
        handler = handlers.get(request.command)
        if handler is None:
            request.answer(ok=False, error=f"There is no command {request.command!r}.", hint="See --help.")
            return
        try:
            await handler(request)
        except SyncFailedError as error:
            request.answer(ok=False, error=error.what, hint=error.hint, exit_code=error.exit_code)
            raise
        except TraderError as error:
            _log.error("%s: %s", request.command, error)
            request.answer(ok=False, error=error.what, hint=error.hint, exit_code=error.exit_code)
        except Exception as error:  # noqa: BLE001 - a defect in a command must not end the care for positions
            _log.exception("%s failed.", request.command)
            text = f"`{request.command}` failed: {error!r}."
            request.answer(ok=False, error=text, hint="See trader.log.", exit_code=TraderError.exit_code)

    async def go_on(self) -> None:
        """Every half second: what is still to be done, and whether it is done."""
        for symbol, (request, since) in list(self._waiting.items()):
            self._finish_adopt(symbol, request, since)
        await self._flatten.go_on()

    # Pausing

    async def _pause(self, request: Request) -> None:
        reason = str(request.arguments.get("reason") or "by the operator")
        await self._pause_durably(_one_line(reason))
        request.answer(ok=True, paused=True, reason=self.engine.state.risk.paused_reason)

    async def _pause_durably(self, reason: str) -> None:
        await self.engine.manager.record_durably(Paused(time=self.engine.clock.now(), reason=reason))
        _log.warning("PAUSED: %s. No new entries; stops and exits go on.", reason)
        await self._said_last()

    async def _unpause(self, request: Request) -> None:
        await self.engine.manager.record_durably(Unpaused(time=self.engine.clock.now()))
        _log.warning("Unpaused: entries are possible again.")
        await self._said_last()
        request.answer(ok=True, paused=False)

    async def _said_last(self) -> None:
        """The last word on pausing is in the journal: an earlier one, left for a start, is void."""
        self.engine.save_wanted.set()
        folder = self.engine.manager.folder
        if pause_request_waits(folder):
            await asyncio.to_thread(forget_pause_request, folder)

    # Adopting

    async def _adopt(self, request: Request) -> None:
        """A foreign position becomes ours, with estimated values; answered when its stop is in force."""
        symbol = str(request.arguments.get("symbol") or "").strip().upper()
        holding = self._foreign(symbol)
        problem = self._why_not_adopt(symbol, holding)
        if problem is not None or holding is None:
            request.answer(ok=False, error=problem, hint="See `status`.")
            return
        await self.market.monitor(symbol)
        monitor = self.engine.monitors.get(symbol)
        price = monitor.price if monitor is not None and is_price(monitor.price) else None
        now = self.engine.clock.now()
        event = adoption(symbol, holding, self.market.setups.get(symbol), price, now)
        gone = ForeignSeen(time=now, symbol=symbol, con_id=holding.con_id, quantity=0, avg_cost=0.0)
        await self.engine.manager.record_durably(event, gone)
        _log.warning("ADOPTED %s %+d with estimated values.", symbol, holding.quantity)
        self.engine.activity += 1  # an answer that is on its way does not know of it
        self._waiting[symbol] = (request, time.monotonic())
        self.engine.compare_wanted.set()
        self.engine.save_wanted.set()

    def _foreign(self, symbol: str) -> BrokerPosition | None:
        snapshot = self.gate.last_snapshot
        if snapshot is None or symbol not in self.engine.state.foreign:
            return None
        return next((p for p in snapshot.positions if p.symbol == symbol and p.quantity), None)

    def _why_not_adopt(self, symbol: str, holding: BrokerPosition | None) -> str | None:
        if symbol in self.engine.state.positions:
            return f"{symbol} is managed already."
        if self.engine.desk.dry_run:
            return "This is a dry run, which sends no stop, so nothing can be adopted."
        if not self.engine.connection_status.ready:
            return f"Books and IBKR are not compared yet ({self.engine.state.connection.reason})."
        if holding is None:
            return f"The account holds no foreign position in {symbol or 'a symbol without a name'}."
        return None

    def _finish_adopt(self, symbol: str, request: Request, since: float) -> None:
        state = self.engine.state
        position = state.positions.get(symbol)
        stop = state.protective_stop(position) if position is not None else None
        if position is not None and stop is not None and stop.status == "working" and stop.perm_id:
            del self._waiting[symbol]
            request.answer(
                ok=True,
                symbol=symbol,
                quantity=position.quantity,
                stop_price=position.stop_price,
                stop_perm_id=stop.perm_id,
            )
        elif position is None or time.monotonic() - since > ADOPT_TIMEOUT_S:
            del self._waiting[symbol]
            text = f"{symbol} is managed now, but IBKR has not confirmed its stop"
            if position is None:
                text = f"{symbol} was closed before its stop was in force"
            code = BrokerError.exit_code
            request.answer(ok=False, error=f"{text}.", hint="See `status` and trader.log.", exit_code=code)

    async def _start_flattening(self, request: Request) -> None:
        """Pause durably, then cancel entries, then close, then verify: an entry cannot slip in between (p17)."""
        if self._flatten.going_on:
            request.answer(ok=False, error="A flatten is going on already.", hint="Wait for it.")
            return
        await self._pause_durably("flatten")
        if self.engine.desk.dry_run:
            request.answer(ok=False, error="This is a dry run: nothing is sent.", hint="Entries are paused.")
            return
        await self._flatten.start(request)


def _one_line(text: str) -> str:
    """The operator's words as log, journal and state can hold them: any byte may come over the socket."""
    plain = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(plain.split())[:REASON_LENGTH_MAX]


async def take_pause_request(manager: StateManager, now: datetime) -> None:
    """A pause or unpause that was asked for while no trader ran becomes part of the state. now: session time."""
    try:
        request = read_pause_request(manager.folder)
    except CorruptFileError as error:
        kept = manager.folder.quarantine(PAUSE_REQUEST, error.reason)
        _log.error("%s It is kept as quarantine/%s; entries are paused until you say `unpause`.", error.what, kept)
        await manager.record_durably(Paused(time=now, reason=f"{PAUSE_REQUEST} was damaged"))
        return
    if request is None:
        return
    event = Paused(time=now, reason=request.reason) if request.paused else Unpaused(time=now)
    await manager.record_durably(event)
    forget_pause_request(manager.folder)
    _log.warning("%s, as asked for while no trader ran: %s.", event.kind(), request.reason)
