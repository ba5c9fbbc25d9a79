"""All executions of the day, with their ids, commissions and corrections."""

from __future__ import annotations

import time as clock
from dataclasses import dataclass, field, replace
from datetime import datetime

from paper_gateway.orders import Order, Status

COMMISSION_PER_SHARE = 0.005
COMMISSION_MIN = 1.0
COMMISSION_MAX_RATE = 0.01


def commission(shares: int, price: float) -> float:
    """IBKR Pro's fixed price for US stocks in USD: 0.005 a share, at least 1, at most 1 % of the value."""
    value = shares * price
    return round(min(max(shares * COMMISSION_PER_SHARE, COMMISSION_MIN), value * COMMISSION_MAX_RATE), 6)


@dataclass(slots=True, eq=False)
class Execution:
    """One fill. realized_pnl: None for a fill that closes nothing. Prices in USD, time in US/Eastern.

    made_s: when it was made, in seconds of the monotonic clock.
    """

    exec_id: str
    order: Order
    shares: int
    price: float
    time: datetime
    cum_qty: int
    average_price: float
    commission: float
    realized_pnl: float | None = None
    superseded: bool = False
    made_s: float = field(default_factory=clock.monotonic)

    @property
    def age_s(self) -> float:
        """Seconds of real time since the fill."""
        return clock.monotonic() - self.made_s

    @property
    def side(self) -> str:
        return "BOT" if self.order.action == "BUY" else "SLD"

    @property
    def signed_shares(self) -> int:
        return self.order.sign * self.shares


class ExecutionLog:
    """The executions of all accounts, in time order."""

    def __init__(self, instance: int) -> None:
        """instance: a random number of this run, part of every execution id, so that runs do not share ids."""
        self.executions: list[Execution] = []
        self._instance = instance & 0xFFFFFFFF

    def record(self, order: Order, shares: int, price: float, time: datetime) -> Execution:
        """Add a fill of `order`. The order's own counts must be updated before."""
        exec_id = f"{self._instance:08x}.{len(self.executions) + 1:08x}.01.01"
        execution = Execution(
            exec_id, order, shares, price, time, order.filled, order.average_price, commission(shares, price)
        )
        self.executions.append(execution)
        return execution

    def find(self, exec_id: str) -> Execution | None:
        return next((one for one in self.executions if one.exec_id == exec_id), None)

    def correct(self, wrong: Execution, shares: int, price: float) -> Execution:
        """Replace `wrong` by a new execution whose id differs after the last dot only (.01 becomes .02).

        IBKR reports a correction in this way (Execution class reference). The new one is inserted right
        after the old one, so that the log stays in time order.
        """
        stem, _, revision = wrong.exec_id.rpartition(".")
        order = wrong.order
        order.filled += shares - wrong.shares
        order.shares_value += shares * price - wrong.shares * wrong.price
        right = replace(
            wrong,
            exec_id=f"{stem}.{int(revision) + 1:02d}",
            shares=shares,
            price=price,
            cum_qty=wrong.cum_qty + shares - wrong.shares,
            average_price=order.average_price,
            commission=commission(shares, price),
            realized_pnl=None,
            made_s=clock.monotonic(),
        )
        if order.status is Status.FILLED:
            order.quantity = order.filled
        wrong.superseded = True
        self.executions.insert(self.executions.index(wrong) + 1, right)
        return right
