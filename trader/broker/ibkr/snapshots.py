"""One broker snapshot out of the answers, or `Unknown` with the missing parts. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from trader.broker.ibkr.known_orders import KnownOrders
from trader.broker.ibkr.questions import ACCOUNT_VALUES, COMPLETED_ORDERS, EXECUTIONS, OPEN_ORDERS, POSITIONS
from trader.broker.ibkr.translate import account_values_of, with_executions
from trader.broker.port import BrokerAnswer, BrokerExecution, BrokerOrder, BrokerPosition, BrokerSnapshot, Unknown

PARTS = (POSITIONS, OPEN_ORDERS, COMPLETED_ORDERS, EXECUTIONS, ACCOUNT_VALUES)
_QUESTIONS = (POSITIONS, OPEN_ORDERS, COMPLETED_ORDERS, EXECUTIONS, EXECUTIONS, ACCOUNT_VALUES)


def build_snapshot(
    account: str,
    taken_at: datetime,
    answers: Sequence[list[Any] | BaseException],
    orders: KnownOrders,
    commissions: Mapping[str, float],
) -> BrokerAnswer:
    """The account's snapshot.

    answers: the rows (or the error) of positions, open orders as (client id, order id, permId), completed orders,
    executions of all clients, executions of this client, and account values, in this order. orders: the newest
    description of each open order. commissions: the reports, by execution id.
    """
    missing = {name: str(found) for name, found in zip(_QUESTIONS, answers, strict=True) if _lost(found)}
    if missing:
        return Unknown(tuple(name for name in PARTS if name in missing), " ".join(dict.fromkeys(missing.values())))
    positions, open_ids, completed, of_all_clients, of_this_client, account_rows = (
        list(rows)  # type: ignore[arg-type]
        for rows in answers
        if not _lost(rows)
    )
    values = account_values_of(account, account_rows)
    if values is None:
        return Unknown((ACCOUNT_VALUES,), f"IBKR's answer does not have all values of account {account}.")
    executions = _executions(account, [*of_all_clients, *of_this_client], commissions)
    return BrokerSnapshot(
        account=account,
        taken_at=taken_at,
        positions=_positions(account, positions),
        open_orders=_open_orders(account, open_ids, orders, executions),
        completed_orders=tuple({o.perm_id: o for o in completed if o.account == account}.values()),
        executions=executions,
        values=values,
    )


def _lost(answer: object) -> bool:
    return isinstance(answer, BaseException)


def _positions(account: str, rows: list[BrokerPosition]) -> tuple[BrokerPosition, ...]:
    newest = {row.con_id: row for row in rows if row.account == account}
    return tuple(row for row in newest.values() if row.quantity)


def _executions(
    account: str, rows: list[BrokerExecution], commissions: Mapping[str, float]
) -> tuple[BrokerExecution, ...]:
    """Each execution once, with the commission if it was reported, in time order."""
    once = {row.exec_id: row for row in rows if row.account == account}
    joined = (replace(row, commission=commissions.get(row.exec_id, row.commission)) for row in once.values())
    return tuple(sorted(joined, key=lambda row: row.time))


def _open_orders(
    account: str, ids: list[tuple[int, int, int]], orders: KnownOrders, executions: tuple[BrokerExecution, ...]
) -> tuple[BrokerOrder, ...]:
    found: dict[tuple[int, int, int], BrokerOrder] = {}
    for key in ids:
        order = orders.find(*key)
        if order is not None and order.account == account and not order.is_closed:
            found[key] = with_executions(order, executions)
    return tuple(found.values())
