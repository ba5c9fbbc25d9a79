"""Helpers of the tests of reconciliation: IBKR's answers as values, and the plan made from them."""

from collections.abc import Collection
from typing import Any, Literal

from state_cases import ACCOUNT, STOP, TRADE, at, intended, state_after

from state.domain import events as ev
from state.domain.model import Action, TraderState
from trader.broker.port import (
    AccountValues,
    BrokerExecution,
    BrokerOrder,
    BrokerPosition,
    BrokerSnapshot,
)
from trader.core.orders.protection import Violation, violations
from trader.core.reconciliation.draft import Draft, copied
from trader.core.reconciliation.owners import others_shares
from trader.core.reconciliation.plan import Plan
from trader.core.reconciliation.reconcile import Given, reconcile
from trader.core.strategy.ps60.setups import Setup

CLIENT = 2001
CON_ID = 76792991
SETUP = Setup("TSLA", 100.0, 90.0, 103.0, 106.0, 109.0, 87.0, 84.0, 50.0)


def held(quantity: int, cost: float = 100.0, symbol: str = "TSLA") -> BrokerPosition:
    """A position of the account, signed."""
    return BrokerPosition(ACCOUNT, symbol, CON_ID, quantity, cost)


def order(
    ref: str,
    quantity: int = 100,
    *,
    action: Action = "SELL",
    stop: float | None = 99.0,
    filled: int = 0,
    status: str = "PreSubmitted",
    perm_id: int = 0,
    order_id: int = 2,
    client_id: int = CLIENT,
) -> BrokerOrder:
    """An order as IBKR lists it; by default the stop of a LONG of 100."""
    return BrokerOrder(
        order_ref=ref,
        perm_id=perm_id or 9_000 + order_id,
        order_id=order_id,
        client_id=client_id,
        account=ACCOUNT,
        symbol="TSLA",
        con_id=CON_ID,
        action=action,
        quantity=quantity,
        filled=filled,
        order_type="MKT" if stop is None else "STP",
        stop_price=stop,
        status=status,
    )


def execution(
    exec_id: str,
    ref: str,
    side: Literal["BOT", "SLD"],
    shares: int,
    price: float,
    seconds: float,
    *,
    commission: float | None = None,
    perm_id: int = 0,
) -> BrokerExecution:
    """An execution as IBKR reports it. ref: "" for a manual one."""
    return BrokerExecution(
        exec_id=exec_id,
        order_ref=ref,
        perm_id=perm_id,
        order_id=0,
        client_id=CLIENT if ref else 0,
        account=ACCOUNT,
        symbol="TSLA",
        con_id=CON_ID,
        side=side,
        shares=shares,
        price=price,
        time=at(seconds),
        cum_quantity=shares,
        commission=commission,
    )


ENTRY_FILL = execution("a.01", TRADE, "BOT", 100, 100.0, 10)
"""The entry's execution, which is in every answer of the day."""


def answer(
    *positions: BrokerPosition,
    open_orders: Collection[BrokerOrder] = (),
    completed: Collection[BrokerOrder] = (),
    executions: Collection[BrokerExecution] = (),
) -> BrokerSnapshot:
    """A complete answer."""
    return BrokerSnapshot(
        ACCOUNT,
        at(60),
        positions,
        tuple(open_orders),
        tuple(completed),
        tuple(executions),
        AccountValues(ACCOUNT, 100_000.0, 400_000.0, 50_000.0),
    )


def working_stop(quantity: int = 100, price: float = 99.0, filled: int = 0) -> BrokerOrder:
    """The own stop as IBKR lists it."""
    return order(STOP, quantity, stop=price, filled=filled)


def holding(*more: ev.Event) -> TraderState:
    """A state with LONG 100 TSLA at 100.00 and its stop at 99.00 acknowledged, after the events in `more`."""
    return state_after(
        intended(),
        intended(STOP, "stop", 100, order_id=2),
        ev.OrderAcknowledged(time=at(1), order_ref=STOP, perm_id=9_002, order_id=2),
        ev.ExecutionSeen(
            time=at(10),
            exec_id="a.01",
            order_ref=TRADE,
            symbol="TSLA",
            con_id=CON_ID,
            side="BOT",
            shares=100,
            price=100.0,
            executed_at=at(10),
        ),
        *more,
    )


def decided(
    state: TraderState, seen: BrokerSnapshot, in_flight: Collection[str] = (), **more: Any
) -> tuple[Plan, TraderState]:
    """The plan, and the state after its events; `state` itself is unchanged. more: fields of Given."""
    draft = Draft(copied(state), at(60))
    others = others_shares(state, seen.executions or (), CLIENT)
    given = Given(client_id=CLIENT, setups={"TSLA": SETUP}, in_flight=in_flight, others=others, **more)
    return reconcile(draft, seen, given), draft.state


def problems_of(state: TraderState, seen: BrokerSnapshot) -> list[Violation]:
    """Why the protection gate does not pass on this answer."""
    return violations(state, seen.open_orders or (), seen.positions or (), CLIENT)


def decisions(plan: Plan, symbol: str = "TSLA") -> list[str]:
    """The decisions on a symbol."""
    return [row.decision for row in plan.rows if row.symbol == symbol]
