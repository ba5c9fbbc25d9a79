"""The account's side put together: market, ledger, book, engine and desk, without any network."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from paper_gateway.accounts import Figures, Ledger, OpeningPosition
from paper_gateway.contract_lookup import Directory
from paper_gateway.engine import Engine
from paper_gateway.execution_log import Blotter
from paper_gateway.faults import Faults
from paper_gateway.market import ContractInfo, Market
from paper_gateway.order_entry import Desk
from paper_gateway.order_store import Book

FIRST_PERM_ID = 2_150_000_000
"""Above 2^31, which real permanent ids exceed too, so that clients meet it."""


class Brokerage:
    """Everything that outlives a connection."""

    def __init__(
        self, market: Market, accounts: Sequence[str], cash: float, opening: Sequence[OpeningPosition]
    ) -> None:
        self.instance = secrets.randbits(32)
        self.gateway_id = f"{self.instance:08x}"
        self.market = market
        self.faults = Faults()
        self.ledger = Ledger(accounts, cash, opening)
        self.book = Book(FIRST_PERM_ID + self.instance % 1_000_000 * 1000)
        self.blotter = Blotter(self.instance)
        self.directory = Directory(market)
        for one in opening:
            self.directory.info(one.symbol)
        self.engine = Engine(market, self.directory, self.ledger, self.book, self.blotter, self.faults)
        self.desk = Desk(self.engine)

    @property
    def accounts(self) -> tuple[str, ...]:
        return self.ledger.accounts

    def info(self, symbol: str) -> ContractInfo:
        return self.directory.info(symbol)

    def last(self, symbol: str) -> float:
        """The price positions are valued at, in USD."""
        return self.engine.touch(symbol).last

    def figures(self, account: str) -> Figures:
        return self.ledger.figures(account, self.last)
