"""What the storm found, as the shortest story that shows it."""

import asyncio
from pathlib import Path

from lab import CALM
from lab_live import live

from paper_gateway.testing import RunningGateway


def test_f15_a_partial_that_meets_a_stop_that_has_filled_reverses_nothing(tmp_path: Path) -> None:
    """The stop fills at IBKR before its shrinking arrives; the exit may not leave before that is confirmed."""

    async def story(gateway: RunningGateway) -> None:
        async with live(gateway, tmp_path) as run:
            position = await run.enter("TSLA", "LONG", 100)
            price = await run.price()
            run.set_price(position.stop_price * 0.999)
            await run.desk.take_partial(position, 50, "partial_1r", price, 0.01)
            await run.until(lambda: not run.state.positions)
            assert run.held() == 0
            assert run.state.halted == {}

    with RunningGateway(*CALM) as gateway:
        asyncio.run(story(gateway))
