"""What the tests of the crash lab tried, as one table at the end of the run, whatever cores they ran on."""

import json
from collections.abc import Callable
from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, settings

from crashlab.report import Tally, table

PROPERTY = "crashlab"

# A slow machine fails no property test. The first test that draws text builds hypothesis' table of characters,
# which takes long enough on a fresh clone to be taken for a slow strategy.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")


@pytest.fixture
def nothing_lost(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Hold campaigns to it that something was tried and nothing was lost; their rows join the table."""

    def check(*tallies: Tally) -> None:
        for tally in tallies:
            record_property(PROPERTY, json.dumps(asdict(tally)))
        for tally in tallies:
            assert tally.points > 0, f"{tally.fault}: nothing was tried. {tally.skipped}"
            assert not tally.bad, "\n".join(tally.failures)

    return check


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that judge what a child process loads, writes or says, or how fast it is: coverage adds to that."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, if any of the lab's campaigns ran."""
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
