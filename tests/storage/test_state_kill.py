"""A real process, kill -9 and a restart: every event that it reported durable is there."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from state_cases import opened, plain, replayed

from state.domain.model import TraderState

ROOT = Path(__file__).resolve().parents[2]
KILLS = 15

CHILD = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, "tests/support")
from state_cases import ACCOUNT, DATE, GATEWAY, at
from state.domain.events import AlertRaised
from state.manager import StateManager

async def main():
    memory = StateManager.open(Path(sys.argv[1]), sys.argv[2])
    memory.begin(DATE, ACCOUNT, GATEWAY, at(0), loop=asyncio.get_running_loop())
    async def save():
        while True:
            await memory.save()
    saving = asyncio.create_task(save())
    number = memory.state.sequence
    while not saving.done():
        number = await memory.record_durably(AlertRaised(time=at(number), text=str(number + 1), key="last"))
        os.write(1, b"%d\\n" % number)
    saving.result()

asyncio.run(main())
"""


def killed_run(logs: Path, session: str, after_s: float) -> int:
    """Let a process record, save and report until kill -9; the last event it reported durable."""
    command = [sys.executable, "-c", CHILD, str(logs), session]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            reported = process.stdout.readline()  # it works now
            time.sleep(after_s)  # chooses the moment of the kill
        finally:
            process.kill()
        rest = process.stdout.read()
    assert reported
    assert process.returncode == -signal.SIGKILL
    complete = (reported + rest).rpartition(b"\n")[0]
    return int(complete.split(b"\n")[-1])


def test_kill_9_at_any_moment_loses_nothing_that_was_reported(tmp_path: Path) -> None:
    chance = random.Random(20251006)
    durable = 0
    for number in range(KILLS):
        durable = killed_run(tmp_path, f"s{number}", chance.uniform(0.0, 0.08))
        with opened(tmp_path, "look") as manager:
            state = manager.loaded.state
            assert state is not None
            assert manager.loaded.damaged == []
            assert not manager.loaded.doubtful
            assert state.sequence >= durable
            assert plain(replayed(tmp_path)) == plain(state)
            assert _last_reported(state) >= durable
    assert durable > 2 * KILLS


def _last_reported(state: TraderState) -> int:
    return max(int(alert.text) for alert in state.alerts if alert.key == "last")
