"""What the engine's one queue carries beside the broker's facts."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from trader.broker.port import BrokerAnswer, Fact


@dataclass(frozen=True, slots=True)
class Answer:
    """A broker snapshot that was asked for while trading, and how busy the books were when it was asked."""

    answer: BrokerAnswer
    activity: int


@dataclass(frozen=True, slots=True)
class Second:
    """One real second went by."""


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The line is up again; nothing has been asked yet."""


@dataclass(slots=True)
class Request:
    """A command of the operator, with the future that gets its answer."""

    command: str
    arguments: dict[str, Any]
    reply: asyncio.Future[dict[str, Any]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def answer(self, **content: Any) -> None:
        """Answer it, unless whoever asked has gone."""
        if not self.reply.done():
            self.reply.set_result(content)


Message = Fact | Answer | Second | Reconnected | Request
