"""Turns the engine's events into messages for the clients concerned. The sequences of messages are those
recorded from a real IB Gateway."""

from __future__ import annotations

from paper_gateway import replies
from paper_gateway.account_messages import account_multi, account_rows, account_summary, portfolio_frame
from paper_gateway.brokerage import Brokerage
from paper_gateway.events import (
    Event,
    Executed,
    ExecutionCorrected,
    OrderBound,
    OrderCancelled,
    OrderChanged,
    OrderNotice,
    OrderRejected,
    PositionChanged,
)
from paper_gateway.order_encoder import encode_open, encode_status
from paper_gateway.orders import Order
from paper_gateway.session import Session
from paper_gateway.wire import Field


class Publisher:
    """Keeps the sessions of connected clients by client id. The engine passes its events to `publish`."""

    def __init__(self, brokerage: Brokerage) -> None:
        self.sessions: dict[int, Session] = {}
        self._brokerage = brokerage

    def publish(self, event: Event) -> None:
        """Send the event to the clients concerned. During an outage nothing is sent, then or later.

        Orders and executions go only to the client that placed the order. Manual orders have client id 0,
        so they go to client 0.
        """
        if self._brokerage.faults.outage:
            return
        match event:
            case PositionChanged(account, symbol):
                self._position_changed(account, symbol)
            case Executed(execution) | ExecutionCorrected(execution):
                owner = self._owner(execution.order)
                if owner is None:
                    return
                info = self._brokerage.info(execution.order.symbol)
                owner.send("exec_details", replies.execution(-1, execution, info))
                if isinstance(event, Executed):
                    self._pair(owner, execution.order)
                    self._pair(owner, execution.order, with_commission=True)
                owner.send("commission", replies.commission(execution))
            case _:
                owner = self._owner(event.order)
                if owner is not None:
                    self._order_event(owner, event)

    def _order_event(
        self, owner: Session, event: OrderChanged | OrderCancelled | OrderRejected | OrderNotice | OrderBound
    ) -> None:
        order = event.order
        match event:
            case OrderChanged(pairs=pairs):
                self._pair(owner, order, times=pairs)
            case OrderCancelled(text=text):
                owner.send("order_status", encode_status(order))
                self._order_error(owner, order, 202, text)
            case OrderRejected(code=code, text=text):
                self._order_error(owner, order, code, text)
                self._pair(owner, order)
            case OrderNotice(code=code, text=text):
                self._order_error(owner, order, code, text)
            case OrderBound():
                bound = replies.order_bound(order.perm_id, order.client_id, order.order_id)
                owner.send("order_status", bound)
                self._pair(owner, order)

    def refresh_accounts(self) -> None:
        """Send the regular update to all account subscriptions (TWS sends one every three minutes)."""
        for session in self.sessions.values():
            wanted = session.subscriptions
            for account in wanted.accounts:
                session.send("account", *account_rows(self._brokerage, account))
                for _, symbol, held in self._brokerage.accounts.held(account):
                    if held.quantity:
                        session.send("account", portfolio_frame(self._brokerage, account, symbol))
            for request_id, account in wanted.account_multi.items():
                session.send("account", *account_multi(self._brokerage, request_id, account)[:-1])
            for request_id, tags in wanted.summaries.items():
                session.send("account", *account_summary(self._brokerage, request_id, tags)[:-1])

    def position_frame(self, account: str, symbol: str) -> bytes:
        held = self._brokerage.accounts.position(account, symbol)
        return replies.position(account, self._brokerage.info(symbol), held)

    def _owner(self, order: Order) -> Session | None:
        return self.sessions.get(order.client_id)

    @staticmethod
    def _pair(owner: Session, order: Order, *, times: int = 1, with_commission: bool = False) -> None:
        state: dict[str, Field] = {}
        if with_commission:
            state = {"commission": order.commission, "commissionCurrency": "USD"}
        frames = (encode_open(order, owner.version, state), encode_status(order))
        owner.send("order_status", *(frames * times))

    @staticmethod
    def _order_error(owner: Session, order: Order, code: int, text: str) -> None:
        owner.send("order_status", replies.error(order.order_id, code, text, owner.version))

    def _position_changed(self, account: str, symbol: str) -> None:
        for session in self.sessions.values():
            if session.subscriptions.positions:
                session.send("positions", self.position_frame(account, symbol))
            if account in session.subscriptions.accounts:
                session.send("account", portfolio_frame(self._brokerage, account, symbol))
                session.send("account", *account_rows(self._brokerage, account))
