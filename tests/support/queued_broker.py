"""The broker with its facts in a queue, for tests that read them."""

import asyncio
from datetime import UTC, datetime

from trader.broker.ibkr.broker import IbkrBroker
from trader.broker.port import BrokerSnapshot, Fact
from trader.runtime.reconcile_only import full_snapshot


class QueuedBroker(IbkrBroker):
    """`queue` holds the facts in the order in which they came."""

    def __init__(
        self,
        host: str,
        port: int,
        client_id: int,
        connect_timeout_s: float = 4.0,
        answer_timeout_s: float = 4.0,
    ) -> None:
        self.queue: asyncio.Queue[Fact] = asyncio.Queue()
        super().__init__(host, port, client_id, self.queue.put_nowait, connect_timeout_s, answer_timeout_s)

    async def snapshot(self, account: str) -> BrokerSnapshot:
        """All five questions, asked at once."""
        return await full_snapshot(self, account, datetime.now(UTC))
