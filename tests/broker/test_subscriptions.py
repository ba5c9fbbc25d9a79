"""Subscriptions: refusals, delayed data, renewals, the order of requests, and IBKR's pacing of real-time bars."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from queued_broker import QueuedBroker
from scripted_tws import Fields, ScriptedTws, scripted_tws

from trader.broker.ibkr import pacing, subscriptions
from trader.broker.port import BarFact, DataFact, Fact, MessageFact, PricesFact

BOUND_S = 5.0
ASK_PRICES, END_PRICES, ASK_BARS, END_BARS = 1, 2, 50, 51
NOT_SUBSCRIBED = "Requested market data is not subscribed."
TRADED = 1_759_759_200


@asynccontextmanager
async def session() -> AsyncIterator[tuple[QueuedBroker, ScriptedTws]]:
    async with scripted_tws() as tws:
        broker = QueuedBroker("127.0.0.1", tws.port, 2001)
        await broker.connect()
        try:
            yield broker, tws
        finally:
            await broker.disconnect()


async def settled(broker: QueuedBroker) -> list[Fact]:
    """The facts so far, once everything sent before was answered; what follows from them was sent."""
    for _ in range(2):
        async with asyncio.timeout(BOUND_S):
            await broker.current_time()
    found = []
    while not broker.queue.empty():
        found.append(broker.queue.get_nowait())
    return found


async def data_facts(broker: QueuedBroker) -> list[DataFact]:
    return [fact for fact in await settled(broker) if isinstance(fact, DataFact)]


def asked(tws: ScriptedTws, kind: int) -> list[str]:
    """The symbols of the requests of this kind, in their order."""
    return [fields[4] for fields in tws.of_kind(kind)]


def ids(tws: ScriptedTws, symbol: str = "TSLA") -> tuple[int, int]:
    """The last request ids of a symbol's bars and prices."""
    bars = [int(fields[2]) for fields in tws.of_kind(ASK_BARS) if fields[4] == symbol]
    prices = [int(fields[2]) for fields in tws.of_kind(ASK_PRICES) if fields[4] == symbol]
    return (bars[-1] if bars else 0), prices[-1]


def error(request_id: int, code: int, text: str = NOT_SUBSCRIBED) -> Fields:
    return (4, 2, request_id, code, text, "")


def price(request_id: int, value: float, kind: int = 4) -> Fields:
    return (1, 6, request_id, kind, value, 100, 0)


def data_type(request_id: int, kind: int) -> Fields:
    return (58, 1, request_id, kind)


def bar(request_id: int) -> Fields:
    return (50, 3, request_id, TRADED, 10.0, 10.5, 9.5, 10.2, 100, 10.0, 5)


async def test_both_requests_go_out_at_once() -> None:
    async with session() as (broker, tws):
        for symbol in ("TSLA", "AMD", "TSLA"):
            broker.subscribe(symbol)
        assert await data_facts(broker) == [DataFact("TSLA", "requested"), DataFact("AMD", "requested")]
        kinds = [int(fields[0]) for fields in tws.received if fields[0] in ("1", "50")]
        assert kinds == [ASK_BARS, ASK_PRICES] * 2
        assert asked(tws, ASK_BARS) == ["TSLA", "AMD"]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("code", [354, 10089, 10168, 10197, 101, 420, 456, 200, 10346, 77777])
async def test_g28_a_refusal_names_its_symbol(code: int, which: int) -> None:
    """Of the bars or of the prices, with any code that is no notice."""
    async with session() as (broker, tws):
        broker.subscribe("TSLA")
        await settled(broker)
        tws.send(error(ids(tws)[which], code))
        facts = await settled(broker)
        assert facts[:1] == [DataFact("TSLA", "refused", code, NOT_SUBSCRIBED)]
        assert not [fact for fact in facts if isinstance(fact, MessageFact)]


@pytest.mark.parametrize("code", [10090, 10091, 2117, 2152])
async def test_a_part_that_is_missing_is_no_refusal(code: int) -> None:
    async with session() as (broker, tws):
        broker.subscribe("TSLA")
        await settled(broker)
        tws.send(error(ids(tws)[1], code))
        facts = await settled(broker)
        assert [(fact.code, fact.symbol) for fact in facts if isinstance(fact, MessageFact)] == [(code, "TSLA")]
        assert not [fact for fact in facts if isinstance(fact, DataFact)]


