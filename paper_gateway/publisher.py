"""Turns the engine's events into messages for the clients concerned. The sequences of messages are those
recorded from a real IB Gateway."""

from __future__ import annotations

import math

from paper_gateway import replies
from paper_gateway.account_messages import (
    account_multi,
    account_rows,
    account_time,
    portfolio_frames,
    summary_rows,
)
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
from paper_gateway.execution_log import Execution
from paper_gateway.order_encoder import encode_open, encode_status
from paper_gateway.orders import Order
from paper_gateway.position_view import PositionView
from paper_gateway.session import Session
from paper_gateway.wire import Field


class Publisher:
    """Keeps the sessions of connected clients by client id. The engine passes its events to `publish`."""

    def __init__(self, brokerage: Brokerage) -> None:
        self.sessions: dict[int, Session] = {}
        self.positions = PositionView(brokerage)
        self._brokerage = brokerage

    def publish(self, event: Event) -> None:
        """Send the event to the clients concerned. During an outage nothing is sent, then or later.

        Orders and executions go only to the client that placed the order. Manual orders have client id 0,
        so they go to client 0.
        """
        if isinstance(event, PositionChanged):
            self.positions.changed(event.account, event.symbol)
        if self._brokerage.faults.outage:
            return
        match event:
            case PositionChanged(account, symbol):
                self._position_changed(account, symbol)
            case Executed(execution) | ExecutionCorrected(execution):
                owner = self._owner(execution.order)
                if owner is None:
                    return
                owner.send("exec_details", *self.execution_frames(-1, execution))
                if isinstance(event, Executed):
                    self._pair(owner, execution.order)
                    self._pair(owner, execution.order, with_commission=True)
                self._tell_commission(owner, execution)
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

    def execution_frames(self, request_id: int, execution: Execution) -> list[bytes]:
        """execDetails, twice with the quirk `repeat-executions`. request_id: -1 if no request asked for it."""
        info, quirks = self._brokerage.info(execution.order.symbol), self._brokerage.quirks
        frame = replies.execution(request_id, execution, info, quirks.text("times"))
        return [frame] * (2 if quirks.on("repeat-executions") else 1)

    def is_commission_known(self, execution: Execution) -> bool:
        """Whether the commission report may be sent by now (quirk `late-commissions`)."""
        return execution.age_s >= self._commission_delay_s

    @property
    def _commission_delay_s(self) -> float:
        quirks = self._brokerage.quirks
        if quirks.text("late-commissions") == "never":
            return math.inf
        return quirks.number("late-commissions") or 0.0

    def _tell_commission(self, owner: Session, execution: Execution) -> None:
        frame = replies.commission(execution)
        if self._commission_delay_s < math.inf:
            owner.after(self._commission_delay_s, lambda: self._unless_out(owner, "commission", frame))

    def _unless_out(self, session: Session, kind: str, frame: bytes) -> None:
        """Send what was due later, unless an outage has begun by now."""
        if not self._brokerage.faults.outage:
            session.send(kind, frame)

    def refresh_accounts(self) -> None:
        """Send the regular update to all account subscriptions (TWS sends one every three minutes)."""
        for session in self.sessions.values():
            wanted = session.subscriptions
            for account in wanted.accounts:
                self.send_account(session, account)
                for _, symbol, held in self._brokerage.accounts.held(account):
                    if held.quantity:
                        session.send("account", *portfolio_frames(self._brokerage, account, symbol))
            for request_id in wanted.account_multi:
                self.send_account_multi(session, request_id)
            for request_id, tags in wanted.summaries.items():
                session.send("account", *summary_rows(self._brokerage, request_id, tags))

    def send_account(self, session: Session, account: str) -> None:
        """The values of an account, and the time."""
        rows = account_rows(self._brokerage, account, ready=self.is_account_ready(session))
        session.send("account", *rows, account_time(self._brokerage))

    def send_account_multi(self, session: Session, request_id: int) -> None:
        account = session.subscriptions.account_multi[request_id]
        ready = self.is_account_ready(session)
        session.send("account", *account_multi(self._brokerage, request_id, account, ready=ready))

    def is_account_ready(self, session: Session) -> bool:
        """Whether the values may be told to the client by now (quirk `account-unready`)."""
        return session.age_s >= (self._brokerage.quirks.number("account-unready") or 0.0)

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
                self._tell_position(session, self.positions.frame(account, symbol))
            if account in session.subscriptions.accounts and self.is_account_ready(session):
                session.send("account", *portfolio_frames(self._brokerage, account, symbol))
                self.send_account(session, account)

    def _tell_position(self, session: Session, frame: bytes) -> None:
        def tell() -> None:
            if session.subscriptions.positions:
                self._unless_out(session, "positions", frame)

        session.after(self.positions.lag_s, tell)
