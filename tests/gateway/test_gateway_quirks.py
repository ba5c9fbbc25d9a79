"""Quirks: switched at the start and while running, and each one documented."""

import re
from pathlib import Path

import pytest

from paper_gateway.errors import ControlError, GatewayError
from paper_gateway.quirks import QUIRKS, Quirk, Quirks
from paper_gateway.testing import RunningGateway

PAGE = Path(__file__).resolve().parents[2] / "docs" / "GATEWAY.md"


def test_the_page_lists_each_quirk_with_its_source() -> None:
    rows = re.findall(r"^\| `([a-z][^`]*)` \| (.+) \| (.+) \|$", PAGE.read_text().split("## Quirks")[1], re.M)
    assert [(name.replace("\\|", "|"), about, source) for name, about, source in rows] == [
        (quirk.form, quirk.about, quirk.source) for quirk in QUIRKS
    ]


def test_each_source_has_a_mark() -> None:
    assert [quirk.name for quirk in QUIRKS if not re.match(r"[CDRU]\b", quirk.source)] == []


@pytest.mark.parametrize(
    ("quirk", "value", "kept"),
    [
        (Quirk("a", "flag", "", ""), "", "on"),
        (Quirk("a", "seconds", "", "", default="3"), "", "3"),
        (Quirk("a", "seconds", "", "", choices=("never",)), "never", "never"),
        (Quirk("a", "whole", "", ""), "20", "20"),
        (Quirk("a", "choice", "", "", choices=("utc", "dash")), "dash", "dash"),
    ],
)
def test_a_value_is_checked(quirk: Quirk, value: str, kept: str) -> None:
    assert quirk.check(value) == kept


@pytest.mark.parametrize(
    ("quirk", "value"),
    [
        (Quirk("a", "flag", "", ""), "3"),
        (Quirk("a", "seconds", "", ""), ""),
        (Quirk("a", "seconds", "", ""), "-1"),
        (Quirk("a", "seconds", "", ""), "nan"),
        (Quirk("a", "whole", "", ""), "1.5"),
        (Quirk("a", "choice", "", "", choices=("utc",)), "noon"),
    ],
)
def test_a_wrong_value_is_refused(quirk: Quirk, value: str) -> None:
    with pytest.raises(ControlError, match="cannot have the value"):
        quirk.check(value)


def test_an_unknown_quirk_is_refused() -> None:
    with pytest.raises(ControlError, match="no quirk"):
        Quirks.parse(["no-such"])


def test_quirks_are_switched_at_the_start_and_while_running() -> None:
    name = "no-completed"
    with RunningGateway("--quirk", name) as gateway:
        assert name in gateway.ctl("quirk")["quirks"]
        gateway.ctl("quirk", name=name, off=True)
        assert gateway.ctl("quirk")["quirks"] == {}
        gateway.ctl("quirk", name=name)
        assert name in gateway.ctl("quirk")["quirks"]


def test_a_wrong_quirk_ends_the_start() -> None:
    with pytest.raises(GatewayError, match="no quirk"):
        RunningGateway("--quirk", "no-such")