@pytest.mark.parametrize(
    "messages",
    [
        lambda i: [error(i, 10167, "Displaying delayed market data."), data_type(i, 3), price(i, 9.0, 68)],
        lambda i: [data_type(i, 3), price(i, 9.0, 68), price(i, 8.9, 66)],
        lambda i: [data_type(i, 4)],
        lambda i: [price(i, 9.0, 68)],
    ],
    ids=["notice", "type", "frozen", "ticks alone"],
)
async def test_delayed_data_are_reported_once_and_never_as_prices(messages: Callable[[int], list[Fields]]) -> None:
    async with session() as (broker, tws):
        broker.subscribe("TSLA")
        await settled(broker)
        tws.send(*messages(ids(tws)[1]))
        facts = await settled(broker)
        (delayed,) = [fact for fact in facts if isinstance(fact, DataFact)]
        assert (delayed.symbol, delayed.kind) == ("TSLA", "delayed")
        assert not [fact for fact in facts if isinstance(fact, PricesFact)]


async def test_a_price_comes_with_the_time_of_its_trade() -> None:
    async with session() as (broker, tws):
        broker.subscribe("TSLA")
        await settled(broker)
        prices_id = ids(tws)[1]
        tws.send(price(prices_id, 10.0))
        assert PricesFact({"TSLA": 10.0}) in await settled(broker)
        tws.send((46, 6, prices_id, 45, TRADED), price(prices_id, 10.1), (46, 6, prices_id, 32, "other"))
        assert PricesFact({"TSLA": 10.1}, {"TSLA": TRADED}) in await settled(broker)
        tws.send((46, 6, prices_id, 45, TRADED + 7))  # a trade at the same price
        assert PricesFact({"TSLA": 10.1}, {"TSLA": TRADED + 7}) in await settled(broker)


# Renewing


async def test_a_renewal_asks_for_the_prices_first_and_for_bars_once_they_are_served() -> None:
    """A symbol without permission uses up no request for bars."""
    async with session() as (broker, tws):
        broker.subscribe("TSLA")
        await settled(broker)
        tws.send(error(ids(tws)[0], 354), error(ids(tws)[1], 354))
        await settled(broker)
        broker.resubscribe("TSLA")
        await settled(broker)
        assert (len(asked(tws, ASK_PRICES)), len(asked(tws, ASK_BARS))) == (2, 1)
        tws.send(error(ids(tws)[1], 354))
        await settled(broker)
        broker.resubscribe("TSLA")
        await settled(broker)
        assert (len(asked(tws, ASK_PRICES)), len(asked(tws, ASK_BARS))) == (3, 1)
        tws.send(data_type(ids(tws)[1], 1))
        facts = await data_facts(broker)
        assert facts == [DataFact("TSLA", "current"), DataFact("TSLA", "requested")]
        assert not tws.of_kind(END_BARS), "what was refused is not cancelled"
        tws.send(bar(ids(tws)[0]))
        assert [fact.symbol for fact in await settled(broker) if isinstance(fact, BarFact)] == ["TSLA"]


async def test_bars_are_asked_for_although_nothing_is_said_about_the_prices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscriptions, "UNANSWERED_S", 0.05)
    monkeypatch.setattr(pacing, "IDENTICAL_S", 0.0)
    async with session() as (broker, tws):
        broker.subscribe("TSLA")
        await settled(broker)
        first = ids(tws)[0]
        broker.resubscribe("TSLA")
        await settled(broker)
        assert not tws.of_kind(END_BARS), "the subscription stays until the new request is sent"
        await asyncio.sleep(0.1)
        await settled(broker)
        assert ids(tws)[0] != first
        assert [int(fields[2]) for fields in tws.of_kind(END_BARS)] == [first]


async def test_no_bars_are_asked_for_while_data_are_delayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "UNANSWERED_S", 0.05)
    async with session() as (broker, tws):
        broker.subscribe("TSLA")
        await settled(broker)
        tws.send(error(ids(tws)[0], 420, "Invalid Real-time Query"), data_type(ids(tws)[1], 3))
        await settled(broker)
        broker.resubscribe("TSLA")
        await settled(broker)
        tws.send(data_type(ids(tws)[1], 3))
        await asyncio.sleep(0.1)
        await settled(broker)
        assert len(asked(tws, ASK_BARS)) == 1
        monkeypatch.setattr(pacing, "IDENTICAL_S", 0.0)
        tws.send(data_type(ids(tws)[1], 1))
        assert await data_facts(broker) == [DataFact("TSLA", "current"), DataFact("TSLA", "requested")]


