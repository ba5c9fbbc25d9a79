"""What was known before a comparison, so that its rows can tell what has changed."""

from copy import copy

import msgspec

from state.domain.model import OrderStatus, Position, TraderState


class Baseline(msgspec.Struct, frozen=True):
    """What was known before: positions by symbol, entries by orderRef with their status.

    executions: keys of the positions' executions.
    """

    positions: dict[str, Position]
    entries: dict[str, OrderStatus]
    executions: frozenset[str]


def baseline(state: TraderState) -> Baseline:
    """The state as it is now, for comparison with what follows."""
    return Baseline(
        positions={symbol: copy(position) for symbol, position in state.positions.items()},
        entries={ref: order.status for ref, order in state.orders.items() if order.role == "entry"},
        executions=frozenset(key for position in state.positions.values() for key in position.fills),
    )
