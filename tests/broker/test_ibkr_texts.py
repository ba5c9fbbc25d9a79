"""Texts of IBKR with control characters: every value that the broker port reports is printable."""

from typing import Any

import msgspec
from queued_broker import QueuedBroker
from scripted_tws import ACCOUNT, STOCK, complete_answers, scripted_tws

from trader.broker.port import BrokerSnapshot, ExecutionFact, Fact, MessageFact
from trader.plain_text import LENGTH_MAX

HOSTILE = "AA\x1b[2JPL\r\nforged\u202e\x9b"
SHOWN = r"AA\x1b[2JPL / forged\u202e\x9b"
CONTRACT = (265598, HOSTILE, *STOCK[2:])


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in texts(part)]
    if isinstance(value, list | tuple):
        return [text for part in value for text in texts(part)]
    return [value] if isinstance(value, str) else []


def execution(req_id: int) -> tuple[object, ...]:
    return (
        *(11, req_id, 5, *CONTRACT, "1.01" + HOSTILE, "20251006 10:00:01 US/Eastern", ACCOUNT, "SMART", "BOT"),
        *(100, 10.0, 7001, 2001, 0, 100, 10.0, HOSTILE, "", "", "", 1),
    )


async def test_g08_every_text_that_is_reported_is_printable() -> None:
    answers = complete_answers()
    answers[61] = lambda _: [(61, 3, ACCOUNT, *CONTRACT, 100, 10.0), (62, 1)]
    answers[7] = lambda asked: [execution(int(asked[2])), (55, 1, asked[2])]
    async with scripted_tws(answers) as tws:
        broker = QueuedBroker("127.0.0.1", tws.port, 2001, answer_timeout_s=1.0)
        await broker.connect()
        answer = await broker.snapshot(ACCOUNT)
        assert isinstance(answer, BrokerSnapshot)
        assert [position.symbol for position in answer.positions or ()] == [SHOWN]
        assert [found.order_ref for found in answer.executions or ()] == [SHOWN]
        tws.send(execution(-1), (4, 2, 5, 201, HOSTILE, ""), (4, 2, 5, 201, "x" * 100_000, ""))
        await broker.current_time()
        facts: list[Fact] = []
        while not broker.queue.empty():
            facts.append(broker.queue.get_nowait())
        assert len([fact for fact in facts if isinstance(fact, ExecutionFact)]) == 1
        messages = [fact.text for fact in facts if isinstance(fact, MessageFact)]
        assert messages[0] == SHOWN
        assert len(messages[1]) == LENGTH_MAX
        assert [text for text in texts(msgspec.to_builtins([answer, facts])) if not text.isprintable()] == []
        await broker.disconnect()
