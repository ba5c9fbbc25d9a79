"""Settings: which source overrides which, what is refused, and the check for a live account."""

import datetime
import tomllib
from pathlib import Path

import pytest

from trader.config.checks import check_account
from trader.config.loader import KEYS, PROJECT_ROOT, SECTIONS, load_config
from trader.config.sections import Config
from trader.errors import ConfigError


def load(tmp_path: Path, text: str = "", environ: dict[str, str] | None = None, **flags: object) -> Config:
    path = tmp_path / "trader.toml"
    path.write_text(text)
    return load_config(path, environ or {}, {key.replace("__", "."): value for key, value in flags.items()})


def test_flags_override_environment_overrides_file_overrides_defaults(tmp_path: Path) -> None:
    text = "[gateway]\nclient_id = 1\nport = 2\nseed = 3"
    environ = {"TRADER_GATEWAY_PORT": "20", "TRADER_GATEWAY_SEED": "30"}
    gateway = load(tmp_path, text, environ, gateway__seed=300).gateway
    assert (gateway.client_id, gateway.port, gateway.seed, gateway.speed) == (1, 20, 300, 5.0)


def test_a_flag_that_was_not_given_changes_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, "[gateway]\nseed = 3", gateway__seed=None).gateway.seed == 3


def test_the_shipped_file_has_every_key_at_its_default() -> None:
    shipped = PROJECT_ROOT / "trader.toml"
    tables = tomllib.loads(shipped.read_text())
    assert {f"{section}.{key}" for section, table in tables.items() for key in table} == set(KEYS)
    config = load_config(shipped, {}, {})
    for section, kind in SECTIONS.items():
        for key in kind.__struct_fields__:
            value, default = getattr(getattr(config, section), key), getattr(kind(), key)
            expected = PROJECT_ROOT / default if isinstance(default, Path) else default
            assert value == expected, f"{section}.{key}"


def test_without_a_path_the_projects_own_file_is_read() -> None:
    assert load_config(None, {}, {}).source == PROJECT_ROOT / "trader.toml"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[gatway]\nport = 1", "Did you mean gateway?"),
        ("[gateway]\nprot = 1", "Did you mean port?"),
        ("port = 1", "Unknown section 'port'"),
        ("gateway = 1", "Write it as a table"),
        ("[gateway\nport", "not valid TOML"),
        ("[gateway]\nport = '1'", "gateway.port"),
        ("[gateway]\nport = 70000", "<= 65535"),
        ("[gateway]\nport = true", "got `bool`"),
        ("[gateway]\nspeed = nan", "is nan"),
        ("[gateway]\nspeed = inf", "is inf"),
        ("[gateway]\nspeed = 0", "> 0"),
        ("[gateway]\nendpoint = 'localhost'", "HOST:PORT"),
        ("[gateway]\nendpoint = 'localhost:0'", "HOST:PORT"),
        ("[gateway]\naccount = 'me'", "DU1234567"),
        ("[entry]\nwindow_start = '9.45'", "Write a time as 09:45"),
        ("[entry]\nwindow_start = '15:30'", "not in this order"),
        ("[entry]\nwindow_end = '15:58'", "not in this order"),
        ("[entry]\nflatten_at = '16:30'", "09:30 to 16:00"),
        ("[entry]\nwindow_start = '09:45+01:00'", "time zone"),
        ("[entry]\nmax_attempts = 0", ">= 1"),
        ("[entry]\nmax_attempts = 1.5", "max_attempts"),
        ("[exit]\nfirst_partial_fraction = 0.8", "add up to 1.05"),
        ("[files]\nlog_level = 'LOUD'", "log_level"),
        ("[files]\ncheckpoint_interval_s = 600", "checkpoint_idle_interval_s"),
        ("[universe]\nsymbols = ['tsla?']", "not a symbol"),
        ("[gateway]\ndate = '6 October'", "2025-10-06"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, text)
    assert named in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("TRADER_GATEWAY_SPED", "1", "Did you mean TRADER_GATEWAY_SPEED?"),
        ("TRADER_GATWAY_SPEED", "1", "Did you mean TRADER_GATEWAY_SPEED?"),
        ("TRADER_GATEWAY_SPEED", "fast", "environment variable TRADER_GATEWAY_SPEED"),
        ("TRADER_GATEWAY_SPEED", "nan", "TRADER_GATEWAY_SPEED"),
        ("TRADER_UNIVERSE_MIN_SCORE", "inf", "ordinary number"),
        ("TRADER_GATEWAY_LIVE", "perhaps", "TRADER_GATEWAY_LIVE"),
    ],
)
def test_bad_environment_is_named(tmp_path: Path, name: str, value: str, named: str) -> None:
    with pytest.raises(ConfigError, match="TRADER_") as error:
        load(tmp_path, "", {name: value})
    assert named in str(error.value)


