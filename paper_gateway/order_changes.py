"""Changes of orders: which of them TWS and IBKR refuse, and when a change takes effect.

TWS itself refuses by the rules below, at once, with one error frame, and the order stays as it was. What IBKR
decides (the quirks) may come later, and until then the old terms work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from paper_gateway.codes import REJECTED, refusal, text_of, wrapped
from paper_gateway.engine import Engine
from paper_gateway.events import OrderChanged, OrderNotice
from paper_gateway.orders import STOP_TYPES, Order, Status, Ticket
from paper_gateway.validation import kept_tif


@dataclass(frozen=True, slots=True)
class Change:
    """A request to change an order. parent: the order that the request's parentId names, None if TWS has none."""

    order: Order
    ticket: Ticket
    symbol: str
    account: str
    shares: int
    parent: Order | None

    def apply_to(self, order: Order, shares: int) -> None:
        """Give `order` the new terms. The permanent id, the fills, the OCA group and the parent stay."""
        ticket = self.ticket
        order.quantity = shares
        order.limit_price = ticket.limit_price
        order.aux_price = ticket.aux_price
        order.trailing_percent = ticket.trailing_percent
        order.trail_stop = ticket.trail_stop_price or order.trail_stop
        order.outside_rth = ticket.outside_rth and order.order_type not in STOP_TYPES
        order.order_ref = ticket.order_ref
        order.raw = ticket.raw

    def preview(self) -> Order:
        """The order as it will be if the change is accepted."""
        order = replace(self.order)
        self.apply_to(order, self.shares)
        return order


@dataclass(frozen=True, slots=True)
class Rule:
    """The code, and the text where it is not that of TWS's table, with which a change is refused if `broken`."""

    code: int
    broken: Callable[[Change], bool]
    text: str = ""


CHANGE_RULES = (
    Rule(105, lambda c: (c.symbol, c.ticket.action) != (c.order.symbol, c.order.action)),
    Rule(422, lambda c: c.account != c.order.account),
    Rule(329, lambda c: c.ticket.order_type != c.order.order_type),
    Rule(462, lambda c: kept_tif(c.ticket.tif) != c.order.tif),
    Rule(10326, lambda c: c.ticket.oca_group not in ("", c.order.oca_group)),
    Rule(10327, lambda c: c.ticket.oca_type not in (0, c.order.oca_type)),
    Rule(135, lambda c: bool(c.ticket.parent_id) and c.parent is None, "Can't find order with id = {parent_id}"),
    Rule(10341, lambda c: c.parent is not None and c.parent is not c.order.parent),
    Rule(321, lambda c: c.shares <= c.order.filled, "The new size {shares} is not greater than what is filled."),
)
"""What TWS refuses by itself, in this order. Empty ocaGroup, ocaType and parentId are accepted as recorded."""

ECHO_RULES = (
    Rule(10326, lambda c: c.ticket.oca_group != c.order.oca_group),
    Rule(10327, lambda c: bool(c.order.oca_group) and c.ticket.oca_type != c.order.oca_type),
    Rule(10341, lambda c: c.ticket.parent_id != c.order.shown_parent_id),
    Rule(462, lambda c: kept_tif(c.ticket.tif) != c.order.tif),
)
"""With the quirk `modify-echo`: what openOrder reports must be given again."""

Refusal = tuple[int, str]


def broken_rule(rules: tuple[Rule, ...], change: Change) -> Refusal | None:
    """The refusal by the first rule that the change breaks."""
    for rule in rules:
        if rule.broken(change):
            text = rule.text.format(parent_id=change.ticket.parent_id, shares=change.shares)
            refused = wrapped(refusal(rule.code, text))
            return refused.code, refused.message
    return None


def check_changeable(order: Order) -> None:
    """Whether an order in this state can be changed at all."""
    if order.change_pending:
        raise refusal(2102)
    if not order.changeable and order.status is not Status.HELD:
        raise refusal(104)


class Changes:
    """Carries changes out, now or when the quirks let IBKR decide."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._quirks = engine.quirks

    def change(self, change: Change) -> None:
        """Change a live or untransmitted order. Raises RequestRefused."""
        order = change.order
        refused = broken_rule(CHANGE_RULES, change)
        if refused is not None:
            raise refusal(*refused)
        if order.status is Status.HELD:
            change.apply_to(order, change.shares)
        elif self._quirks.on("outage-duplicates") and self._engine.faults.outage:
            self._duplicate(change)
        else:
            self._submit(change)

    def _submit(self, change: Change) -> None:
        early = self._quirks.number("modify-early-echo")
        delay_s = self._quirks.number("modify-slow") or early
        if early is not None:
            self._engine.emit(OrderChanged(change.preview(), pairs=1))
        if not delay_s:
            self._decide(change, echoed=early is not None)
            return
        change.order.change_pending = True
        self._engine.schedule.after(delay_s, lambda: self._decide(change, echoed=early is not None))

    def _decide(self, change: Change, *, echoed: bool) -> None:
        """IBKR accepts or refuses the change. An order that ended meanwhile or is being cancelled is left alone."""
        order = change.order
        order.change_pending = False
        if not order.changeable:
            return
        refused = self._refusal(change)
        if refused is None:
            change.apply_to(order, change.shares)
            self._engine.modified(order, pairs=1 if echoed else 2)
            return
        self._engine.emit(OrderNotice(order, *refused))
        if echoed:
            self._engine.emit(OrderChanged(order, pairs=1))
        if order.parent is not None and self._quirks.on("modify-cancels"):
            self._engine.expire(order)

    def _refusal(self, change: Change) -> Refusal | None:
        order = change.order
        names = ["modify-refused-all"]
        if order.parent is not None:
            names += ["modify-cancels", "modify-refused"]
        for name in names:
            if self._quirks.on(name):
                return self._by_quirk(name)
        if self._quirks.on("modify-echo") and (order.parent is not None or order.oca_group):
            refused = broken_rule(ECHO_RULES, change)
            if refused is not None:
                return refused
        if self._quirks.on("through-refused") and self._engine.is_through(change.preview()):
            return self._by_quirk("through-refused")
        if change.shares <= order.filled:  # it filled while the change was under way
            return REJECTED, text_of(REJECTED)
        return None

    def _by_quirk(self, name: str) -> Refusal:
        refused = wrapped(refusal(self._quirks.whole(name) or REJECTED))
        return refused.code, refused.message

    def _duplicate(self, change: Change) -> None:
        """A second working order with the new terms, for what the first has not filled."""
        order = change.order
        second = replace(order, perm_id=self._engine.order_store.new_perm_id(), children=[])
        second.filled, second.shares_value, second.commission = 0, 0.0, 0.0
        change.apply_to(second, change.shares - order.filled)
        second.oca_group = ""
        if second.parent is not None and second.waits_for_parent:
            second.parent.children.append(second)
        else:
            second.parent = None
        self._engine.order_store.add(second)
        self._engine.accept(second)
        self._engine.work(second)
