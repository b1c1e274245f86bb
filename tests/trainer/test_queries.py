from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cache_store.cache import open_cache
from cache_store.errors import DataError, SpaceMismatchError, UsageError
from cache_store.manifest import SpaceRecord, named_space
from tests.trainer.world import CAPTIONS, DIM, SPACE, World, text_vectors, write_cache
from trainer.queries import TextQueries, column_texts, find_captions


def write_table(path: Path, captions: list[str], space: str = "test") -> str:
    vectors = np.eye(DIM, dtype=np.float32)[: len(captions)]
    table = pa.table({"caption": captions, "embedding": list(vectors)})
    pq.write_table(table.replace_schema_metadata({"lqtse.space": space}), path)
    return f"stored:{path}"


def test_captions_of_the_cache_are_known_whatever_their_white_space(world: World) -> None:
    queries = TextQueries(SPACE, cache=world.cache)
    found = queries.embed([CAPTIONS[2], f"  {CAPTIONS[0]}\n", CAPTIONS[2]])
    np.testing.assert_allclose(found, text_vectors()[[2, 0, 2]], atol=1e-6)
    assert found.dtype == np.float32


def test_a_text_known_nowhere_says_what_to_do(world: World) -> None:
    with pytest.raises(DataError, match=r"1 of 2 texts are not known, the first: 'a cat'.*--space"):
        TextQueries(SPACE, cache=world.cache).embed(["a dog", "a cat"])


def test_a_cache_that_is_gone_is_an_unknown_text_and_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not known"):
        TextQueries(SPACE, cache=tmp_path / "gone").embed(["a dog"])


def test_a_cache_that_was_made_anew_in_another_space_is_not_asked(tmp_path: Path) -> None:
    cache = write_cache(tmp_path / "cache", named_space("other", DIM))
    with pytest.raises(DataError, match="not known"):
        TextQueries(SPACE, cache=cache).embed(["a dog"])


def test_a_table_that_the_user_names_comes_before_the_cache(world: World, tmp_path: Path) -> None:
    spec = write_table(tmp_path / "texts.parquet", ["a cat", "a dog"])
    queries = TextQueries(SPACE, spec=spec, cache=world.cache)
    found = queries.embed(["a dog", "a cat", "a rain"])
    np.testing.assert_allclose(found[:2], np.eye(DIM)[[1, 0]], atol=1e-6)
    np.testing.assert_allclose(found[2], text_vectors()[2], atol=1e-6)


def test_a_table_of_another_space_is_refused_and_both_are_named(
    world: World, tmp_path: Path
) -> None:
    spec = write_table(tmp_path / "texts.parquet", ["a cat"], "other")
    with pytest.raises(SpaceMismatchError, match=r"expected test \[.*found other \["):
        TextQueries(SPACE, spec=spec, cache=world.cache)


class Model:
    """A space that is at hand as a model."""

    def __init__(self, record: SpaceRecord) -> None:
        self.record = record
        self.asked: list[str] = []

    def embed_text(self, texts: list[str]) -> np.ndarray[Any, Any]:
        self.asked += texts
        return np.tile(np.eye(DIM, dtype=np.float32)[0], (len(texts), 1))


@pytest.mark.parametrize(
    ("name", "asked"), [("tiny", ["a dog", "a cat"]), ("hf:somewhere", ["a cat"])]
)
def test_a_model_that_the_space_names_embeds_what_nobody_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, asked: list[str]
) -> None:
    record = SpaceRecord(name, "fingerprint", DIM)
    model = Model(record)
    monkeypatch.setattr("cache_store.spaces.load_space", lambda *_, **__: model)
    queries = TextQueries(record, cache=write_cache(tmp_path / "cache", record))
    assert queries.embed(["a dog", "a cat"]).shape == (2, DIM)
    # `tiny` is loaded in no time; a large model only for what the cache does not have.
    assert model.asked == asked


def test_rows_are_found_by_caption(world: World) -> None:
    with open_cache(world.cache) as cache:
        assert find_captions(cache, ["a rain", "nothing", "a bell"]) == {"a rain": 2, "a bell": 0}


def test_a_column_with_gaps_cannot_be_asked_with() -> None:
    columns = {"caption": ["a dog", None, ""]}
    with pytest.raises(UsageError, match="2 of 3 clips have no caption"):
        column_texts(columns, "caption", "clips.csv")
    with pytest.raises(UsageError, match="no column 'label'"):
        column_texts(columns, "label", "clips.csv")
