"""An error in one symbol stays in that symbol; its stop stays at IBKR (f21)."""

import traceback
from collections.abc import Callable

from state.domain.events import SymbolHalted
from state.errors import TraderError
from trader.core.turn import Turn


def isolated(turn: Turn, symbol: str, decide: Callable[[Turn, str], None]) -> None:
    """Decide on one symbol. A TraderError becomes an alert; any other exception halts the symbol as a defect."""
    try:
        decide(turn, symbol)
    except TraderError as error:
        turn.log("error", f"{symbol}: {error}")
        turn.alert(symbol, str(error))
    except Exception as error:  # noqa: BLE001 - a defect in one symbol must not stop the others
        turn.log("error", f"{symbol}: halted by an unexpected error.", traceback.format_exc())
        if symbol not in turn.state.halted:
            reason = f"an unexpected error: {error!r}"
            turn.record(SymbolHalted(time=turn.moment.now, symbol=symbol, reason=reason, cause="defect"))
        turn.alert(symbol, f"{symbol} is halted by an unexpected error: {error!r}")
