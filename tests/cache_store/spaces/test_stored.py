"""A table of captions and embeddings works as a space for its captions, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache_store.errors import DamagedError, DataError, EmptyInputError, UsageError
from cache_store.manifest import named_space
from cache_store.spaces import Space, load_space

CAPTIONS = ["This is a sound of dog.", "rain", "a siren"]
VECTORS = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, -2.0]], dtype=np.float32)


def write(
    path: Path,
    captions: list[str | None] = CAPTIONS,
    vectors: object = None,
    *,
    kind: pa.DataType | None = None,
    **metadata: str,
) -> Path:
    rows = VECTORS.tolist() if vectors is None else vectors
    table = pa.table(
        {
            "caption": pa.array(captions, pa.string()),
            "embedding": pa.array(rows, kind or pa.list_(pa.float32(), 2)),
        }
    )
    keys = {f"lqtse.{name}": value for name, value in metadata.items()}
    pq.write_table(table.replace_schema_metadata(keys), path)
    return path


def test_known_captions_are_looked_up_in_order(tmp_path: Path) -> None:
    space = load_space(f"stored:{write(tmp_path / 't.parquet', space='laion-clap')}")
    assert isinstance(space, Space)
    got = space.embed_text(["a siren", "This is  a sound\tof dog.", "a siren"])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [[0, -1], [0.6, 0.8], [0, -1]], atol=1e-7)


def test_the_space_is_the_one_the_file_names(tmp_path: Path) -> None:
    space = load_space(f"stored:{write(tmp_path / 't.parquet', space='laion-clap')}")
    assert space.record == named_space("laion-clap", 2)
    assert (space.name, space.dim, space.fingerprint) == (
        "laion-clap",
        2,
        space.record.fingerprint,
    )


def test_a_fingerprint_in_the_file_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", space="hf:x", fingerprint="clap:0123")
    assert load_space(f"stored:{path}").record.fingerprint == "clap:0123"


def test_a_file_without_a_space_needs_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="--space-name"):
        load_space(f"stored:{path}")
    assert load_space(f"stored:{path}", space_name="mine").record == named_space("mine", 2)


def test_two_names_for_one_file_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", space="laion-clap")
    with pytest.raises(UsageError, match=r"expected mine, found laion-clap"):
        load_space(f"stored:{path}", space_name="mine")


def test_an_unknown_text_is_a_clear_error(tmp_path: Path) -> None:
    space = load_space(f"stored:{write(tmp_path / 't.parquet', space='laion-clap')}")
    with pytest.raises(DataError, match=r"1 of 2 texts .* 'a sirene'.*Did you mean 'a siren'\?"):
        space.embed_text(["rain", "a sirene"])


def test_it_cannot_hear(tmp_path: Path) -> None:
    space = load_space(f"stored:{write(tmp_path / 't.parquet', space='laion-clap')}")
    with pytest.raises(UsageError, match="no audio tower"):
        space.embed_audio([np.zeros(4, np.float32)], 48_000)


def test_nothing_is_too_long_for_a_table(tmp_path: Path) -> None:
    space = load_space(f"stored:{write(tmp_path / 't.parquet', space='laion-clap')}")
    assert space.text_limit is None
    assert space.count_tokens(["a b c", ""]).tolist() == [3, 0]
    assert space.too_long(["word " * 1000]).tolist() == [False]
    assert space.embed_text([]).shape == (0, 2)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.large_list(pa.float16())])
def test_other_lists_of_floats_are_read_too(tmp_path: Path, kind: pa.DataType) -> None:
    vectors = [np.asarray(row, np.float16) for row in VECTORS]
    path = write(tmp_path / "t.parquet", vectors=vectors, kind=kind, space="s")
    np.testing.assert_allclose(load_space(f"stored:{path}").embed_text(["rain"]), [[1, 0]])


@pytest.mark.parametrize(
    ("captions", "vectors", "kind", "message"),
    [
        (["a", None], [[1, 0], [0, 1]], None, "without a caption"),
        (["a", "b"], [[1, 0], None], None, r"without a caption or an embedding|index \d had"),
        (["a", "b"], [[1, 0], [0, np.nan]], None, "not finite.*row 1"),
        (["a", "b"], [[1, 0], [0, 0]], None, "all zeros.*row 1"),
        (["a", "b"], [[1, 0], [0, 0, 1]], pa.list_(pa.float32()), "differ in width"),
        (["a", "a "], [[1, 0], [0, 1]], None, "different embeddings for 'a '.*rows 0 and 1"),
        (["a", "b"], ["x", "y"], pa.string(), "wrong type.*string"),
        (["a"], [[1]], pa.list_(pa.int64()), "wrong type"),
    ],
)
def test_a_bad_table_is_named(
    tmp_path: Path, captions: list[str | None], vectors: object, kind: pa.DataType, message: str
) -> None:
    path = write(tmp_path / "t.parquet", captions, vectors, kind=kind, space="s")
    with pytest.raises(DataError, match=message):
        load_space(f"stored:{path}")


def test_rows_that_repeat_a_caption_with_its_embedding_are_fine(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", ["a", "a"], [[1, 0], [2, 0]], space="s")
    assert load_space(f"stored:{path}").embed_text(["a"]).tolist() == [[1.0, 0.0]]


def test_missing_empty_and_damaged_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_space(f"stored:{tmp_path / 'none.parquet'}")
    with pytest.raises(EmptyInputError):
        load_space(f"stored:{write(tmp_path / 'empty.parquet', [], [], space='s')}")
    cut = write(tmp_path / "cut.parquet", space="s")
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(DamagedError, match=r"cut\.parquet"):
        load_space(f"stored:{cut}")
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"caption": ["a"]}), other)
    with pytest.raises(DataError, match="no column embedding"):
        load_space(f"stored:{other}")
