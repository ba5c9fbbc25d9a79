"""A raw API client that tells the order messages it gets as short texts, in their order."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from gateway_helpers import UNTYPED, WAIT_S, RawClient, decoded, stock

OPEN_ORDER, ORDER_STATUS, ERROR, EXECUTION, COMMISSION, TIME = "5", "3", "4", "11", "59", "49"


def pair(order_id: int, status: str, why_held: str = "") -> list[str]:
    """openOrder and orderStatus of one order, as OrderClient tells them."""
    return [f"open {order_id} {status}", f"status {order_id} {status} {why_held}".rstrip()]


def ended(order_id: int) -> list[str]:
    """The end of a cancelled order."""
    return [f"status {order_id} Cancelled", f"error {order_id} 202"]


def order(action: str, order_type: str, quantity: float = 10, **fields: Any) -> Any:
    """An order of ib_insync with GTC as its time in force, unless another is given."""
    return UNTYPED.Order(
        **({"action": action, "totalQuantity": quantity, "orderType": order_type, "tif": "GTC"} | fields)
    )


@dataclass
class Report:
    """What the newest openOrder of an order says."""

    contract: Any
    order: Any
    state: Any


class OrderClient(RawClient):
    """Keeps the newest openOrder of each order in `reports`, and all messages in `messages`."""

    def __init__(self, port: int, client_id: int = 1) -> None:
        super().__init__(port, client_id)
        self.reports: dict[int, Report] = {}
        self.messages: list[list[str]] = []

    def said(self) -> list[str]:
        """The order messages up to the answer to a question that is asked now."""
        self.send(TIME, "1")
        texts: list[str] = []
        while (message := self.read())[0] != TIME:
            texts += self._told(message)
        return texts

    def until(self, text: str) -> list[str]:
        """The order messages up to the first with this text; TimeoutError after WAIT_S."""
        deadline = time.monotonic() + WAIT_S
        texts: list[str] = []
        while text not in texts:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no message {text!r} among {texts}")
            texts += self._told(self.read())
        return texts

    def placed(self, order_id: int, one: Any, symbol: str = "TSLA") -> list[str]:
        """Place or change an order; what is said about it at once."""
        self.place(order_id, one, stock(symbol))
        return self.said()

    def cancelled(self, order_id: int) -> list[str]:
        """Cancel an order; what is said about it at once."""
        self.send("4", "1", order_id, "")
        return self.said()

    def bracket(self, parent: Any, *children: Any, first_id: int = 1) -> list[str]:
        """Place a bracket whose last order transmits it; what is said about it at once."""
        for number, one in enumerate((parent, *children)):
            one.transmit = number == len(children)
            one.parentId = first_id if number else 0
            self.place(first_id + number, one)
        return self.said()

    def listed(self) -> list[str]:
        """The open orders of all clients, as `status` texts."""
        self.send("16", "1")
        return sorted(text for text in self.said() if text.startswith("status"))

    def text_of(self, code: int) -> str:
        """The text of the newest error with this code."""
        return next(one[4] for one in reversed(self.messages) if one[0] == ERROR and one[3] == str(code))

    def _told(self, message: list[str]) -> list[str]:
        self.messages.append(message)
        match message[0]:
            case "5":
                _, (order_id, contract, one, state) = decoded(message)
                self.reports[order_id] = Report(contract, one, state)
                return [f"open {order_id} {state.status}"]
            case "3":
                return [f"status {message[1]} {message[2]} {message[10]}".rstrip()]
            case "4":
                return [f"error {message[2]} {message[3]}"]
            case "11":
                return [f"exec {message[2]} {message[19]}"]
            case "59":
                return ["commission"]
        return []
