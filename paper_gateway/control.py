"""The control commands: queries, manual orders and faults, for the operator and for tests."""

from __future__ import annotations

import json
import logging
import math
import os
from collections import deque
from collections.abc import Callable
from typing import Any

from paper_gateway import replies, truth
from paper_gateway.errors import ControlError, GatewayError, RequestRefused
from paper_gateway.execution_log import Execution
from paper_gateway.faults import KINDS, Rejection
from paper_gateway.handlers import Services
from paper_gateway.market import Tick
from paper_gateway.market.symbols import SYMBOL
from paper_gateway.orders import Order
from paper_gateway.session import Session

log = logging.getLogger(__name__)

Answer = dict[str, Any]
CONNECTIVITY_LOST, RESTORED_DATA_LOST, RESTORED = 1100, 1101, 1102
SYSTEM_TEXTS = {
    1100: "Connectivity between IB and Trader Workstation has been lost.",
    1101: "Connectivity between IB and Trader Workstation has been restored - data lost.",
    1102: "Connectivity between IB and Trader Workstation has been restored - data maintained. "
    "All data farms are connected: usfarm; ushmds; secdefil.",
    2103: "Market data farm connection is broken:usfarm",
    2104: "Market data farm connection is OK:usfarm",
    2105: "HMDS data farm connection is broken:ushmds",
    2106: "HMDS data farm connection is OK:ushmds",
    2110: "Connectivity between Trader Workstation and server is broken. It will be restored automatically.",
    10197: "No market data during competing live session",
}


class Arguments:
    """The JSON object of one request. A missing or wrong argument raises ControlError."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    @classmethod
    def parse(cls, request: bytes) -> Arguments:
        try:
            values = json.loads(request)
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise ControlError(f"the request is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise ControlError("the request is not a JSON object")
        return cls(values)

    def text(self, name: str, default: str | None = None) -> str:
        value = self._values.get(name)
        if value is None:
            value = default
        if not isinstance(value, str):
            raise ControlError(f"{name!r} must be given, as text")
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        value = self._values.get(name)
        if value is None:
            value = default
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**53:
            raise ControlError(f"{name!r} must be given, as a whole number")
        return value

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number above 0 (the default may be 0)."""
        value = self.whole(name, default)
        if value <= 0 and value != default:
            raise ControlError(f"{name!r} must be greater than 0, not {value}")
        return value

    def price(self, name: str, *, optional: bool = False) -> float | None:
        """A finite number above 0; None only if it is optional and missing."""
        value = self._values.get(name)
        if value is None and optional:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
            return float(value)
        raise ControlError(f"{name!r} must be a number greater than 0, not {value!r}")

    def seconds(self, name: str) -> float | None:
        return self.price(name, optional=True)

    def flag(self, name: str) -> bool:
        return self._values.get(name) is True

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        value = self.text(name)
        if value not in choices:
            raise ControlError(f"{name!r} must be one of {', '.join(choices)}, not {value!r}")
        return value

    def symbol(self) -> str:
        value = self.text("symbol").upper()
        if not SYMBOL.fullmatch(value):
            raise ControlError(f"{value!r} is not a stock symbol")
        return value


