"""The scanner's file, valid and invalid: what becomes a setup, what is skipped, what is an error."""

import json
import os
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.config.sections import UniverseRules
from trader.core.strategy.ps60.setups import FILE_LIMIT_BYTES, SetupList, parse_setups
from trader.errors import ScannerError
from trader.runtime.scanner_file import load_setups

DAY = date(2025, 10, 6)
NAME = "scanner_results_20251006.json"
RULES = UniverseRules()
GOOD: dict[str, Any] = {
    "symbol": "TSLA",
    "close": 440.0,
    "resistance": 444.0,
    "support": 434.0,
    "target1": 449.0,
    "target2": 454.0,
    "target3": 460.18,
    "downside1": 429.0,
    "downside2": 424.0,
    "score": 85,
    "risk_reward": 2.1,
    "atr%": 4.9,
    "volume": 47_000_000,
    "breakout_reason": "Tested 5x",
    "setup": "Near breakout",
}


def parse(*records: object, rules: UniverseRules = RULES) -> SetupList:
    return parse_setups(json.dumps(list(records)).encode(), Path(NAME), rules)


def only_skip(*records: object, rules: UniverseRules = RULES) -> str:
    result = parse(*records, rules=rules)
    assert len(result.skipped) == 1
    return f"{result.skipped[0].symbol}: {result.skipped[0].why}"


def test_a_clean_record() -> None:
    result = parse(GOOD)
    setup = result.setups[0]
    assert result.skipped == ()
    assert (setup.pivot("LONG"), setup.pivot("SHORT")) == (444.0, 434.0)
    assert setup.targets("LONG") == (449.0, 454.0, 460.18)
    assert setup.targets("SHORT") == (429.0, 424.0, 417.82)
    assert setup.target1_of("SHORT") == 429.0
    assert (setup.atr_pct, setup.reason) == (4.9, "Tested 5x")
    assert result.get("TSLA") is setup
    assert result.get("NVDA") is None


def test_numbers_as_text_and_unknown_keys_are_fine() -> None:
    record = {key: str(value) for key, value in GOOD.items()} | {"sma50": None, "hourly_trend": [1]}
    assert parse(record).setups == parse(GOOD).setups


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"resistance": None}, "TSLA: its resistance is 'None'"),
        ({"resistance": float("nan")}, "TSLA: its resistance is 'nan'"),
        ({"resistance": "1e999"}, "TSLA: its resistance is '1e999'"),
        ({"resistance": True}, "TSLA: its resistance is 'True'"),
        ({"support": -3}, "TSLA: its support is '-3'"),
        ({"support": 0}, "TSLA: its support is '0'"),
        ({"support": 444.0}, "not below its resistance"),
        ({"support": 450.0}, "not below its resistance"),
        ({"support": 443.999}, "less than a cent"),
        ({"score": None}, "it has no score"),
        ({"symbol": ""}, "record 1: its symbol is ''"),
        ({"symbol": "../../etc"}, "record 1: its symbol is"),
        ({"symbol": "TSLA\n"}, ""),
        ({"symbol": 7}, "record 1: its symbol is '7'"),
        ({"symbol": "SPY"}, "SPY: it is one of universe.avoid_symbols"),
    ],
)
def test_a_bad_record_is_skipped_and_named(change: dict[str, Any], why: str) -> None:
    other = GOOD | {"symbol": "NVDA"}
    result = parse(GOOD | change, other)
    assert "NVDA" in [setup.symbol for setup in result.setups]
    if why:
        assert [f"{skip.symbol}: {skip.why}" for skip in result.skipped if why in f"{skip.symbol}: {skip.why}"]


@pytest.mark.parametrize("record", [{}, None, 3, "TSLA", [GOOD]])
def test_a_record_that_is_none_is_skipped_by_number(record: object) -> None:
    assert only_skip(GOOD, record).startswith("record 2: ")


def test_of_a_symbol_that_comes_twice_the_first_counts() -> None:
    result = parse(GOOD, GOOD | {"symbol": "tsla", "resistance": 500.0})
    assert [setup.resistance for setup in result.setups] == [444.0]
    assert "record 2" in result.skipped[0].why


@pytest.mark.parametrize(
    "change",
    [
        {"target1": None},
        {"target2": float("nan")},
        {"target1": 443.0},  # not beyond the pivot
        {"target1": 455.0},  # not in order
        {"target3": 44_400.0},  # a slip of the decimal point
        {"target1": "n/a", "target2": -1},
    ],
)
def test_targets_that_make_no_sense_are_computed(change: dict[str, Any]) -> None:
    assert parse(GOOD | change).setups[0].targets("LONG") == (449.0, 454.0, 460.18)


@pytest.mark.parametrize(
    "change", [{"downside1": None}, {"downside1": 435.0}, {"downside2": 430.0}, {"downside2": -4}]
)
def test_downsides_that_make_no_sense_are_computed(change: dict[str, Any]) -> None:
    assert parse(GOOD | change).setups[0].targets("SHORT")[:2] == (429.0, 424.0)


