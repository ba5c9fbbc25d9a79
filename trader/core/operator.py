"""The operator's commands on a running trader: pause, unpause, adopt, flatten."""

import traceback
from collections.abc import Callable
from typing import Any

from state.domain.events import ForeignSeen, Paused, Unpaused
from state.errors import TraderError
from trader.broker.port import BrokerPosition
from trader.core import flatten
from trader.core.effects import ForgetPauseRequest, Reply, RequestSave
from trader.core.market_data import monitor_symbol
from trader.core.messages import OperatorRequest
from trader.core.numbers import is_price
from trader.core.orders.closing import replace_stop
from trader.core.prices import price_of
from trader.core.reconciliation.adoption import (
    Terms,
    adoption,
    chosen_stop,
    guarding_stop,
    triggers_at_once,
)
from trader.core.turn import Turn
from trader.core.view import Adoption
from trader.errors import BrokerError

ADOPT_TIMEOUT_S = 20.0
REASON_LENGTH_MAX = 200


def take_request(turn: Turn, request: OperatorRequest) -> None:
    """Answer one request, now or when it is done. An error in a command never ends the run."""
    handler = HANDLERS.get(request.command)
    if handler is None:
        _refuse(turn, request.request_id, f"There is no command {request.command!r}.", "See --help.")
        return
    try:
        handler(turn, request)
    except TraderError as error:
        turn.log("error", f"{request.command}: {error}")
        _refuse(turn, request.request_id, error.what, error.hint, error.exit_code)
    except Exception as error:  # noqa: BLE001 - a defect in a command must not stop the managing of positions
        turn.log("error", f"{request.command} failed.", traceback.format_exc())
        text = f"`{request.command}` failed: {error!r}."
        _refuse(turn, request.request_id, text, "See trader.log.", TraderError.exit_code)


def go_on(turn: Turn) -> None:
    """Each tick: continue the commands that are not done yet."""
    for symbol, waiting in list(turn.view.adoptions.items()):
        if waiting.recorded:
            _finish_adoption(turn, symbol, waiting)
        else:
            continue_adoption(turn, symbol)
    flatten.go_on(turn)


def _reply(turn: Turn, request_id: int, **content: Any) -> None:
    turn.do(Reply(request_id, content))


def _refuse(turn: Turn, request_id: int, error: str, hint: str, exit_code: int | None = None) -> None:
    content: dict[str, Any] = {"ok": False, "error": error, "hint": hint}
    if exit_code is not None:
        content["exit_code"] = exit_code
    turn.do(Reply(request_id, content))


# Pausing


def _pause(turn: Turn, request: OperatorRequest) -> None:
    reason = str(request.arguments.get("reason") or "by the operator")
    _record_pause(turn, _one_line(reason))
    _reply(turn, request.request_id, ok=True, paused=True, reason=turn.state.risk.paused_reason)


def _record_pause(turn: Turn, reason: str) -> None:
    turn.record(Paused(time=turn.moment.now, reason=reason))
    turn.log("warning", f"PAUSED: {reason}. No new entries; stops and exits go on.")
    _supersede_pause_request(turn)


def _unpause(turn: Turn, request: OperatorRequest) -> None:
    turn.record(Unpaused(time=turn.moment.now))
    turn.log("warning", "Unpaused: entries are possible again.")
    _supersede_pause_request(turn)
    _reply(turn, request.request_id, ok=True, paused=False)


def _supersede_pause_request(turn: Turn) -> None:
    """Drop an earlier pause request that waits in a file for the next start: this one is newer."""
    turn.do(RequestSave())
    turn.do(ForgetPauseRequest())


def _one_line(text: str) -> str:
    """The operator's text on one line and encodable as UTF-8: any byte may come over the socket."""
    plain = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(plain.split())[:REASON_LENGTH_MAX]


# Adopting


def _adopt(turn: Turn, request: OperatorRequest) -> None:
    """Take over a foreign position. The reply is sent when its stop is in force."""
    symbol = str(request.arguments.get("symbol") or "").strip().upper()
    problem = _why_not_adopt(turn, symbol, _foreign(turn, symbol))
    terms = _terms(request.arguments)
    if problem is None and terms is None:
        problem = "The stop and the targets have to be prices above 0, three targets at most."
    if problem is not None or terms is None:
        _refuse(turn, request.request_id, problem or "", "See `status`.")
        return
    through = request.arguments.get("yes") is True and terms.stop is not None
    turn.view.adoptions[symbol] = Adoption(request.request_id, turn.moment.real_s, terms, through=through)
    if symbol not in turn.view.monitors:
        monitor_symbol(turn, symbol)
    continue_adoption(turn, symbol)


def _terms(arguments: dict[str, Any]) -> Terms | None:
    """The stop and the targets of an `adopt`; None if one is no price."""
    stop, targets = arguments.get("stop"), arguments.get("targets") or []
    prices = [*targets, *([stop] if stop is not None else [])]
    if not isinstance(targets, list) or len(targets) > 3:
        return None
    if not all(
        isinstance(price, int | float) and not isinstance(price, bool) and is_price(price) for price in prices
    ):
        return None
    return Terms(float(stop) if stop is not None else None, tuple(float(target) for target in targets))


