from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.errors import DataError, EmptyInputError, UsageError
from pipeline.importing import import_captions
from pipeline.peek import peek
from tests.pipeline.materials import captions, write_lines, write_vectors


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Four embedded captions, then six that wait, in shards of three, and one refused."""
    folder = tmp_path / "c"
    import_captions(folder, write_vectors(tmp_path / "a.parquet", captions(4)), embeddings=True)
    source = write_lines(tmp_path / "b.txt", [*captions(10), ""])
    import_captions(folder, source, shard_rows=3)
    return folder


def test_the_first_rows_in_their_order(cache: Path) -> None:
    seen = peek(cache, count=6)
    assert [row["caption"] for row in seen.rows] == captions(6)
    assert [row["row"] for row in seen.rows] == list(range(6))
    assert seen.total == 10


def test_no_more_than_there_are(cache: Path) -> None:
    assert len(peek(cache, count=99).rows) == 10


def test_a_sample_is_the_same_for_the_same_seed(cache: Path) -> None:
    first, again, other = (peek(cache, count=5, seed=seed).rows for seed in (1, 1, 2))
    assert first == again != other
    assert len({row["row"] for row in first}) == 5


def test_rejects_come_with_their_reason(cache: Path) -> None:
    (row,) = peek(cache, rejects=True).rows
    assert (row["reason"], row["caption"]) == ("empty", "")


def test_one_file_by_its_path_or_the_beginning_of_its_name(cache: Path) -> None:
    (data,) = (cache / "data").glob("*.parquet")
    for name in (f"data/{data.name}", data.name[:12], "data/"):
        seen = peek(cache, shard=name)
        assert seen.file is not None and seen.file.path == f"data/{data.name}"
        assert [row["caption"] for row in seen.rows] == captions(4)
    assert peek(cache, shard="rejects/").rows[0]["reason"] == "empty"


def test_a_name_of_no_file_or_of_several_is_refused(cache: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        peek(cache, shard="zzz")
    with pytest.raises(UsageError, match="more than one"):
        peek(cache, shard="captions/")


def test_nothing_to_see(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no cache"):
        peek(tmp_path / "missing")
    import_captions(tmp_path / "c", write_lines(tmp_path / "in.txt", captions(2)))
    with pytest.raises(EmptyInputError, match="no refused captions"):
        peek(tmp_path / "c", rejects=True)
