"""The ids and references of orders."""

from datetime import datetime

import pytest

from state.domain.apply import new_state
from trader.config.sections import Config
from trader.core.messages import Moment
from trader.core.orders.order_ref import parse_ref
from trader.core.orders.sending import next_order_id, next_token
from trader.core.turn import Settings, Turn
from trader.core.view import View
from trader.errors import BrokerError
from trader.time_zones import EASTERN

NOW = EASTERN.localize(datetime.fromisoformat("2025-10-06T10:00:00"))


def turn_with(free_order_id: int = 1, order_id_high: int = 0, wall_ms: int = 0, view: View | None = None) -> Turn:
    state = new_state("2025-10-06", "DU1234567", "test")
    state.order_id_high = order_id_high
    moment = Moment(now=NOW, real_s=0.0, wall_ms=wall_ms, free_order_id=free_order_id, no_order_id="No connection.")
    return Turn(state, view or View(), Settings(config=Config(), account="DU1234567", setups={}), moment)


@pytest.mark.parametrize(("free", "high", "next_id"), [(5, 41, 42), (50, 41, 50), (42, 41, 42)])
def test_p03_an_order_id_is_above_what_ibkr_and_the_state_have_used(free: int, high: int, next_id: int) -> None:
    assert next_order_id(turn_with(free, high)) == next_id


def test_without_a_connection_there_is_no_order_id() -> None:
    with pytest.raises(BrokerError, match="No connection"):
        next_order_id(turn_with(free_order_id=0))


def test_tokens_never_repeat_even_if_the_clock_stands_still_or_is_set_back() -> None:
    view = View()
    times = (1_800_000_000_000, 1_800_000_000_000, 1_700_000_000_000, 1_800_000_000_002)
    tokens = [next_token(turn_with(wall_ms=ms, view=view)) for ms in times]
    assert len(set(tokens)) == len(tokens)
    assert sorted(tokens) == tokens
    assert all(parse_ref(f"ps60-TSLA-L-E1-{token}") is not None for token in tokens)
