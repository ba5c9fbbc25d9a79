"""A small part of the campaigns with bad files and hostile peers, and proof that both find failures."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from crashlab import damage, fuzz, hostile
from crashlab.powerloss import History
from crashlab.sample import write_sample

Check = Callable[..., None]


def test_bad_files_give_no_traceback_no_wrong_position_and_no_lost_file(nothing_lost: Check) -> None:
    nothing_lost(*fuzz.fuzz(cases=120, seed=20251006))


def test_hostile_frames_do_not_end_the_gateway(nothing_lost: Check) -> None:
    nothing_lost(hostile.hostile_frames(60, seed=1))


def test_after_corrupted_messages_a_new_start_agrees_with_the_gateway(nothing_lost: Check) -> None:
    tally = hostile._corrupted_round((1, 1))
    nothing_lost(tally)
    assert tally.counts["lies"] > 10


def test_an_undamaged_folder_is_read_whole(tmp_path: Path) -> None:
    history = write_sample(tmp_path / "sample")
    logs = fuzz._fresh_copy(tmp_path)
    assert fuzz._start(logs, history, "nothing") is None
    assert max(history.states) == 10


def test_a_state_that_never_was_is_noticed(tmp_path: Path) -> None:
    write_sample(tmp_path / "sample")
    found = fuzz._start(fuzz._fresh_copy(tmp_path), History(), "nothing")
    assert found is not None
    assert found[0] == "wrong"


def test_a_lost_file_is_noticed(tmp_path: Path) -> None:
    write_sample(tmp_path / "sample")
    logs = fuzz._fresh_copy(tmp_path)
    before = fuzz._contents(logs)
    next((logs / "checkpoints").glob("*/*.json")).unlink()
    found = fuzz._lost(logs, before, "unlinked")
    assert found is not None
    assert found[0] == "lost"


@pytest.mark.parametrize("how", damage.TEXT, ids=lambda how: how.__name__)
def test_every_kind_of_damage_changes_something(how: Callable[[bytes, random.Random], bytes]) -> None:
    data = b'{"a": 1, "b": [2.5, "x"],\n"c": null}\n'
    assert any(how(data, random.Random(seed)) != data for seed in range(5))
