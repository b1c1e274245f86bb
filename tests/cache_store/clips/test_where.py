"""Selecting rows by an expression: right rows, and nothing but the small language."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.clips import ClipTable
from cache_store.clips.where import matching_rows
from cache_store.errors import EmptyInputError, UsageError

COLUMNS = {
    "fold": (1, 2, 3, 4, None),
    "label": ("dog", "rain", None, "dog", "sea"),
    "seconds": (5.0, 1.0, 2.5, 0.5, None),
    "name": ("a/1.wav", "a/2.wav", "b/3.wav", "b/4.wav", "b/5.wav"),
}


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("fold != 4", [0, 1, 2, 4]),
        ("fold in (1, 2)", [0, 1]),
        ("fold not in [1, 2]", [2, 3, 4]),
        ("fold in {3}", [2]),
        ('label == "dog" and fold < 3', [0]),
        ("label is None or seconds >= 5", [0, 2]),
        ("label is not None", [0, 1, 3, 4]),
        ("not (fold == 1)", [1, 2, 3, 4]),
        ("1 < fold <= 3", [1, 2]),
        ("fold < 2.5", [0, 1]),  # a missing value is in no order
        ("fold > -1", [0, 1, 2, 3]),
        ('"a/" in name', [0, 1]),
        ('name not in ("a/1.wav",)', [1, 2, 3, 4]),
        ("  fold == 1 or\n fold == 2 ".replace("\n", " "), [0, 1]),
    ],
)
def test_selects(expression: str, rows: list[int]) -> None:
    assert matching_rows(expression, COLUMNS, 5).nonzero()[0].tolist() == rows


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("fold ==", "not an expression"),
        ("fold = 4", "not an expression"),
        ("folds == 4", "no column `folds`; the columns are fold, label, name, seconds"),
        ('fold == "4"', "compares text"),
        ("label == 4", "compares text"),
        ("label < 4", "compares text"),
        ("label in (1, 2)", "compares text"),
        ("fold in 4", "needs a list"),
        ("fold < (1, 2)", "no order"),
        ("fold + 1 == 2", "not allowed"),
        ("__import__('os').system('true')", "not allowed"),
        ("label.upper() == 'DOG'", "not allowed"),
        ("[x for x in label]", "not allowed"),
        ("(lambda: 1)()", "not allowed"),
        ("fold[0] == 1", "not allowed"),
        ("f'{fold}' == '1'", "not allowed"),
        ("fold == b'1'", "not allowed"),
        ("(fold := 1) == 1", "not allowed"),
        ("not " * 600 + "fold", "longer than"),
        ("(" * 900 + "fold" + ")" * 900, "nested|not an expression"),
        ("-" * 1500 + "1 == fold", "nested|not an expression|not allowed"),
    ],
)
def test_refuses_in_one_line(expression: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        matching_rows(expression, COLUMNS, 5)
    assert "\n" not in caught.value.message


@given(st.text(max_size=60))
def test_any_text_selects_or_is_a_usage_error(text: str) -> None:
    try:
        matching_rows(text, COLUMNS, 5)
    except UsageError as error:
        assert "\n" not in error.message


@given(
    st.lists(st.sampled_from(["fold", "seconds"]), min_size=3, max_size=3),
    st.lists(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), min_size=3, max_size=3),
    st.lists(st.integers(-1, 5), min_size=3, max_size=3),
    st.sampled_from(["{} and {} or {}", "not {} and ({} or {})", "{} or {} and not {}"]),
)
def test_agrees_with_python(
    names: list[str], operations: list[str], numbers: list[int], form: str
) -> None:
    parts = [f"{a} {op} {n}" for a, op, n in zip(names, operations, numbers, strict=True)]
    expression = form.format(*parts)
    rows = range(4)  # without the missing values, for which Python has no order
    # Python itself is the oracle, over an expression that this test has made.
    expected = [
        bool(eval(expression, {}, {name: COLUMNS[name][row] for name in names})) for row in rows
    ]
    assert matching_rows(expression, COLUMNS, 4).tolist() == expected


def test_a_table_is_cut_to_the_rows_and_keeps_their_order() -> None:
    table = ClipTable(tuple(Path(name) for name in COLUMNS["name"]), COLUMNS["name"], COLUMNS)
    assert table.where("fold > 2").names == ("b/3.wav", "b/4.wav")
    assert table.where(" ") is table
    with pytest.raises(EmptyInputError, match="no clip matches `fold == 9`"):
        table.where("fold == 9")
