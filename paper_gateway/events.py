"""The events of the engine: one record for each change of an order, execution or position."""

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
    """The order was cancelled. Its client gets the status, then error 202 with the text."""

    order: Order
    text: str = "Order Canceled - reason:"


@dataclass(frozen=True, slots=True)
class OrderRejected:
    """The order was accepted by the gateway and rejected by the exchange."""

    order: Order
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class OrderNotice:
    """A warning about an order that stays live (such as 399)."""

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
