"""Failures of a start found from outside: an answer that is lost while positions wait to be managed."""

from pathlib import Path

from lab import Trader
from lab_positions import LONG_ONLY, in_position

LOST_S = 9.0


def test_g04_a_lost_clock_answer_delays_a_start_and_does_not_end_it(tmp_path: Path) -> None:
    """The gateway swallows the time for longer than one try waits; the position is managed afterwards."""
    with in_position(tmp_path, *LONG_ONLY) as (gateway, trader):
        trader.kill()
        gateway.ctl("silence", kind="time", for_=LOST_S)
        with Trader(gateway, tmp_path, *LONG_ONLY) as second:
            status = second.wait_agreed(bound_s=LOST_S + 15)
            assert [row["managed"] for row in status["positions"]] == [True]
            assert "did not answer the question for the time" in second.output(), "the fault was applied"
            assert "is in use" not in second.output()
            assert gateway.ctl("info")["clients"] == [2001]
