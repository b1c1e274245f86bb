from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import DataError, UsageError
from pipeline.caption_files import read_blocks
from pipeline.caption_files.text import check_utf8

_TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    min_size=1,
    max_size=8,
)


@given(texts=_TEXTS, kind=st.sampled_from([".csv", ".tsv", ".jsonl"]))
def test_any_text_survives_the_way_through_a_file(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], kind: str
) -> None:
    path = write_as(tmp_path_factory.mktemp("any") / f"in{kind}", texts)
    read = [text for block in read_blocks(path) for text in block.columns["caption"]]
    # csv's own writer is the oracle for what a cell holds; line ends inside it stay as they are.
    assert read == texts


def write_as(path: Path, texts: list[str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps({"caption": text}) + "\n" for text in texts)
            return path
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerow(["n", "caption"])
        writer.writerows(enumerate(texts))
    return path


@given(data=st.binary(max_size=60))
def test_utf8_is_what_python_decodes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "in.txt"
    path.write_bytes(data)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        with pytest.raises(DataError) as caught:
            check_utf8(path)
        if data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            line = data[: error.start].count(b"\n") + 1
            assert f"line {line}, byte {error.start} " in str(caught.value)
    else:
        check_utf8(path)


def test_blocks_count_rows_from_one_and_hold_all_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.caption_files.block.BLOCK_ROWS", 2)
    path = write_as(tmp_path / "in.csv", ["a", "b", "c", "d", "e"])
    blocks = list(read_blocks(path))
    assert [(block.first, len(block)) for block in blocks] == [(1, 2), (3, 2), (5, 1)]
    assert blocks[1].columns == {"n": [2, 3], "caption": ["c", "d"]}


def test_numbers_that_are_captions_stay_text(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("caption\n440\n")
    (block,) = read_blocks(tmp_path / "in.csv")
    assert block.columns["caption"] == ["440"]


def test_jsonl_columns_are_the_union_of_the_keys(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"caption": "a", "x": 1}\n{"caption": "b", "y": 2}\n')
    (block,) = read_blocks(tmp_path / "in.jsonl")
    assert block.columns == {"caption": ["a", "b"], "x": [1, None], "y": [None, 2]}


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a folder"):
        next(read_blocks(tmp_path))
