"""The events of the engine: one record for each change of an order, execution or position."""

from __future__ import annotations

from dataclasses import dataclass

from paper_gateway.execution_log import Execution
from paper_gateway.orders import Order


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """The order was accepted, modified, activated, triggered or resized.

    pairs: how many pairs of openOrder and orderStatus report it.
    """

    order: Order
    pairs: int = 2


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """The order was cancelled. Its client gets the status, then error 202 with the text."""

    order: Order
    text: str = "Order Canceled - reason:"


@dataclass(frozen=True, slots=True)
class OrderRejected:
    """IBKR rejected the order. Its client gets the error, then the pair."""

    order: Order
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class OrderNotice:
    """An error frame about an order that stays as it is: a warning such as 399, or a refused change."""

    order: Order
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Executed:
    """A fill, with its commission."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class ExecutionCorrected:
    """`execution` replaces an earlier one."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class PositionChanged:
    """The shares or the average cost of one symbol changed in one account."""

    account: str
    symbol: str


@dataclass(frozen=True, slots=True)
class OrderBound:
    """A manual order got an API order id of client 0."""

    order: Order


Event = (
    OrderChanged
    | OrderCancelled
    | OrderRejected
    | OrderNotice
    | Executed
    | ExecutionCorrected
    | PositionChanged
    | OrderBound
)
