"""Text manifests: values as meant, and every fault with its line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache_store.clips.text import read_audiosep, read_csv, read_jsonl, typed
from cache_store.errors import DataError, EmptyInputError, LqtseError

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


def save(folder: Path, text: str | bytes, name: str = "m.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_csv_types_columns_and_keeps_text_text(tmp_path: Path) -> None:
    path = save(tmp_path, "path,fold,gain,label,note\na.wav,1,0.5,7,\nb.wav,,-1,8,x\n")
    columns, name_row = read_csv(path, ",")
    assert columns == {
        "path": ["a.wav", "b.wav"],
        "fold": [1, None],
        "gain": [0.5, -1.0],
        "label": ["7", "8"],
        "note": [None, "x"],
    }
    assert [name_row(0), name_row(1)] == ["line 2", "line 3"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
def test_csv_reads_what_python_wrote(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "m.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("label", "caption"), *rows])
    columns, _ = read_csv(path, ",")
    expected = [[row[at] if row[at].strip() else None for row in rows] for at in (0, 1)]
    assert [columns["label"], columns["caption"]] == expected


def test_a_byte_order_mark_and_windows_lines_do_not_matter(tmp_path: Path) -> None:
    path = save(tmp_path, b"\xef\xbb\xbfpath,fold\r\na.wav,1\r\n\r\nb.wav,2\r\n")
    columns, name_row = read_csv(path, ",")
    assert columns == {"path": ["a.wav", "b.wav"], "fold": [1, 2]}
    assert name_row(1) == "line 4"


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", " 2 ", ""], [1, 2, None]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1", "x"], ["1", "x"]),
        (["", " "], [None, None]),
    ],
)
def test_typed(cells: list[str], values: list[object]) -> None:
    assert typed("fold", cells) == values


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("path,fold\na.wav,1\nb.wav\n", r"line 3 has another number .*expected 2, found 1"),
        ("path,fold\na.wav,1,9\n", r"line 2 has another number"),
        ("path,fold,path\na,1,b\n", "names path twice"),
        ('path\n"a.wav\n', "is not CSV"),
        (b"path\ncaf\xe9.wav\n", "is not UTF-8 .*near line"),
        ("path,fold\n", "no rows"),
        ("", "no rows"),
    ],
)
def test_csv_faults(tmp_path: Path, text: str | bytes, why: str) -> None:
    with pytest.raises((DataError, EmptyInputError), match=why) as caught:
        read_csv(save(tmp_path, text), ",")
    assert "m.csv" in caught.value.message
    assert "\n" not in caught.value.message


def test_jsonl_fills_missing_keys(tmp_path: Path) -> None:
    path = save(tmp_path, '{"path": "a.wav", "fold": 1}\n\n{"path": "b.wav", "label": "dog"}\n')
    columns, name_row = read_jsonl(path)
    assert columns == {
        "path": ["a.wav", "b.wav"],
        "fold": [1, None],
        "label": [None, "dog"],
    }
    assert name_row(1) == "line 3"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"path": "a"}\n{"path": \n', "line 2 is not JSON"),
        ('["a"]\n', "line 1 is not a JSON object"),
        ("[" * 100_000 + "\n", "line 1 is not JSON"),
        (b'{"path": "\xff"}\n', "is not UTF-8"),
        ("\n", "no rows"),
    ],
)
def test_jsonl_faults(tmp_path: Path, text: str | bytes, why: str) -> None:
    with pytest.raises(DataError, match=why) as caught:
        read_jsonl(save(tmp_path, text))
    assert "\n" not in caught.value.message


def test_audiosep_list(tmp_path: Path) -> None:
    entries = [{"wav": "a.wav", "caption": "a dog"}, {"wav": "/x/b.wav", "caption": "rain"}]
    path = save(tmp_path, json.dumps({"data": entries}))
    columns, name_row = read_audiosep(path)
    assert columns == {"path": ["a.wav", "/x/b.wav"], "caption": ["a dog", "rain"]}
    assert name_row(0) == "entry 1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"data": [{"caption": "x"}]}', "entry 1 has no `wav`"),
        ('{"data": ["a.wav"]}', "entry 1 has no `wav`"),
        ('{"data": []}', "is empty"),
        ('{"clips": []}', "not a list of clips"),
        ('[{"wav": "a"}]', "not a list of clips"),
        ("{", "not JSON"),
    ],
)
def test_audiosep_faults(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(LqtseError, match=why):
        read_audiosep(save(tmp_path, text))
