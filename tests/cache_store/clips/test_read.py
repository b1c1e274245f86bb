"""Any source gives the same table of clips."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache_store.clips import read_clips
from cache_store.errors import (
    DataError,
    EmptyInputError,
    LqtseError,
    SpaceMismatchError,
    UsageError,
)
from cache_store.manifest import SpaceRecord, named_space

ROWS = [
    {"path": "dog/1.wav", "label": "dog", "caption": "a dog barks", "fold": 1},
    {"path": "rain/2.wav", "label": "rain", "caption": "rain falls", "fold": 2},
]


def as_csv(folder: Path) -> Path:
    lines = ["path,label,caption,fold", *(",".join(map(str, row.values())) for row in ROWS)]
    (folder / "m.csv").write_text("\n".join(lines))
    return folder / "m.csv"


def as_tsv(folder: Path) -> Path:
    lines = ["path\tlabel\tcaption\tfold", *("\t".join(map(str, row.values())) for row in ROWS)]
    (folder / "m.tsv").write_text("\n".join(lines))
    return folder / "m.tsv"


def as_jsonl(folder: Path) -> Path:
    (folder / "m.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    return folder / "m.jsonl"


def as_parquet(folder: Path, embedding: object = None, **metadata: str) -> Path:
    table = pa.Table.from_pylist(ROWS)
    if embedding is not None:
        table = table.append_column("embedding", pa.array(embedding))
    pq.write_table(table.replace_schema_metadata(metadata or None), folder / "m.parquet")
    return folder / "m.parquet"


def as_audiosep(folder: Path) -> Path:
    entries = [{"wav": row["path"], **row} for row in ROWS]
    for entry in entries:
        del entry["path"]
    (folder / "m.json").write_text(json.dumps({"data": entries}))
    return folder / "m.json"


def as_audio_folder(folder: Path) -> Path:
    as_csv(folder).rename(folder / "metadata.csv")
    text = (folder / "metadata.csv").read_text().replace("path,", "file_name,")
    (folder / "metadata.csv").write_text(text)
    return folder


@pytest.mark.parametrize(
    "make", [as_csv, as_tsv, as_jsonl, as_parquet, as_audiosep, as_audio_folder]
)
def test_every_manifest_gives_the_same_table(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    table = read_clips(make(tmp_path))
    assert table.names == ("dog/1.wav", "rain/2.wav")
    assert tuple(table.paths) == (tmp_path / "dog/1.wav", tmp_path / "rain/2.wav")
    assert table.label == ("dog", "rain")
    assert table.caption == ("a dog barks", "rain falls")
    assert table.fold == (1, 2)
    assert table.embeddings is None
    assert table.space is None
    assert len(table) == 2


def test_a_folder_is_sorted_and_labelled_if_asked(tmp_path: Path) -> None:
    for name in ("rain/2.wav", "dog/1.wav", "3.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    table = read_clips(tmp_path)
    assert table.names == ("3.wav", "dog/1.wav", "rain/2.wav")
    assert table.label is None
    assert read_clips(tmp_path, label_from_folder=True).label == (tmp_path.name, "dog", "rain")


def test_labels_of_a_manifest_come_before_those_of_folders(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label\ndog/1.wav,bark\ncat/2.wav,\n")
    assert read_clips(tmp_path / "m.csv", label_from_folder=True).label == ("bark", "cat")


def test_paths_below_the_manifest_are_named_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"path\n{tmp_path}/a/1.wav\n/elsewhere/2.wav\n./b//3.wav\n")
    table = read_clips(tmp_path / "m.csv")
    assert table.names == ("a/1.wav", "/elsewhere/2.wav", "b/3.wav")
    assert tuple(table.paths) == (
        tmp_path / "a/1.wav",
        Path("/elsewhere/2.wav"),
        tmp_path / "b/3.wav",
    )


def test_embeddings_have_unit_norm_and_their_space(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(2, 5))
    path = as_parquet(tmp_path, vectors.tolist(), **{"lqtse.space": "clap of 2023"})
    table = read_clips(path)
    assert table.embeddings is not None
    expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(table.embeddings, expected, atol=1e-6)  # float32
    assert table.space == named_space("clap of 2023", 5)


def test_a_fingerprint_in_the_file_is_kept(tmp_path: Path) -> None:
    facts = {"lqtse.space": "clap", "lqtse.fingerprint": "f" * 32}
    table = read_clips(as_parquet(tmp_path, [[1.0], [1.0]], **facts))
    assert table.space == SpaceRecord("clap", "f" * 32, 1)


def test_embeddings_without_a_name_ask_for_one(tmp_path: Path) -> None:
    path = as_parquet(tmp_path, [[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(UsageError, match="--space-name"):
        read_clips(path)
    assert read_clips(path, space_name="mine").space == named_space("mine", 2)
    assert read_clips(path, embeddings=False).embeddings is None


def test_a_name_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    path = as_parquet(tmp_path, [[1.0], [1.0]], **{"lqtse.space": "theirs"})
    with pytest.raises(SpaceMismatchError, match=r"mine.*theirs"):
        read_clips(path, space_name="mine")


def test_embeddings_in_json_lines(tmp_path: Path) -> None:
    rows = [{**row, "embedding": [3.0, 4.0]} for row in ROWS]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = read_clips(tmp_path / "m.jsonl", space_name="mine")
    assert table.embeddings is not None
    np.testing.assert_allclose(table.embeddings, [[0.6, 0.8]] * 2, atol=1e-7)
    assert "embedding" not in table.columns


@pytest.mark.parametrize("wrong", [[[0.0, 0.0], [1.0, 0.0]], [[float("nan"), 1.0], [1.0, 0.0]]])
def test_embeddings_without_a_direction_are_named(tmp_path: Path, wrong: list[list[float]]) -> None:
    with pytest.raises(DataError, match="row 1 has an embedding that is zero or not finite"):
        read_clips(as_parquet(tmp_path, wrong), space_name="mine")


@pytest.mark.parametrize(
    ("name", "text", "kind", "why"),
    [
        ("m.csv", "file,fold\na.wav,1\n", DataError, "no column `path`.*found file, fold"),
        ("m.csv", "path,fold\na.wav,1\n,2\n", DataError, "line 3 has no path"),
        ("m.jsonl", '{"path": 7}\n', DataError, "line 1 has no path"),
        ("m.jsonl", '{"path": "a\\u0000b"}\n', DataError, "line 1 has no path"),
        ("m.csv", "path,embedding\na.wav,0.1 0.2\n", DataError, "line 2 has no embedding"),
        ("m.csv", "path\n", EmptyInputError, "no rows"),
        ("m.xlsx", "?", UsageError, "not a manifest"),
    ],
)
def test_faults(tmp_path: Path, name: str, text: str, kind: type[LqtseError], why: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(kind, match=why) as caught:
        read_clips(tmp_path / name)
    assert "\n" not in caught.value.message


def test_a_source_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder or manifest"):
        read_clips(tmp_path / "nowhere")


def test_one_recording_may_have_several_rows(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,caption\na.wav,one\na.wav,two\n")
    table = read_clips(tmp_path / "m.csv")
    assert table.names == ("a.wav", "a.wav")
    assert table.caption == ("one", "two")