def test_other_environment_variables_are_ignored(tmp_path: Path) -> None:
    assert load(tmp_path, "", {"TRADER_DATA_DIR": "/x", "HOME": "/y"}) == load(tmp_path)


def test_i15_real_money_is_not_asked_for_by_a_file_or_the_environment(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.live in .*--live"):
        load(tmp_path, '[gateway]\nlive = true\nlive_account = "U1234567"')
    with pytest.raises(ConfigError, match=r"TRADER_GATEWAY_LIVE.*--live"):
        load(tmp_path, "", {"TRADER_GATEWAY_LIVE": "true"})
    assert load(tmp_path, "[gateway]\nlive = false", gateway__live=True).gateway.live


def test_an_unknown_flag_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gateway\.spede.*gateway\.speed"):
        load(tmp_path, "", gateway__spede=1)


def test_text_is_converted_to_the_type_of_its_setting(tmp_path: Path) -> None:
    environ = {
        "TRADER_GATEWAY_LIVE": "false",
        "TRADER_UNIVERSE_SYMBOLS": "tsla, nvda,",
        "TRADER_ENTRY_WINDOW_START": "10:05",
        "TRADER_GATEWAY_DATE": "2025-10-06",
        "TRADER_GATEWAY_REPLAY": "",
        "TRADER_SIZE_MAX_SHARES": "50",
        "TRADER_EXIT_TRAIL_PCT": "1",
    }
    config = load(tmp_path, "", environ)
    assert config.gateway.live is False
    assert config.universe.symbols == ("TSLA", "NVDA")
    assert config.entry.window_start == datetime.time(10, 5)
    assert config.gateway.date == datetime.date(2025, 10, 6)
    assert config.gateway.replay is None
    assert config.size.max_shares == 50
    assert config.exit.trail_pct == 1.0


def test_settings_at_the_edge_of_their_range_are_fine(tmp_path: Path) -> None:
    text = """
        [entry]
        window_start = "09:30"
        window_end = "16:00"
        flatten_at = "16:00"
        [exit]
        first_partial_fraction = 0.7
        second_partial_fraction = 0.3
        [files]
        checkpoint_interval_s = 120
    """
    assert load(tmp_path, text).entry.flatten_at == datetime.time(16, 0)
    with pytest.raises(ConfigError, match="not in this order"):
        load(tmp_path, "[entry]\nwindow_end = '09:45'")


def test_toml_times_and_dates_need_no_quotes(tmp_path: Path) -> None:
    config = load(tmp_path, "[gateway]\ndate = 2025-10-07\n[entry]\nwindow_start = 09:50:00")
    assert config.gateway.date == datetime.date(2025, 10, 7)
    assert config.entry.window_start == datetime.time(9, 50)


def test_relative_paths_follow_their_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    files = load(folder, "[files]\nlogs_dir = 'mine'", files__scanner_dir="scans").files
    assert files.logs_dir == folder / "mine"
    assert files.scanner_dir == tmp_path / "scans"
    assert load(folder).files.logs_dir == PROJECT_ROOT / "logs"


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml cannot be read: No such file"):
        load_config(tmp_path / "no.toml", {}, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, {}, {})
    binary = tmp_path / "trader.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(binary, {}, {})


def test_addresses(tmp_path: Path) -> None:
    assert load(tmp_path).gateway.address == ("127.0.0.1", 17497)
    assert load(tmp_path, gateway__endpoint="tws.lan:7497").gateway.address == ("tws.lan", 7497)
    assert load(tmp_path, gateway__endpoint="[::1]:4002").gateway.address == ("::1", 4002)


@pytest.mark.parametrize(
    ("flags", "account", "refusal"),
    [
        ({}, "DU1234567", None),
        ({"live": True}, "DU1234567", None),
        ({}, "U1234567", "--live"),
        ({"live": True}, "U1234567", "live_account"),
        ({"live_account": "U1234567"}, "U1234567", "--live"),
        ({"live": True, "live_account": "U7654321"}, "U1234567", "live_account"),
        ({"live": True, "live_account": "U1234567"}, "U1234567", None),
        ({"account": "DU7654321"}, "DU1234567", "gateway.account is DU7654321"),
        ({}, "", "not an account id"),
    ],
)
def test_i15_paper_unless_told_twice(
    tmp_path: Path, flags: dict[str, object], account: str, refusal: str | None
) -> None:
    config = load_config(None, {}, {f"gateway.{key}": value for key, value in flags.items()})
    if refusal is None:
        check_account(config, account)
        return
    with pytest.raises(ConfigError) as error:
        check_account(config, account)
    assert refusal in str(error.value)
