"""The questions that wait for an answer, their rows so far, and the answers that are still owed.

IBKR answers a question with rows and an end marker. Most carry the question's id. Positions, open orders, completed
orders and the time do not: a late answer could be taken for the answer to the next question of the same kind.

Answers of one kind come in the order of the questions. So each question that timed out counts as one owed end
marker, and rows before an owed end marker are dropped. If the next question gets one end marker and no second one,
the owed answer was lost and not late: nothing is owed any more, and the question after it is answered.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from state.errors import InvariantError
from trader.broker.port import PART_NAMES
from trader.errors import BrokerError, BrokerUnreachableError

FIRST_REQUEST_ID = 2_000_000_000  # far above order ids: an error's id may be a request's or an order's

# What is asked for, as error texts name it. For a question without an id it is also the kind.
POSITIONS = PART_NAMES["positions"]
OPEN_ORDERS = PART_NAMES["open_orders"]
COMPLETED_ORDERS = PART_NAMES["completed_orders"]
EXECUTIONS = PART_NAMES["executions"]
ACCOUNT_VALUES = PART_NAMES["account"]
TIME = "the time"

Key = int | str  # a request id, or the kind of a question that has none


class RefusedError(BrokerError):
    """IBKR answered a question with an error. code: IBKR's message code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"IBKR refused a question: {code} {text}.", "Look the code up in IBKR's message codes.")
        self.code = code


@dataclass(eq=False, slots=True)
class Question:
    """One question. rows: the answer so far. done: set by the end marker, or fails."""

    key: Key
    text: str
    done: asyncio.Future[None]
    rows: list[Any] = field(default_factory=list)
    ended: bool = False
    owed_ended: bool = False  # an end marker came, and was taken for the one of an older question


class Questions:
    """All open questions of one connection. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        self._open: dict[Key, Question] = {}
        self._owed: Counter[str] = Counter()

    @property
    def owed(self) -> tuple[str, ...]:
        """Kinds of questions without an id whose answers timed out and may still arrive."""
        return tuple(kind for kind, count in self._owed.items() if count > 0)

    def ask(self, key: Key, text: str) -> Question:
        """Open a question; call it before the request is written. text: names it in errors."""
        if key in self._open:
            raise InvariantError(f"The broker was asked for {text} while the same question was open.")
        question = Question(key, text, asyncio.get_running_loop().create_future())
        self._open[key] = question
        return question

    async def answer(self, question: Question, timeout_s: float) -> list[Any]:
        """The rows, once the end marker has come.

        Raises BrokerUnreachableError after `timeout_s` or when the connection is lost, BrokerError where IBKR
        refused the question or a row of the answer could not be read.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await question.done
        except TimeoutError:
            raise BrokerUnreachableError(
                f"IBKR did not answer the question for {question.text} within {timeout_s:g} s.",
                "Look at TWS or IB Gateway: it may be restarting or waiting for a login.",
            ) from None
        finally:
            self._close(question)
        return question.rows

    def _close(self, question: Question) -> None:
        if self._open.get(question.key) is question:
            del self._open[question.key]
            if isinstance(question.key, str) and not question.ended:
                self._owed[question.key] = 0 if question.owed_ended else self._owed[question.key] + 1

    def is_open(self, key: Key) -> bool:
        """Whether rows of this key belong to an answer, of an open question or an owed one."""
        return key in self._open or (isinstance(key, str) and self._owed[key] > 0)

    def row(self, key: Key, row: object) -> bool:
        """One row of an answer; False if no such question is open."""
        question = self._open.get(key)
        if question is not None:
            question.rows.append(row)
        return question is not None

    def end(self, key: Key) -> None:
        """The end marker. An owed one ends an older question: the rows before it are not the open question's."""
        question = self._open.get(key)
        if isinstance(key, str) and self._owed[key] > 0:
            self._owed[key] -= 1
            if question is not None:
                question.owed_ended = True
                question.rows.clear()
            return
        if question is not None:
            question.ended = True
            if not question.done.done():
                question.done.set_result(None)

    def fail(self, key: Key, error: BrokerError, *, ended: bool = False) -> bool:
        """The question was refused, or a part of its answer cannot be read; False if it is not open.

        ended: no end marker follows.
        """
        question = self._open.get(key)
        if question is None:
            return False
        question.ended = question.ended or ended
        if not question.done.done():
            question.done.set_exception(error)
        return True

    def fail_where(self, text: str, error: BrokerError) -> None:
        """Fail each open question with this text."""
        for question in list(self._open.values()):
            if question.text == text:
                self.fail(question.key, error)

    def fail_all(self, error: BrokerError) -> None:
        """The connection is lost."""
        for key in list(self._open):
            self.fail(key, error)

    def forget_owed(self, kind: str) -> None:
        """No longer expect the owed answers of this kind."""
        self._owed.pop(kind, None)
