"""Requests and their end markers: which marker ends which request."""

import asyncio

import pytest

from state.errors import InvariantError
from trader.broker.ibkr.questions import POSITIONS, Questions, RefusedError
from trader.errors import BrokerError, BrokerUnreachableError


async def test_an_answer_is_the_rows_before_its_end_marker() -> None:
    questions = Questions()
    asked = questions.ask(7, "executions")
    assert questions.row(7, "a")
    assert not questions.row(8, "of nobody")
    questions.end(7)
    assert not questions.fail(8, BrokerError("", ""))
    assert await questions.answer(asked, 1.0) == ["a"]
    assert not questions.row(7, "late")


async def test_rows_before_an_owed_end_marker_are_the_older_questions() -> None:
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


async def test_a_question_that_was_cancelled_or_refused_leaves_its_end_marker_owed() -> None:
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


async def test_a_question_that_was_refused_for_good_leaves_nothing_owed() -> None:
    questions = Questions()
    asked = questions.ask(POSITIONS, "positions")
    questions.fail(POSITIONS, RefusedError(2151, "not available yet"), ended=True)
    with pytest.raises(RefusedError, match="2151"):
        await questions.answer(asked, 1.0)
    assert list(questions.owed) == []


async def test_an_end_marker_without_a_question_changes_nothing() -> None:
    questions = Questions()
    questions.end(POSITIONS)
    questions.end(9)
    assert list(questions.owed) == []


async def test_the_same_question_twice_at_once_is_a_defect() -> None:
    questions = Questions()
    questions.ask(POSITIONS, "positions")
    with pytest.raises(InvariantError):
        questions.ask(POSITIONS, "positions")
