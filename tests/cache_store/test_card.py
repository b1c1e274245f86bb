from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cache_store.cache import open_cache
from cache_store.card import render_card
from cache_store.manifest import FileEntry, Manifest
from cache_store.writer import open_writer
from tests.cache_store.builders import DIM, add_step, caption_table, captions


def load(path: Path, tmp_path: Path, **options: Any) -> Any:
    import datasets

    return datasets.load_dataset(str(path), cache_dir=str(tmp_path / "hf"), **options)


@pytest.fixture
def long_path(tmp_path: Path) -> Path:
    """A cache whose files are not in the order of their names."""
    path = tmp_path / "cache"
    for step in range(6):
        add_step(path, 5, first=5 * step)
    with open_cache(path) as cache:
        names = [entry.path for entry in cache.manifest.data]
    assert names != sorted(names)
    return path


# datasets leaves its streaming files to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("streaming", [False, True])
def test_load_dataset_opens_the_folder(long_path: Path, tmp_path: Path, streaming: bool) -> None:
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
    with open_cache(long_path) as cache:
        matrix = np.array([row["embedding"] for row in rows], dtype=np.float16)
        np.testing.assert_array_equal(matrix, cache.embeddings)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_captions_alone_are_a_dataset_too(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    with open_writer(path) as writer:
        writer.publish(captions=[writer.write_captions(caption_table(4))])
    dataset = load(path, tmp_path, split="train")
    assert dataset["caption"][:] == captions(4)
    assert dataset.with_format("arrow")[:].schema.field("axes").type == pa.string()


def test_the_card_tells_what_the_manifest_holds(tmp_path: Path) -> None:
    add_step(tmp_path, 1200)
    card = (tmp_path / "README.md").read_text()
    for text in (
        "| captions | 1,200 |",
        "| embedded | 1,200 |",
        "test-space",
        "float16[16], unit norm",
        "**test**: rows 1200",
        "open_cache",
        "- 1K<n<10K",
    ):
        assert text in card
    assert "removed rows" not in card


def test_the_card_warns_of_removed_rows() -> None:
    entry = FileEntry("data/a.parquet", "0" * 64, 10, 5)
    card = render_card(Manifest(data=(entry,), tombstones=("a", "b")))
    assert "2 removed rows still lie in the files" in card


def test_the_card_is_a_pure_function() -> None:
    manifest = Manifest(number=3, provenance=({"step": "x", "model": "é", "n": [1, 2]},))
    assert render_card(manifest) == render_card(manifest)
    assert "model é, n [1, 2]" in render_card(manifest)
    assert "configs" not in render_card(manifest)
