"""What the engine's one queue carries beside the broker's facts."""

import asyncio
from typing import Any

import msgspec

from trader.broker.port import BrokerAnswer, Fact


class Answer(msgspec.Struct, frozen=True):
    """A broker snapshot that was asked for while trading, and how busy the books were when it was asked."""

    answer: BrokerAnswer
    activity: int


class Second(msgspec.Struct, frozen=True):
    """One real second went by."""


class Reconnected(msgspec.Struct, frozen=True):
    """The line is up again; nothing has been asked yet."""


class Request(msgspec.Struct):
    """A command of the operator, with the future that gets its answer."""

    command: str
    arguments: dict[str, Any]
    reply: asyncio.Future[dict[str, Any]] = msgspec.field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def answer(self, **content: Any) -> None:
        """Answer it, unless whoever asked has gone."""
        if not self.reply.done():
            self.reply.set_result(content)


Message = Fact | Answer | Second | Reconnected | Request