def continue_adoption(turn: Turn, symbol: str) -> None:
    """Adopt once a price is known. A stop that would trigger at once is refused, unless the command asks for it."""
    waiting = turn.view.adoptions.get(symbol)
    if waiting is None or waiting.recorded:
        return
    holding, snapshot = _foreign(turn, symbol), turn.view.snapshot
    if holding is None or snapshot is None:
        _drop_adoption(turn, symbol, waiting, f"{symbol} was closed before its stop was in force.")
        return
    own = guarding_stop(snapshot.open_orders or (), holding, turn.settings.client_id)
    price = price_of(turn, symbol)
    if price is None and own is None and not waiting.through:
        if turn.moment.real_s - waiting.since_s > ADOPT_TIMEOUT_S:
            text = f"There is no price of {symbol}, so it is not known whether a stop would trigger at once."
            _drop_adoption(turn, symbol, waiting, text, "Try again later, or give --stop PRICE --yes.")
        return
    stop = chosen_stop(holding, price, waiting.terms, own)
    if price is not None and triggers_at_once(holding, stop, price) and not waiting.through:
        text = f"A stop at {stop:.2f} would trigger at once at the present price {price:.2f} and close {symbol}."
        hint = f"Give another --stop, or --stop {stop:.2f} --yes to close it that way."
        _drop_adoption(turn, symbol, waiting, text, hint)
        return
    now = turn.moment.now
    gone = ForeignSeen(time=now, symbol=symbol, con_id=holding.con_id, quantity=0, avg_cost=0.0)
    turn.record(adoption(symbol, holding, stop, waiting.terms, own, now), gone)
    at = f" at a price of {price:.2f}" if price is not None else ""
    kept = f"its own stop {own.order_ref} is kept" if own is not None else "a stop is placed"
    turn.log("warning", f"ADOPTED {symbol} {holding.quantity:+d}{at}: stop {stop:.2f}, {kept}.")
    turn.view.activity += 1  # an outstanding answer of IBKR is older than the adoption
    if own is None:
        replace_stop(turn, turn.state.positions[symbol])
    waiting.recorded, waiting.since_s = True, turn.moment.real_s
    turn.view.comparison.wanted = True
    turn.do(RequestSave())


def _drop_adoption(
    turn: Turn, symbol: str, waiting: Adoption, text: str, hint: str = "Give --stop, or see `status`."
) -> None:
    del turn.view.adoptions[symbol]
    _refuse(turn, waiting.request_id, text, hint)


def _foreign(turn: Turn, symbol: str) -> BrokerPosition | None:
    snapshot = turn.view.snapshot
    if snapshot is None or symbol not in turn.state.foreign:
        return None
    return snapshot.position(symbol)


def _why_not_adopt(turn: Turn, symbol: str, holding: BrokerPosition | None) -> str | None:
    if symbol in turn.state.positions:
        return f"{symbol} is managed already."
    if symbol in turn.view.adoptions:
        return f"{symbol} is being adopted already."
    if turn.settings.dry_run:
        return "This is a dry run, which sends no stop, so nothing can be adopted."
    if not turn.state.connection.ready:  # adopting opens nothing, but the account has to be known
        return f"The state and IBKR are not compared yet ({turn.state.connection.reason})."
    if symbol in turn.view.others:
        ids = ", ".join(str(client_id) for client_id in turn.view.others[symbol])
        return f"{symbol} belongs to the trader with client id {ids}: it is managed there."
    if holding is None:
        return f"The account holds no foreign position in {symbol or 'a symbol without a name'}."
    return None


def _finish_adoption(turn: Turn, symbol: str, waiting: Adoption) -> None:
    position = turn.state.positions.get(symbol)
    stop = turn.state.protective_stop(position) if position is not None else None
    if position is not None and stop is not None and stop.status == "working" and stop.perm_id:
        del turn.view.adoptions[symbol]
        _reply(
            turn,
            waiting.request_id,
            ok=True,
            symbol=symbol,
            quantity=position.quantity,
            stop_price=position.stop_price,
            stop_perm_id=stop.perm_id,
        )
    elif position is None or turn.moment.real_s - waiting.since_s > ADOPT_TIMEOUT_S:
        del turn.view.adoptions[symbol]
        text = f"{symbol} is managed now, but IBKR has not confirmed its stop"
        if position is None:
            text = f"{symbol} was closed before its stop was in force"
        _refuse(turn, waiting.request_id, f"{text}.", "See `status` and trader.log.", BrokerError.exit_code)


# Flattening


def _flatten(turn: Turn, request: OperatorRequest) -> None:
    """Pause first, so that no entry is sent while positions are closed (p17)."""
    if turn.view.flatten is not None:
        _refuse(turn, request.request_id, "A flatten is going on already.", "Wait for it.")
        return
    _record_pause(turn, "flatten")
    if turn.settings.dry_run:
        _refuse(turn, request.request_id, "This is a dry run: nothing is sent.", "Entries are paused.")
        return
    flatten.start(turn, request)


HANDLERS: dict[str, Callable[[Turn, OperatorRequest], None]] = {
    "pause": _pause,
    "unpause": _unpause,
    "adopt": _adopt,
    "flatten": _flatten,
}
