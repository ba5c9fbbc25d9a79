"""The times of a recovery's steps, as its report and `make bench` show them."""

from pathlib import Path
from typing import Any

import pytest
from lab import CALM
from lab_live import live

from paper_gateway.testing import RunningGateway
from trader.broker.port import PARTS
from trader.core.reconciliation.reconcile import reconcile
from trader.runtime.session import TradingSession


async def test_the_answer_is_noted_before_it_is_decided_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the time of the decision counts as `reconcile`, not as `sync`."""
    order: list[str] = []

    def decided(*args: Any, **options: Any) -> Any:
        order.append("decided")
        return reconcile(*args, **options)

    monkeypatch.setattr("trader.core.comparison.reconcile", decided)
    monkeypatch.setattr(TradingSession, "reach_step", lambda _, name: order.append(name))
    with RunningGateway(*CALM) as gateway:
        async with live(gateway, tmp_path) as run:
            await run.trading()
    assert order[: order.index("gate") + 1] == ["sync"] * len(PARTS) + ["decided", "reconcile", "gate"]
