"""The gateway's positions, orders, executions and accounts as JSON, to compare a trader's state with."""

from __future__ import annotations

from typing import Any

from paper_gateway.brokerage import Brokerage
from paper_gateway.execution_log import Execution
from paper_gateway.orders import Order


def truth(brokerage: Brokerage) -> dict[str, Any]:
    """The answer of `ctl truth`. Whole shares, prices in USD, times in ISO format.

    inactive_orders: not worked and not ended, see the quirks `inactive-*`.
    """
    return {
        "gateway_id": brokerage.gateway_id,
        "account": brokerage.account_ids[0],
        "accounts": list(brokerage.account_ids),
        "time": brokerage.engine.now.isoformat(),
        "trading_date": brokerage.market.trading_date.isoformat(),
        "positions": [
            {
                "account": account,
                "symbol": symbol,
                "con_id": brokerage.info(symbol).con_id,
                "quantity": held.quantity,
                "avg_cost": held.average_cost,
            }
            for account, symbol, held in brokerage.accounts.held()
            if held.quantity
        ],
        "open_orders": [_order(one) for one in brokerage.order_store.live()],
        "inactive_orders": [_order(one) for one in brokerage.order_store.parked()],
        "completed_orders": [_order(one) for one in brokerage.order_store.completed()],
        "executions": [_execution(one) for one in brokerage.execution_log.executions],
        "account_values": {account: _values(brokerage, account) for account in brokerage.account_ids},
    }


def _values(brokerage: Brokerage, account: str) -> dict[str, float]:
    figures = brokerage.figures(account)
    return {
        "cash": figures.cash,
        "net_liquidation": figures.net_liquidation,
        "buying_power": figures.buying_power,
        "realized_pnl": figures.realized_pnl,
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "order_ref": order.order_ref,
        "perm_id": order.perm_id,
        "order_id": order.order_id,
        "client_id": order.client_id,
        "account": order.account,
        "symbol": order.symbol,
        "con_id": order.con_id,
        "action": order.action,
        "quantity": order.quantity,
        "filled": order.filled,
        "remaining": order.remaining,
        "order_type": order.order_type,
        "limit_price": order.limit_price,
        "aux_price": order.trail_stop if order.order_type == "TRAIL" else order.aux_price,
        "tif": order.tif,
        "parent_perm_id": order.parent.perm_id if order.parent else 0,
        "oca_group": order.oca_group,
        "status": order.status.value,
        "why_held": order.why_held,
        "time": order.accepted_at.isoformat(),
        "completed_time": order.completed_at.isoformat() if order.completed_at else None,
    }


def _execution(one: Execution) -> dict[str, Any]:
    order = one.order
    return {
        "exec_id": one.exec_id,
        "order_ref": order.order_ref,
        "perm_id": order.perm_id,
        "order_id": order.order_id,
        "client_id": order.client_id,
        "account": order.account,
        "symbol": order.symbol,
        "con_id": order.con_id,
        "side": one.side,
        "shares": one.shares,
        "price": one.price,
        "time": one.time.isoformat(),
        "cum_qty": one.cum_qty,
        "commission": one.commission,
        "realized_pnl": one.realized_pnl,
        "superseded": one.superseded,
    }
