"""The account's values as a real gateway sends them: rows twice, ledger rows of `All`, two end markers."""

import pytest
from queued_broker import QueuedBroker
from scripted_tws import ACCOUNT, scripted_tws
from yen_account import RATE, in_yen

from trader.broker.port import AccountValues


async def test_g27_currency_and_rate_are_read_from_the_account() -> None:
    """Also a second time: what came after the first end marker disturbs nothing."""
    async with scripted_tws(in_yen()) as tws:
        broker = QueuedBroker("127.0.0.1", tws.port, 2001, answer_timeout_s=1.0)
        await broker.connect()
        for _ in range(2):
            (values,) = await broker.ask("account", ACCOUNT)
            assert isinstance(values, AccountValues)
            assert (values.net_liquidation, values.buying_power, values.cash) == (15e6, 60e6, 14e6)
            assert (values.currency, values.exchange_rate) == ("JPY", RATE)
            dollars = values.in_dollars()
            assert dollars is not None
            assert dollars.net_liquidation == pytest.approx(15e6 / RATE)
        await broker.current_time()
        assert len(tws.of_kind(63)) == 2, "each subscription is ended: IBKR allows two"
        await broker.disconnect()
