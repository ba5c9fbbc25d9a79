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
from paper_gateway.yesterday import Yesterday, day_before

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
        symbols: Sequence[str] = (),
    ) -> None:
        """symbols: stocks that are known besides the listed ones."""
        self.instance = secrets.randbits(32)
        self.gateway_id = f"{self.instance:08x}"
        self.market = market
        self.faults = Faults()
        self.quirks = quirks or Quirks()
        self.accounts = Accounts(account_ids, cash, opening)
        self.order_store = OrderStore(FIRST_PERM_ID + self.instance % 1_000_000 * 1000)
        self.execution_log = ExecutionLog(self.instance)
        self.contracts = ContractLookup(market, (*symbols, *(one.symbol for one in opening)))
        for one in opening:
            self.contracts.info(one.symbol)
        self.engine = Engine(
            market, self.contracts, self.accounts, self.order_store, self.execution_log, self.faults, self.quirks
        )
        self.order_entry = OrderEntry(self.engine)
        self.yesterday = Yesterday()
        self.quirks.watchers.append(self._quirk_changed)
        self._quirk_changed("yesterday")

    def _quirk_changed(self, name: str) -> None:
        if name != "yesterday":
            return
        self.yesterday = Yesterday()
        if self.quirks.on("yesterday"):
            self.yesterday = day_before(
                self.market.trading_date,
                self.execution_log.executions,
                self.order_store.completed(),
                self.account_ids[0],
                self.info(self.market.symbols[0]),
            )

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
