"""What the engine tells the outside: one small record for each thing that happened."""

from __future__ import annotations

from dataclasses import dataclass

from paper_gateway.execution_log import Execution
from paper_gateway.orders import Order


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """The order was accepted, modified, activated, triggered or resized."""

    order: Order


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """The order was cancelled; its owner gets the status and then error 202 with the text."""

    order: Order
    text: str = "Order Canceled - reason:"


@dataclass(frozen=True, slots=True)
class OrderRejected:
    """The order was accepted for processing and refused by the exchange's side."""

    order: Order
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class OrderNotice:
    """A warning about an order that stays alive (399 and the like)."""

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
    """Shares or cost of one symbol changed in one account."""

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
