"""`pause` and `unpause`, with a trader running and without one."""

from pathlib import Path

import pytest
from lab import Trader, scanner, status
from lab_live import live
from operator_commands import Operator

from paper_gateway.testing import RunningGateway
from state.storage.pause_request import PAUSE_REQUEST

pytestmark = pytest.mark.usefixtures("frequent_comparisons")


def test_a_pause_outlives_kill_9_until_it_is_unpaused(
    gateway: RunningGateway, tmp_path: Path, operator: Operator
) -> None:
    scans = scanner(tmp_path)
    with Trader(gateway, tmp_path, scanner_dir=scans) as trader:
        trader.wait_ready()
        assert operator.types("pause", "lunch")[:2] == (0, "Paused: no new entries; stops and exits go on.\n")
        trader.kill()
    with Trader(gateway, tmp_path, scanner_dir=scans) as trader:
        found = trader.wait_ready()
        assert (found["risk"]["paused"], found["risk"]["paused_reason"]) == (True, "lunch")
        assert operator.types("unpause")[0] == 0
        trader.kill()
    assert not status(tmp_path / "logs")["risk"]["paused"]


async def test_pause_and_unpause_on_a_dead_trader(
    gateway: RunningGateway, tmp_path: Path, operator: Operator
) -> None:
    logs = tmp_path / "logs"

    async def paused() -> tuple[bool, str]:
        async with live(gateway, tmp_path) as run:
            await run.crash()
            return run.state.risk.paused, run.state.risk.paused_reason

    assert operator.types("pause", "no trading today") == (
        0,
        "No trader is running; the next start will be paused.\n",
        "",
    )
    assert (logs / PAUSE_REQUEST).stat().st_mode & 0o777 == 0o600
    assert await paused() == (True, "no trading today")
    assert not (logs / PAUSE_REQUEST).exists(), "applied once"
    assert await paused() == (True, "no trading today"), "and kept in the state"
    assert operator.types("unpause")[0] == 0
    assert await paused() == (False, "")
    assert operator.types("pause")[0] == 0
    assert operator.types("unpause")[0] == 0, "the last request counts"
    assert await paused() == (False, "")


async def test_the_last_request_counts_though_an_older_one_is_on_disk(
    gateway: RunningGateway, tmp_path: Path, operator: Operator
) -> None:
    """A pause request that is older than the last command has no effect at the next start."""
    async with live(gateway, tmp_path) as run:
        (run.logs / PAUSE_REQUEST).write_text(
            '{"paused": true, "reason": "old", "at": "2025-10-06T15:00:00+00:00"}'
        )
        assert (await operator.asks("unpause"))[0] == 0
        await run.crash()
    async with live(gateway, tmp_path) as run:
        assert not run.state.risk.paused


@pytest.mark.parametrize(
    "found",
    [b"", b"{", b"\xff\xfe\x00", b"[" * 5000, b'{"paused": "maybe"}', b'{"paused": NaN}', b"link", b"folder"],
)
async def test_a_damaged_pause_request_pauses_and_is_kept(
    gateway: RunningGateway, tmp_path: Path, found: bytes
) -> None:
    """It may have been a `pause`, so entries wait for the operator; nothing else does."""
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o700)
    victim = tmp_path / "victim"
    victim.write_text('{"paused": false, "reason": "planted", "at": "2025-10-06T15:00:00+00:00"}')
    if found == b"link":
        (logs / PAUSE_REQUEST).symlink_to(victim)
    elif found == b"folder":
        (logs / PAUSE_REQUEST).mkdir()
    else:
        (logs / PAUSE_REQUEST).write_bytes(found)
    async with live(gateway, tmp_path) as run:
        assert run.state.risk.paused
        assert "damaged" in run.state.risk.paused_reason
        assert run.state.connection.ready
        assert [p.name for p in (run.logs / "quarantine").iterdir() if p.name.endswith(PAUSE_REQUEST)]
    assert "planted" in victim.read_text()


async def test_a_pause_is_answered_before_the_protection_gate_has_passed(
    gateway: RunningGateway, tmp_path: Path, operator: Operator
) -> None:
    """At the start and after a reconnect: commands are answered while IBKR's answer is missing."""
    gateway.ctl("silence", kind="positions")
    async with live(gateway, tmp_path, ready=False, gateway__answer_timeout_s=0.3) as run:
        await run.until((run.logs / "trader.sock").exists)
        assert (await operator.asks("pause", "early"))[1]["paused"] is True
        code, _, error = await operator.asks("adopt", "AMD")
        assert (code, "not compared yet" in error) == (2, True)
        assert not run.state.connection.ready
        gateway.ctl("silence", kind="positions", off=True)
        await run.trading()
        await run.enter()
        gateway.ctl("silence", kind="positions")
        gateway.ctl("drop")
        await run.until(lambda: "reconnected" in run.state.connection.reason)
        assert (await operator.asks("unpause"))[1]["paused"] is False
        assert not run.state.connection.ready
        gateway.ctl("silence", kind="positions", off=True)
        await run.agreed()