class Control:
    """Answers control requests. The method `do_<name>` carries out the command `<name>`."""

    def __init__(self, services: Services, stop: Callable[[], None]) -> None:
        self._services = services
        self._brokerage = services.brokerage
        self._faults = services.brokerage.faults
        self._stop = stop

    def answer(self, request: bytes) -> bytes:
        """The JSON answer to one JSON request; a bad request gets an answer with `ok` false."""
        try:
            arguments = Arguments.parse(request)
            command = arguments.text("command")
            handler = getattr(self, f"do_{command}", None)
            if handler is None:
                raise ControlError(f"there is no command {command!r}", "see: python3 -m paper_gateway ctl --help")
            self._services.feed.step()
            result: Answer = {"ok": True} | handler(arguments)
            if command not in ("info", "truth", "exposure"):
                log.info("control: %s", request.decode(errors="replace"))
        except RequestRefused as error:
            result = {"ok": False, "error": f"{error.message} (code {error.code})", "hint": error.hint}
        except GatewayError as error:
            result = {"ok": False, "error": error.message, "hint": error.hint}
        return json.dumps(result, allow_nan=False).encode()

    def do_info(self, _: Arguments) -> Answer:
        market = self._brokerage.market
        return {
            "gateway_id": self._brokerage.gateway_id,
            "pid": os.getpid(),
            "accounts": list(self._brokerage.account_ids),
            "trading_date": market.trading_date.isoformat(),
            "time": self._services.clock.now().isoformat(),
            "speed": self._services.clock.speed,
            "start": market.start.isoformat(),
            "seed": self._services.seed,
            "server_version": 176,
            "clients": sorted(self._services.publisher.sessions),
        }

    def do_truth(self, _: Arguments) -> Answer:
        return truth.truth(self._brokerage)

    def do_exposure(self, arguments: Arguments) -> Answer:
        """What was held, protected and closing after each change, from row `since` on."""
        return self._brokerage.engine.exposure.since(arguments.count("since", 0))

    def do_trade(self, arguments: Arguments) -> Answer:
        """A manual order, as entered in TWS: at the market unless a limit or a stop price is given."""
        order = self._brokerage.order_entry.place_manual(
            arguments.symbol(),
            arguments.choice("side", ("BUY", "SELL")),
            arguments.count("shares"),
            arguments.text("account", ""),
            arguments.price("limit", optional=True),
            arguments.price("stop", optional=True),
        )
        return {"perm_id": order.perm_id, "status": order.status.value, "filled": order.filled}

    def do_fill(self, arguments: Arguments) -> Answer:
        order = self._order(arguments)
        allowed = self._brokerage.engine.allowed(order) if order.live else 0
        shares = arguments.count("shares", allowed)
        if not 0 < shares <= allowed:
            raise ControlError(
                f"order {order.perm_id} is {order.status} and at most {allowed} of its shares can fill now"
            )
        touch = self._brokerage.engine.touch(order.symbol)
        market_price = touch.ask if order.action == "BUY" else touch.bid
        price = arguments.price("price", optional=True) or order.limit_price or market_price
        order.triggered = True
        execution = self._brokerage.engine.fill(order, shares, price)
        return {"exec_id": execution.exec_id, "remaining": order.remaining}

    def do_cancel(self, arguments: Arguments) -> Answer:
        order = self._order(arguments)
        if not (order.live or order.parked):
            raise ControlError(f"order {order.perm_id} is {order.status}, not live")
        self._brokerage.engine.cancel(order)
        return {"perm_id": order.perm_id}

    def do_hold(self, arguments: Arguments) -> Answer:
        symbol = arguments.symbol()
        if arguments.flag("off"):
            self._faults.holds.discard(symbol)
            for order in self._brokerage.order_store.live(symbol):
                self._brokerage.engine.work(order)
        else:
            self._faults.holds.add(symbol)
        return {"holds": sorted(self._faults.holds)}

    def do_partial(self, arguments: Arguments) -> Answer:
        waiting = self._faults.partials.setdefault(arguments.symbol(), deque())
        waiting.append(arguments.count("shares"))
        return {"waiting": list(waiting)}

    def do_price(self, arguments: Arguments) -> Answer:
        """Trade once at the price now, and shift the price path so that it continues from there."""
        symbol = self._brokerage.info(arguments.symbol()).symbol
        price = arguments.price("price")
        assert price is not None
        self._brokerage.market.set_price(symbol, price)
        bid, ask = round(price - 0.01, 2), round(price + 0.01, 2)
        self._services.feed.inject(Tick(symbol, self._brokerage.engine.now, price, 100, bid, ask))
        return {"symbol": symbol, "price": price}

    def do_drop(self, arguments: Arguments) -> Answer:
        client_id = arguments.whole("client", -1)
        refuse_s = arguments.seconds("refuse")
        sessions = [one for key, one in self._sessions().items() if client_id in (-1, key)]
        for session in sessions:
            session.abort()
        if refuse_s is not None:
            self._faults.refuse(refuse_s)
        return {"dropped": len(sessions)}

    def do_silence(self, arguments: Arguments) -> Answer:
        kind = arguments.choice("kind", (*KINDS, "all"))
        if arguments.flag("off"):
            self._off(self._faults.silences, kind)
        else:
            self._faults.silence(kind, arguments.seconds("for"))
        return {"silent": sorted(self._faults.silences)}

    def do_delay(self, arguments: Arguments) -> Answer:
        kind = arguments.choice("kind", (*KINDS, "all"))
        if arguments.flag("off"):
            self._off(self._faults.delays_ms, kind)
        else:
            self._faults.delays_ms[kind] = float(arguments.count("ms"))
        return {"delays_ms": self._faults.delays_ms}

    def do_reject(self, arguments: Arguments) -> Answer:
        symbol = arguments.text("symbol", "").upper() or None
        text = arguments.text("text", "Order rejected - reason:rejected on demand")
        role = arguments.text("role", "") or None
        self._faults.rejections.append(Rejection(symbol, role, arguments.whole("code", 201), text))
        return {"waiting": len(self._faults.rejections)}

    def do_code(self, arguments: Arguments) -> Answer:
        """Send a system message to all clients. 1100 begins an outage, 1101 and 1102 end it."""
        code = arguments.whole("code")
        text = arguments.text("text", SYSTEM_TEXTS.get(code, f"System message {code}"))
        if code in (RESTORED_DATA_LOST, RESTORED):
            self._faults.outage = False
        for session in self._sessions().values():
            session.error(-1, code, text)
            if code == RESTORED_DATA_LOST:
                session.subscriptions.ticks.clear()
                session.subscriptions.real_time_bars.clear()
                self._services.feed.forget(session)
        if code == CONNECTIVITY_LOST:
            self._faults.outage = True
        return {"clients": len(self._sessions())}

    def do_restart(self, arguments: Arguments) -> Answer:
        """Restart as TWS does every night: close sockets, roll back ids, keep orders and accounts."""
        self._brokerage.order_store.roll_back_ids(arguments.whole("roll_back", 0))
        down_s = arguments.seconds("down")
        if down_s is not None:
            self._faults.refuse(down_s)
        self._faults.stuck_clients.clear()
        self._faults.outage = False
        sessions = list(self._sessions().values())
        for session in sessions:
            session.abort()
        return {"dropped": len(sessions)}

    def do_repeat(self, arguments: Arguments) -> Answer:
        execution = self._execution(arguments)
        owner = self._sessions().get(execution.order.client_id)
        if owner is None:
            raise ControlError(f"client {execution.order.client_id} is not connected")
        owner.send("exec_details", *self._services.publisher.execution_frames(-1, execution))
        owner.send("commission", replies.commission(execution))
        return {"exec_id": execution.exec_id}

    def do_correct(self, arguments: Arguments) -> Answer:
        wrong = self._execution(arguments)
        if wrong.superseded:
            raise ControlError(f"execution {wrong.exec_id} was already corrected")
        price = arguments.price("price", optional=True) or wrong.price
        right = self._brokerage.engine.correct(wrong, arguments.count("shares", wrong.shares), price)
        return {"exec_id": right.exec_id}

    def do_stick(self, arguments: Arguments) -> Answer:
        """Keep the client id in use after its socket is closed, as after a crash of the client."""
        self._faults.stick(arguments.whole("client"), arguments.seconds("for"))
        return {"stuck": sorted(self._faults.stuck_clients)}

    def do_quirk(self, arguments: Arguments) -> Answer:
        """Switch a quirk on or off; without a name only list those that are on."""
        quirks, name = self._brokerage.quirks, arguments.text("name", "")
        if name and arguments.flag("off"):
            quirks.clear(name)
        elif name:
            quirks.set(name, arguments.text("value", ""))
        return {"quirks": quirks.values}

    def do_speed(self, arguments: Arguments) -> Answer:
        speed = arguments.price("speed")
        assert speed is not None
        self._services.clock.set_speed(speed)
        return {"speed": speed}

    def do_stop(self, _: Arguments) -> Answer:
        self._stop()
        return {"stopping": True}

    @staticmethod
    def _off(by_kind: dict[str, float], kind: str) -> None:
        """End the fault for one kind. `all` ends it for every kind, also for those begun singly."""
        if kind == "all":
            by_kind.clear()
        by_kind.pop(kind, None)

    def _sessions(self) -> dict[int, Session]:
        return self._services.publisher.sessions

    def _order(self, arguments: Arguments) -> Order:
        reference = arguments.text("order")
        order = self._brokerage.order_store.find(reference)
        if order is None:
            raise ControlError(f"there is no order {reference!r}", "give its permId or orderRef (see ctl truth)")
        return order

    def _execution(self, arguments: Arguments) -> Execution:
        exec_id = arguments.text("exec_id")
        execution = self._brokerage.execution_log.find(exec_id)
        if execution is None:
            raise ControlError(f"there is no execution {exec_id!r}", "see ctl truth for the execution ids")
        return execution
