from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.printing import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a dog barks", "a dog barks"),
        ("é 漢字 🎉", "é 漢字 🎉"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\rb\tc\nd", r"a\rb\tc\nd"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egod\u2066", r"\u202egod\u2066"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_a_terminal_might_act_on_is_spelled(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_may_stay_lines() -> None:
    assert printable("a\n\x1bb\r\n", lines=True) == "a\n\\x1bb\\r\n"


@given(st.text())
def test_nothing_that_acts_is_left_whatever_the_text(text: str) -> None:
    shown = printable(text)
    assert not [one for one in shown if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert shown.encode("utf-8").decode() == shown
