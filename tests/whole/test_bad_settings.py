"""Wrong settings and flags: an exit code, two sentences, and nothing lost."""

from pathlib import Path

import pytest
from bad_input_cases import assert_nothing_lost, assert_refused, contents, trader
from lab import scanner

from paper_gateway.testing import RunningGateway


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("[gateway]\nclient_idd = 3", "Did you mean client_id?"),
        ("[gatway]\nclient_id = 3", "Did you mean"),
        ('[gateway]\nclient_id = "three"', "gateway.client_id"),
        ("[risk]\nmax_daily_loss_pct = nan", "risk.max_daily_loss_pct"),
        ("[size]\nmax_shares = -5", "size.max_shares"),
        ('[entry]\nwindow_start = "25:99"', "entry.window_start"),
        ("[gateway\n", "not valid TOML"),
    ],
)
def test_a_wrong_setting(setting: str, text: str, earlier_logs: Path, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(setting)
    before = contents(earlier_logs)
    assert_refused(trader(1, earlier_logs, "--config", str(config)), 2, text, "mine.toml")
    assert contents(earlier_logs) == before


def test_a_wrong_environment_variable(earlier_logs: Path) -> None:
    done = trader(1, earlier_logs, TRADER_GATEWAY_SPED="3")
    assert_refused(done, 2, "TRADER_GATEWAY_SPED", "Did you mean TRADER_GATEWAY_SPEED?")


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("frobnicate",), "no command 'frobnicate'"),
        (("statsu",), "Did you mean status?"),
        (("--durration", "3"), "--durration"),
        (("--duration", "nan"), "--duration"),
        (("--duration", "-5"), "--duration"),
        (("--symbols", ","), "--symbols"),
        (("--symbols", "TS LA!"), "symbol"),
        (("--client-id", "abc"), "client_id"),
        (("--client-id", "-1"), "client_id"),
        (("--gateway", "nonsense"), "HOST:PORT"),
        (("--gateway", "127.0.0.1:99999"), "HOST:PORT"),
        (("--resume", "--fresh"), "--fresh"),
        (("--checkpoint-interval", "0"), "checkpoint_interval_s"),
        (("--config", "no/such/file.toml"), "no/such/file.toml"),
    ],
)
def test_a_wrong_flag(flags: tuple[str, ...], text: str, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    assert_refused(trader(1, logs, *flags), 2, text)
    assert not logs.exists()  # nothing was written


def test_an_unknown_session_to_resume(shared_gateway: RunningGateway, earlier_logs: Path) -> None:
    before = contents(earlier_logs)
    assert_refused(
        trader(shared_gateway.port, earlier_logs, "--resume-session", "no-such-session"), 5, "no-such-session"
    )
    assert_nothing_lost(before, earlier_logs)


def test_live_alone_starts_no_live_session(shared_gateway: RunningGateway, tmp_path: Path) -> None:
    """The embedded gateway is used, and the session is a paper session."""
    flags = ("--live", "--scanner-dir", str(scanner(tmp_path)), "--duration", "0.01")
    done = trader(shared_gateway.port, tmp_path / "logs", *flags)
    assert done.returncode == 0
    assert "PAPER TRADING SESSION" in done.stdout
    assert "LIVE TRADING SESSION" not in done.stdout
