"""Open questions and owed answers: which end marker ends which question."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from state.errors import InvariantError
from trader.broker.ibkr.questions import POSITIONS, Questions, RefusedError
from trader.errors import BrokerError, BrokerUnreachableError


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_an_answer_is_the_rows_before_its_end_marker() -> None:
    async def work() -> None:
        questions = Questions()
        asked = questions.ask(7, "executions")
        assert questions.row(7, "a")
        assert not questions.row(8, "of nobody")
        questions.end(7)
        assert not questions.fail(8, BrokerError("", ""))
        assert await questions.answer(asked, 1.0) == ["a"]
        assert not questions.row(7, "late")

    run(work())


def test_rows_before_an_owed_end_marker_are_the_older_questions() -> None:
    async def work() -> None:
        questions = Questions()
        with pytest.raises(BrokerUnreachableError, match="positions"):
            await questions.answer(questions.ask(POSITIONS, "positions"), 0.0)
        assert list(questions.owed) == [POSITIONS]
        asked = questions.ask(POSITIONS, "positions")
        questions.row(POSITIONS, "old")
        questions.end(POSITIONS)
        assert list(questions.owed) == []
        assert not asked.done.done()
        questions.row(POSITIONS, "new")
        questions.end(POSITIONS)
        assert await questions.answer(asked, 1.0) == ["new"]

    run(work())


def test_a_question_that_was_cancelled_or_refused_leaves_its_end_marker_owed() -> None:
    async def work() -> None:
        questions = Questions()
        waiting = asyncio.create_task(questions.answer(questions.ask(POSITIONS, "positions"), 60.0))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        asked = questions.ask(POSITIONS, "positions")
        questions.fail_where("positions", RefusedError(321, "no"))
        with pytest.raises(RefusedError, match="321"):
            await questions.answer(asked, 1.0)
        questions.end(POSITIONS)
        assert list(questions.owed) == [POSITIONS]
        questions.end(POSITIONS)
        assert list(questions.owed) == []

    run(work())


def test_an_end_marker_nobody_waits_for_is_nothing() -> None:
    async def work() -> None:
        questions = Questions()
        questions.end(POSITIONS)
        questions.end(9)
        assert list(questions.owed) == []

    run(work())


def test_the_same_question_twice_at_once_is_a_defect() -> None:
    async def work() -> None:
        questions = Questions()
        questions.ask(POSITIONS, "positions")
        with pytest.raises(InvariantError):
            questions.ask(POSITIONS, "positions")

    run(work())
