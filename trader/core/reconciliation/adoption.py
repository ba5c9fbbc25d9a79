"""Takes over a position of the account on the operator's command: `adopt SYM` and `--accept-broker`."""

from datetime import datetime

from state.domain.events import Event, PositionAdjusted, PositionAdopted, SymbolReleased
from state.domain.model import Position, Side, TraderState, sign
from trader.broker.port import BrokerPosition
from trader.core.sizing import ESTIMATED_RISK, estimated_targets
from trader.core.strategy.ps60.setups import Setup


def adoption(
    symbol: str, holding: BrokerPosition, setup: Setup | None, price: float | None, now: datetime
) -> PositionAdopted:
    """The event of a managed position with IBKR's shares and average cost. Pivot, targets and stop are estimated.

    price: the last trade, or None. The stop is the scanner's pivot if that is on the right side of cost and price,
    else 1 % away from the worse of the two.
    """
    side: Side = "LONG" if holding.quantity > 0 else "SHORT"
    towards = sign(side)
    cost = holding.avg_cost
    worse = min(cost, price or cost) if side == "LONG" else max(cost, price or cost)
    stop = round(worse * (1 - towards * ESTIMATED_RISK), 2)
    pivot = setup.pivot(side) if setup is not None else stop
    if setup is not None and (worse - pivot) * towards > 0:
        stop = pivot
    estimated = (round(target, 2) for target in estimated_targets(side, cost, stop))
    target1, target2, target3 = setup.targets(side) if setup is not None else estimated
    return PositionAdopted(
        time=now,
        position=Position(
            trade_id=f"adopted-{symbol}-{now:%Y%m%dT%H%M%S}",
            symbol=symbol,
            con_id=holding.con_id,
            side=side,
            entry_price=cost,
            entry_time=now,
            shares=abs(holding.quantity),
            held=abs(holding.quantity),
            pivot=pivot,
            target1=target1,
            target2=target2,
            target3=target3,
            stop_price=stop,
            initial_stop=stop,
            path="adopted",
            recovery="adopted",
            estimated=True,
        ),
    )


def acceptance(
    state: TraderState, symbol: str, holding: BrokerPosition | None, setup: Setup | None, now: datetime
) -> list[Event]:
    """The operator accepts IBKR's count of a symbol in conflict: the trade ends, and IBKR's position is adopted."""
    events: list[Event] = []
    position = state.positions.get(symbol)
    if position is not None:
        events.append(
            PositionAdjusted(
                time=now, symbol=symbol, held=0, price=position.entry_price, reason="accepted_from_broker"
            )
        )
    if holding is not None and holding.quantity:
        events.append(adoption(symbol, holding, setup, None, now))
    if symbol in state.halted:
        events.append(SymbolReleased(time=now, symbol=symbol))
    return events
