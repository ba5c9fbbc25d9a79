"""The tables of the core and of the shell are complete: no message and no effect is unknown."""

import asyncio
import re
from pathlib import Path
from typing import get_args
from unittest.mock import MagicMock

from state.manager import StateManager
from trader.broker import port
from trader.broker.ibkr.broker import IbkrBroker
from trader.clock import Clock
from trader.config.sections import Config
from trader.core import effects, engine, messages
from trader.core.turn import Settings
from trader.runtime.loop import Loop, Queue, Session


def test_each_fact_and_each_message_has_one_handler() -> None:
    facts = set(get_args(port.Fact))
    assert facts == engine.FACT_HANDLERS.keys()
    assert set(get_args(messages.Message)) - facts == engine.HANDLERS.keys()


def test_each_timer_that_is_armed_has_a_handler() -> None:
    folder = Path(engine.__file__).parent
    armed = {
        f"{path.stem}.{name}"
        for path in folder.rglob("*.py")
        if path.name != "effects.py"
        for name in re.findall(r"ArmTimer\((\w+),", path.read_text(encoding="utf-8"))
    }
    assert len(armed) == len(engine.TIMERS)


async def test_the_loop_carries_out_each_effect(tmp_path: Path) -> None:
    queue: Queue = asyncio.Queue()
    broker = IbkrBroker("127.0.0.1", 1, 1, queue.put_nowait)
    with StateManager.open(tmp_path, "20251006-134500-aaaa") as manager:
        clock = Clock()
        manager.begin("2025-10-06", "DU1", "test", clock.now())
        settings = Settings(config=Config(), account="DU1", setups={})
        loop = Loop(queue, manager, broker, clock, settings, MagicMock(spec=Session))
    assert set(loop.handlers) == set(effects.Effect.__subclasses__())
