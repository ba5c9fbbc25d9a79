"""What was known before a comparison, so that its rows can tell what has changed."""

from copy import copy
from itertools import takewhile

import msgspec

from state.domain.model import OrderStatus, Position, TraderState


class Baseline(msgspec.Struct, frozen=True):
    """What was known before: positions by symbol, live entries by orderRef with their status.

    last_order, last_execution: what the state got last; everything behind it is new. An estimated execution may be
    removed later, so estimates behind `last_execution` are named.
    """

    positions: dict[str, Position]
    entries: dict[str, OrderStatus]
    last_order: str
    last_execution: str
    estimates: frozenset[str]

    def new_orders(self, state: TraderState) -> list[str]:
        """The orderRefs that the state has got since."""
        return list(takewhile(lambda ref: ref != self.last_order, reversed(state.orders)))[::-1]

    def new_executions(self, state: TraderState) -> dict[str, list[str]]:
        """By trade, the keys of the executions that the state has got since, in order of time."""
        new = takewhile(lambda key: key != self.last_execution, reversed(state.executions))
        found: dict[str, list[str]] = {}
        for key in sorted(set(new) - self.estimates, key=lambda key: (state.executions[key].time, key)):
            found.setdefault(state.executions[key].trade_id, []).append(key)
        return found


def baseline(state: TraderState) -> Baseline:
    """The state as it is now, for comparison with what follows."""
    estimates: set[str] = set()
    last_execution = ""
    for key in reversed(state.executions):
        if not state.executions[key].estimated:
            last_execution = key
            break
        estimates.add(key)
    return Baseline(
        positions={symbol: copy(position) for symbol, position in state.positions.items()},
        entries={order.order_ref: order.status for order in state.live_orders() if order.role == "entry"},
        last_order=next(reversed(state.orders), ""),
        last_execution=last_execution,
        estimates=frozenset(estimates),
    )
