from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from cache_store import card_yaml, schema
from cache_store.cache import open_cache
from cache_store.card import render_card
from cache_store.compact import compact_cache
from cache_store.manifest import FileEntry, Manifest
from cache_store.merge import merge_caches
from cache_store.removing import remove_captions
from cache_store.shards import read_table, to_matrix
from cache_store.text import caption_id
from cache_store.writer import open_writer
from tests.cache_store.builders import (
    DIM,
    SPACE,
    add_step,
    caption_table,
    captions,
    data_table,
    reject_table,
)

# datasets leaves its streaming files to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def load(path: Path, tmp_path: Path, name: str | None = None, **options: Any) -> Any:
    return datasets.load_dataset(str(path), name, cache_dir=str(tmp_path / "hf"), **options)


def matrix_of(path: Path) -> Any:
    """The embeddings as they lie in the files, in manifest order, [N, D]: the oracle."""
    with open_cache(path) as cache:
        parts = [read_table(path / entry.path, ["embedding"]) for entry in cache.manifest.data]
    return np.concatenate([to_matrix(part.column("embedding")) for part in parts])


@pytest.fixture
def long_path(tmp_path: Path) -> Path:
    """A cache of six manifests, whose files are not in the order of their names."""
    path = tmp_path / "cache"
    for step in range(6):
        add_step(path, 5, first=5 * step)
    with open_cache(path) as cache:
        assert cache.manifest.number == 6
        names = [entry.path for entry in cache.manifest.data]
    assert names != sorted(names)
    return path


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A cache of captions alone, two files of them."""
    path = tmp_path / "cache"
    with open_writer(path) as writer:
        tables = (caption_table(4), caption_table(3, 4))
        writer.publish(captions=[writer.write_captions(table) for table in tables])
    return path


@pytest.mark.parametrize("streaming", [False, True])
def test_a_plain_load_opens_the_folder(long_path: Path, tmp_path: Path, streaming: bool) -> None:
    dataset = load(long_path, tmp_path, streaming=streaming)
    assert list(dataset) == ["train"]
    rows = list(dataset["train"])
    # In manifest order, which is the order of rows.
    assert [row["caption"] for row in rows] == captions(30)
    assert rows[4]["concepts"] == ["sound", "kind 1"]
    features = dataset["train"].features
    assert features["embedding"].length == DIM
    assert features["embedding"].feature.dtype == "float16"
    assert features["concepts"].feature.dtype == features["id"].dtype == "string"
    matrix = np.array([row["embedding"] for row in rows], dtype=np.float16)
    np.testing.assert_array_equal(matrix, matrix_of(long_path))


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("form", ["torch", "numpy"])
def test_embeddings_arrive_as_arrays(
    tmp_path: Path, form: str, dtype: str, streaming: bool
) -> None:
    path = tmp_path / "cache"
    for first in (0, 9):
        add_step(path, 9, first=first, dtype=dtype)
    expected = matrix_of(path)
    dataset = load(path, tmp_path, split="train", streaming=streaming).with_format(form)
    rows = list(dataset)
    kind = torch.Tensor if form == "torch" else np.ndarray
    assert all(isinstance(row["embedding"], kind) for row in rows)
    assert {tuple(row["embedding"].shape) for row in rows} == {(DIM,)}
    # Without a dtype, datasets widens float16 to float32, which loses nothing.
    found = np.stack([np.asarray(row["embedding"]) for row in rows])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.astype(np.float32))
    assert [row["caption"] for row in rows] == captions(18)
    if not streaming:
        half = torch.float16 if form == "torch" else np.float16
        batch = dataset.with_format(form, dtype=half)[3:8]["embedding"]
        assert (tuple(batch.shape), batch.dtype) == ((5, DIM), half)


def test_a_stream_follows_the_cache_through_all_that_changes_it(tmp_path: Path) -> None:
    path, other, merged = (tmp_path / name for name in ("cache", "other", "merged"))

    def follows(cache: Path) -> None:
        stream = load(cache, tmp_path, split="train", streaming=True).with_format("torch")
        rows = list(stream)
        with open_cache(cache) as store:
            tables = [read_table(cache / entry.path, ["id"]) for entry in store.manifest.data]
        ids = [name for table in tables for name in table.column("id").to_pylist()]
        assert [row["id"] for row in rows] == ids
        vectors = torch.stack([row["embedding"] for row in rows])
        np.testing.assert_array_equal(vectors.numpy(), matrix_of(cache).astype(np.float32))
        # What stopped in the middle goes on from there.
        begun = iter(stream)
        first = [next(begun)["id"] for _ in range(4)]
        again = load(cache, tmp_path, split="train", streaming=True)
        again.load_state_dict(stream.state_dict())
        assert first + [row["id"] for row in again] == ids

    for step in range(2):
        add_step(path, 5, first=5 * step)
        follows(path)
    remove_captions(path, ids={caption_id(text) for text in captions(10)[::3]})
    follows(path)
    compact_cache(path)
    follows(path)
    add_step(other, 8, first=7)
    merge_caches(merged, [path, other])
    follows(merged)


@pytest.mark.parametrize("streaming", [False, True])
def test_each_kind_of_table_has_a_configuration(
    long_path: Path, tmp_path: Path, streaming: bool
) -> None:
    assert datasets.get_dataset_config_names(str(long_path)) == ["default", "captions", "rejects"]
    texts = list(load(long_path, tmp_path, "captions", split="train", streaming=streaming))
    assert [row["caption"] for row in texts] == captions(30)
    assert "embedding" not in texts[0]
    refused = list(load(long_path, tmp_path, "rejects", split="train", streaming=streaming))
    assert len(refused) == sum(3 + 5 * step for step in range(6))
    assert {row["reason"] for row in refused} == {"too_short"}
    assert refused[0]["caption"] == "x0" and refused[0]["concepts"] == []


def test_features_are_known_before_a_file_is_opened(long_path: Path) -> None:
    for name, table in (
        ("default", schema.data_schema(DIM, "float16")),
        ("captions", schema.captions_schema()),
        ("rejects", schema.rejects_schema()),
    ):
        declared = datasets.load_dataset_builder(str(long_path), name).info.features
        # The same as the Parquet files' own metadata say.
        assert declared == datasets.Features.from_arrow_schema(table)
        assert declared.arrow_schema.types == table.types


@pytest.mark.parametrize("streaming", [False, True])
def test_captions_alone_are_a_dataset_too(bare_path: Path, tmp_path: Path, streaming: bool) -> None:
    dataset = load(bare_path, tmp_path, split="train", streaming=streaming)
    assert [row["caption"] for row in dataset] == captions(7)
    assert dataset.features["axes"].dtype == "string"
    assert datasets.get_dataset_config_names(str(bare_path)) == ["default"]
    row = next(iter(dataset.with_format("torch")))
    assert row["caption"] == captions(1)[0]


def test_captions_that_wait_for_embedding_are_in_their_own_configuration(
    long_path: Path, tmp_path: Path
) -> None:
    with open_writer(long_path) as writer:
        more = writer.write_captions(caption_table(4, 30))
        writer.publish(captions=[*writer.current.captions, more])
    assert load(long_path, tmp_path, split="train").num_rows == 30
    assert load(long_path, tmp_path, "captions", split="train")["caption"][:] == captions(34)


def test_imported_embeddings_have_no_captions_file(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    with open_writer(path) as writer:
        writer.publish(data=[writer.write_data(data_table(5), SPACE)])
    assert datasets.get_dataset_config_names(str(path)) == ["default"]
    assert load(path, tmp_path, split="train")["caption"][:] == captions(5)


def test_a_plain_load_shows_removed_captions_and_the_card_says_so(
    long_path: Path, tmp_path: Path
) -> None:
    with open_writer(long_path) as writer:
        writer.publish(tombstones=[caption_id(text) for text in captions(3)])
    assert load(long_path, tmp_path, split="train").num_rows == 30
    assert "3 removed rows still lie in the files" in (long_path / "README.md").read_text()
    with open_cache(long_path) as cache:
        assert cache.as_dataset().num_rows == 27


def test_rejects_of_early_files_load_beside_later_ones(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    add_step(path, 4)
    early = path / "rejects" / "0123456789abcdef0123456789abcdef.parquet"
    pq.write_table(reject_table(2).append_column("concepts", pa.array([["a"], []])), early)
    with open_cache(path) as cache:
        table = card_yaml.configs(cache.manifest)[-1]
        entries = (*table.files, FileEntry(f"rejects/{early.name}", "0" * 64, 1, 2))
        card = render_card(replace(cache.manifest, rejects=entries))
    (path / "README.md").write_text(card)
    rows = load(path, tmp_path, "rejects", split="train")
    assert rows["caption"][:] == ["x0", "x1", "x2", "x0", "x1"]
    assert rows["axes"][:] == ["", "", "", None, None]


def test_the_front_matter_is_yaml_that_the_hubs_library_reads(long_path: Path) -> None:
    from huggingface_hub import DatasetCard

    card = DatasetCard((long_path / "README.md").read_text())
    assert card.data.size_categories == ["n<1K"]
    assert card.data.tags == ["audio", "captions", "clap", "lqtse"]
    assert card.data.task_categories == ["feature-extraction"]
    with open_cache(long_path) as cache:
        paths = [entry.path for entry in cache.manifest.data]
    front = yaml.safe_load((long_path / "README.md").read_text().split("---")[1])
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": paths}]


@pytest.mark.parametrize(
    ("rows", "name"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**9, "1B<n<10B")],
)
def test_sizes_are_the_hubs(rows: int, name: str) -> None:
    entry = FileEntry("captions/a.parquet", "0" * 64, 10, rows)
    assert f"size_categories:\n- {name}\n" in render_card(Manifest(captions=(entry,)))
