"""Everything the gateway keeps between connections: accounts, orders, executions, engine. No network code."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from paper_gateway.accounts import Accounts, Figures, OpeningPosition
from paper_gateway.contract_lookup import ContractLookup
from paper_gateway.engine import Engine
from paper_gateway.execution_log import ExecutionLog
from paper_gateway.faults import Faults
from paper_gateway.market import ContractInfo, Market
from paper_gateway.order_entry import OrderEntry
from paper_gateway.order_store import OrderStore
from paper_gateway.quirks import Quirks

FIRST_PERM_ID = 2_150_000_000
"""Above 2^31, as real permanent ids are."""


class Brokerage:
    """The broker's side of the gateway; it outlives every connection."""

    def __init__(
        self,
        market: Market,
        account_ids: Sequence[str],
        cash: float,
        opening: Sequence[OpeningPosition],
        quirks: Quirks | None = None,
    ) -> None:
        self.instance = secrets.randbits(32)
        self.gateway_id = f"{self.instance:08x}"
        self.market = market
        self.faults = Faults()
        self.quirks = quirks or Quirks()
        self.accounts = Accounts(account_ids, cash, opening)
        self.order_store = OrderStore(FIRST_PERM_ID + self.instance % 1_000_000 * 1000)
        self.execution_log = ExecutionLog(self.instance)
        self.contracts = ContractLookup(market)
        for one in opening:
            self.contracts.info(one.symbol)
        self.engine = Engine(
            market, self.contracts, self.accounts, self.order_store, self.execution_log, self.faults, self.quirks
        )
        self.order_entry = OrderEntry(self.engine)

    @property
    def account_ids(self) -> tuple[str, ...]:
        return self.accounts.ids

    def info(self, symbol: str) -> ContractInfo:
        return self.contracts.info(symbol)

    def last(self, symbol: str) -> float:
        """The last price, at which positions are valued, in USD."""
        return self.engine.touch(symbol).last

    def figures(self, account: str) -> Figures:
        return self.accounts.figures(account, self.last)