async def test_prices_give_their_line_back_where_the_bars_get_none() -> None:
    async with session() as (broker, tws):
        broker.subscribe("TSLA")
        await settled(broker)
        bars_id, prices_id = ids(tws)
        tws.send(error(bars_id, 101))
        await settled(broker)
        assert [int(fields[2]) for fields in tws.of_kind(END_PRICES)] == [prices_id]
        tws.send(price(prices_id, 10.0), data_type(prices_id, 3))
        assert not await settled(broker), "what still comes of it is ignored"


# Order and pacing


async def test_preferred_symbols_go_first_after_a_reconnect() -> None:
    async with session() as (broker, tws):
        for symbol in ("TSLA", "AMD", "NVDA"):
            broker.subscribe(symbol)
        broker.prefer(("NVDA",))
        await settled(broker)
        await broker.connect()
        await settled(broker)
        assert asked(tws, ASK_BARS) == ["TSLA", "AMD", "NVDA", "NVDA", "TSLA", "AMD"]
        assert asked(tws, ASK_PRICES) == asked(tws, ASK_BARS)


async def test_bars_above_the_limit_wait_their_turn_and_prices_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "BARS_MAX", 2)
    monkeypatch.setattr(pacing, "BARS_WINDOW_S", 0.6)
    async with session() as (broker, tws):
        for symbol in ("TSLA", "AMD", "NVDA", "KO"):
            broker.subscribe(symbol)
        broker.prefer(("KO",))
        facts = await data_facts(broker)
        assert [(fact.symbol, fact.kind) for fact in facts] == [
            ("TSLA", "requested"),
            ("AMD", "requested"),
            ("NVDA", "queued"),
            ("KO", "queued"),
        ]
        assert "pacing" in facts[2].text
        assert asked(tws, ASK_PRICES) == ["TSLA", "AMD", "NVDA", "KO"]
        await asyncio.sleep(0.7)
        assert await data_facts(broker) == [DataFact("KO", "requested"), DataFact("NVDA", "requested")]


async def test_a_renewal_waits_15_seconds_and_what_ibkr_has_ended_does_not() -> None:
    async with session() as (broker, tws):
        broker.subscribe("TSLA")
        await settled(broker)
        tws.send((4, 2, ids(tws)[0], 10225, "Bust event occurred", ""))
        assert DataFact("TSLA", "requested") in await settled(broker)
        broker.resubscribe("TSLA")
        await settled(broker)
        tws.send(data_type(ids(tws)[1], 1))
        kinds = [fact.kind for fact in await data_facts(broker)]
        assert kinds == ["current", "queued"]
        tws.send((4, 2, -1, 1101, "restored, data lost", ""))
        assert DataFact("TSLA", "requested") in await settled(broker)


async def test_a_lost_connection_ends_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer of the queue finds no connection; the next one subscribes to all."""
    monkeypatch.setattr(pacing, "BARS_MAX", 1)
    monkeypatch.setattr(pacing, "BARS_WINDOW_S", 0.3)
    async with session() as (broker, tws):
        broker.subscribe("TSLA")
        broker.subscribe("AMD")
        await settled(broker)
        tws.hang_up()
        await asyncio.sleep(0.4)
        broker.resubscribe("TSLA")
        await broker.connect()
        await settled(broker)
        assert asked(tws, ASK_BARS) == ["TSLA", "TSLA"]
        await asyncio.sleep(0.4)
        await settled(broker)
        assert asked(tws, ASK_BARS) == ["TSLA", "TSLA", "AMD"]


@pytest.mark.parametrize(("code", "counts"), [(354, False), (101, False), (420, True), (456, True)])
async def test_only_a_refusal_for_pacing_counts(monkeypatch: pytest.MonkeyPatch, code: int, counts: bool) -> None:
    """Another refusal gives the turn to the next symbol."""
    monkeypatch.setattr(pacing, "BARS_MAX", 1)
    async with session() as (broker, tws):
        broker.subscribe("TSLA")
        broker.subscribe("AMD")
        await settled(broker)
        tws.send(error(ids(tws)[0], code))
        kinds = [(fact.symbol, fact.kind) for fact in await data_facts(broker)]
        assert kinds == [("TSLA", "refused")] + ([] if counts else [("AMD", "requested")])
