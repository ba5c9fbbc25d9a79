"""A small part of the system-call campaign, and proof that the injected faults reach the program."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crashlab import syscalls
from crashlab.recording import Acked
from crashlab.strace import Fault, counts, sweep, why_not
from crashlab.syscalls import Case

needs_strace = pytest.mark.skipif(bool(why_not()), reason=why_not() or "strace works")


@needs_strace
def test_i11_a_kill_and_a_refusal_at_the_system_calls_of_the_state_lose_nothing(
    nothing_lost: Callable[..., None],
) -> None:
    nothing_lost(*syscalls.state_calls(every=11))


@needs_strace
@pytest.mark.parametrize(("action", "acked"), [("signal=KILL", 0), ("error=EIO", 0)])
def test_faults_reach_the_program(tmp_path: Path, action: str, acked: int) -> None:
    case = Case("inline", Fault("fdatasync", 1, action))
    outcome, after, _ = syscalls._traced(case, tmp_path, Acked(0))
    assert (outcome, after) == ("", Acked(acked))
    undisturbed = syscalls._traced(Case("inline", None), tmp_path, Acked(0))
    assert undisturbed[1].sequence > 10
    assert {"pwrite64", "fdatasync", "fsync", "linkat", "renameat"} <= undisturbed[2].keys()


def test_the_sweep_is_over_every_call_of_every_thread(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text("7 fsync(3) = 0\n8 fsync(4) = 0\n7 fsync(3) = 0\n7 +++ exited with 0 +++\n")
    assert counts(tmp_path / "calls") == {"fsync": 2}
    assert [fault.label for fault in sweep({"fsync": 2}, ("signal=KILL", "error=EIO"))] == [
        "killed at fsync #1",
        "EIO at fsync #1",
        "killed at fsync #2",
        "EIO at fsync #2",
    ]