def test_targets_that_make_sense_are_the_scanners() -> None:
    setup = parse(GOOD | {"target1": 450.0, "downside1": "428.5"}).setups[0]
    assert setup.targets("LONG") == (450.0, 454.0, 460.18)
    assert setup.targets("SHORT")[:2] == (428.5, 424.0)


def test_the_least_that_is_a_setup() -> None:
    record = {"symbol": "X", "score": "5", "resistance": 0.02, "support": 0.01}
    setup = parse(record, rules=UniverseRules(min_score=5)).setups[0]
    assert setup.targets("LONG") == (0.025, 0.03, 0.0362)


def test_a_wide_range_has_no_negative_downside() -> None:
    setup = parse({"symbol": "X", "score": 1, "resistance": 10.0, "support": 1.0}).setups[0]
    assert setup.targets("SHORT") == (0.01, 0.01, 0.01)


def test_score_symbols_and_count_narrow_the_list() -> None:
    records = [GOOD | {"symbol": name, "score": score} for name, score in (("A", 10), ("B", 90), ("C", 50))]
    assert [s.symbol for s in parse(*records, rules=UniverseRules(min_score=40)).setups] == ["B", "C"]
    asked = parse(*records, rules=UniverseRules(symbols=("C", "Z")))
    assert ([s.symbol for s in asked.setups], asked.missing) == (["C"], ("Z",))
    best = parse(*records, rules=UniverseRules(max_symbols=2))
    assert ([s.symbol for s in best.setups], [s.symbol for s in best.skipped]) == (["B", "C"], ["A"])


def test_an_empty_object_means_no_setups() -> None:
    assert parse_setups(b" {} ", Path(NAME), RULES).setups == ()
    assert parse_setups(b"[]", Path(NAME), RULES).setups == ()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "not valid JSON"),
        (b'[{"symbol": "TSLA", "resi', "not valid JSON"),
        (b'{"TSLA": {}}', "holds a dict"),
        (b'"TSLA"', "holds a str"),
        (b"\xff\xfe[]", "not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "not valid JSON"),
        (b"[" + b"1," * 10_000 + b"1]", "more than 10000"),
        (b" " * (FILE_LIMIT_BYTES + 1), "larger than 16 MiB"),
    ],
)
def test_a_bad_file_is_one_clear_error(data: bytes, named: str) -> None:
    with pytest.raises(ScannerError) as error:
        parse_setups(data, Path(NAME), RULES)
    assert named in str(error.value)
    assert NAME in str(error.value)
    assert error.value.exit_code == 2


def test_a_byte_order_mark_is_no_obstacle() -> None:
    data = b"\xef\xbb\xbf" + json.dumps([GOOD]).encode()
    assert len(parse_setups(data, Path(NAME), RULES).setups) == 1


def test_the_file_is_found_by_the_trading_date(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(json.dumps([GOOD]))
    assert load_setups(tmp_path, DAY, RULES).path == tmp_path / NAME
    link = tmp_path / "latest"
    link.mkdir()
    (link / NAME).symlink_to(tmp_path / NAME)
    assert len(load_setups(link, DAY, RULES).setups) == 1


def test_a_missing_file_tells_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(ScannerError, match=r"scanner_results_20251006\.json.*holds no scanner results"):
        load_setups(tmp_path, DAY, RULES)
    (tmp_path / "scanner_results_20251003.json").write_text("[]")
    with pytest.raises(ScannerError, match=r"there: scanner_results_20251003\.json"):
        load_setups(tmp_path, DAY, RULES)
    with pytest.raises(ScannerError, match="folder does not exist"):
        load_setups(tmp_path / "no", DAY, RULES)


def test_a_folder_in_the_files_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(ScannerError, match="cannot be read"):
        load_setups(tmp_path, DAY, RULES)


values = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.floats(0, 1000).map(str)
changes = st.dictionaries(st.sampled_from(sorted(GOOD)), values, max_size=4)


@given(st.lists(changes, max_size=4))
def test_whatever_the_records_a_setup_is_sound(dirt: list[dict[str, Any]]) -> None:
    result = parse(*(GOOD | change for change in dirt))
    assert len(result.setups) + len(result.skipped) == len(dirt)
    for setup in result.setups:
        assert 0 < setup.downside2 <= setup.downside1 < setup.resistance
        assert setup.support < setup.resistance < setup.target1 < setup.target2 < setup.target3


def test_the_scan_of_a_real_day_has_eight_setups() -> None:
    root = os.environ.get("TRADER_DATA_DIR", str(Path(__file__).resolve().parents[3] / "shared" / "data"))
    folder = Path(root) / "2025-10-21"
    if not folder.is_dir():
        pytest.skip(f"no recorded day in {root}; set TRADER_DATA_DIR")
    result = load_setups(folder, date(2025, 10, 21), RULES)
    assert (len(result.setups), result.skipped) == (8, ())
    smci = result.get("SMCI")
    assert smci is not None
    assert (smci.resistance, smci.target1, smci.downside2) == (56.6, 57.6, 52.6)
