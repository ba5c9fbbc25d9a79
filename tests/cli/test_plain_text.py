"""Text from outside as it may be shown: what a terminal, a log or a page would act on is visible instead."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trader.plain_text import LENGTH_MAX, json_printable, plain, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Order rejected: grün,: too large, 5 € ✓", "Order rejected: grün,: too large, 5 € ✓"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\x00\x07\x7f\x9b", r"a\x00\x07\x7f\x9b"),
        ("a\nb\r\nc\rd", "a / b / c / d"),
        ("a\u2028b\u2029c\x85d\x0be", r"a\u2028b\u2029c\x85d\x0be"),
        ("a\u202eb\u2066c\u200fd", r"a\u202eb\u2066c\u200fd"),
        ("a\ud800b", r"a\ud800b"),
        ("a\tb\xa0c", "a b c"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_g08_control_characters_are_visible(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_g08_a_text_is_bounded() -> None:
    assert len(plain("x" * 10_000)) == LENGTH_MAX
    assert len(plain("\x1b" * 10_000)) == LENGTH_MAX
    assert plain("x" * 10_000, 20) == "x" * 19 + "…"
    assert len(plain("x" * 10_000, None)) == 10_000


@given(st.text(st.characters(exclude_categories=())))
def test_g08_nothing_but_printable_characters_is_left(text: str) -> None:
    assert plain(text, None).isprintable()
    assert plain(plain(text)) == plain(text)
    assert all(one.isprintable() or one == "\n" for one in printable(text))
    assert printable(text).count("\n") == text.count("\n")


@given(st.text())
def test_g08_json_keeps_its_meaning(text: str) -> None:
    shown = json_printable(json.dumps({text: [text]}, ensure_ascii=False, indent=2))
    assert all(one.isprintable() or one == "\n" for one in shown)
    assert json.loads(shown) == {text: [text]}
