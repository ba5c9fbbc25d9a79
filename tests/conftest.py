"""What all tests share: tests that are coroutines, fixtures, and the crash lab's table at the end of a run."""

import asyncio
import inspect
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from operator_commands import Operator

from crashlab.processes import CALM, Trader, scanner
from crashlab.report import Tally, table
from paper_gateway.testing import RunningGateway
from trader.core import comparison

PROPERTY = "crashlab"

# No deadline: a slow machine must not fail a property test. On a fresh clone the first test that draws text builds
# hypothesis' table of characters, which hypothesis reports as a strategy that is too slow.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is an `async def` in an event loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture
def gateway() -> Iterator[RunningGateway]:
    """A paper gateway in a process of its own, at real-time speed. Files that need another one define their own."""
    with RunningGateway(*CALM) as running:
        yield running


@pytest.fixture(scope="module")
def shared_gateway() -> Iterator[RunningGateway]:
    """One gateway for all tests of a file that place no orders."""
    with RunningGateway(*CALM) as running:
        yield running


@pytest.fixture(scope="module")
def earlier_session(shared_gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The logs folder that a session of today left."""
    folder = tmp_path_factory.mktemp("earlier")
    with Trader(shared_gateway, folder, scanner_dir=scanner(folder)) as earlier:
        earlier.wait_ready()
        assert earlier.stop() == 0
    assert (earlier.logs / "trader_state_backup.json").exists()
    return earlier.logs


@pytest.fixture
def earlier_logs(earlier_session: Path, tmp_path: Path) -> Path:
    """A logs folder as an earlier session of today left it, with a state, a backup and a journal."""
    return Path(shutil.copytree(earlier_session, tmp_path / "logs", symlinks=True))


@pytest.fixture
def operator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    """Types commands about `tmp_path`/logs."""
    return Operator(tmp_path / "logs", capsys)


@pytest.fixture
def frequent_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare the state with IBKR every 0.25 s instead of every 2 s, so that no test waits for a comparison."""
    monkeypatch.setattr(comparison, "COMPARE_S", 0.25)


@pytest.fixture
def nothing_lost(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Check that campaigns tried something and lost nothing; their rows are added to the table."""

    def check(*tallies: Tally) -> None:
        for tally in tallies:
            record_property(PROPERTY, json.dumps(asdict(tally)))
        for tally in tallies:
            assert tally.points > 0, f"{tally.fault}: nothing was tried. {tally.skipped}"
            assert not tally.bad, "\n".join(tally.failures)

    return check


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what a child process loads, writes or prints, or how fast it is: coverage would change that."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of the crash lab, if any of its campaigns ran."""
    rows: dict[str, Tally] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == PROPERTY and getattr(report, "when", "") == "call":
                    tally = Tally(**json.loads(value))
                    known = rows.setdefault(tally.fault, Tally(tally.fault))
                    known.add(tally)
                    known.seconds += tally.seconds
    if rows:
        terminalreporter.section("crash lab: the small part")
        terminalreporter.write_line(table(rows[fault] for fault in sorted(rows)))
