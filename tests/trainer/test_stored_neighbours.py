"""Neighbours that `join` stored give the conditions of a live search, or are not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from cache_store.cache import open_cache
from cache_store.clips import ClipTable, read_clips
from cache_store.manifest import named_space
from cache_store.schema import data_schema
from cache_store.shards import from_matrix
from cache_store.text import caption_id
from cache_store.writer import open_writer
from trainer.conditioning import build_strategy
from trainer.conditioning.conditioner import Conditioner
from trainer.stored_neighbours import stored_neighbours

ROWS, CLIPS, DIM, K = 200, 70, 16, 12
USED = "the neighbours stored with the clips are used"


def unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with near-duplicates and exact ones, and a manifest of clips with embeddings."""
    folder = tmp_path_factory.mktemp("stored")
    generator = np.random.default_rng(11)
    texts = unit(generator.standard_normal((ROWS, DIM)))
    texts[50:60] = unit(texts[50:60] + 1e-4 * texts[60:70])
    texts[100:120] = texts[120:140]
    names = [f"caption {row}" for row in range(ROWS)]
    space = named_space("test", DIM)
    schema = data_schema(DIM, "float16", space=space.name, fingerprint=space.fingerprint)
    table = pa.table(
        {
            "id": [caption_id(name) for name in names],
            "caption": names,
            "concepts": [[] for _ in names],
            "axes": ["{}"] * ROWS,
            "model": [""] * ROWS,
            "request_id": [""] * ROWS,
            "embedding": from_matrix(texts.astype(np.float16)),
        }
    )
    with open_writer(folder / "cache") as writer:
        entry = writer.write_data(table.cast(schema), space)
        writer.publish(data=(entry,))
    import soundfile

    for number in range(CLIPS):
        soundfile.write(folder / f"{number:02}.wav", np.full(80, 0.1), 8000)
    audio = generator.standard_normal((CLIPS, DIM)).astype(np.float32)  # of any norm
    clips = pa.table(
        {
            "path": [f"{number:02}.wav" for number in range(CLIPS)],
            "fold": list(range(CLIPS)),
            "embedding": from_matrix(audio),
        }
    ).replace_schema_metadata({"lqtse.space": "test"})
    pq.write_table(clips, folder / "clips.parquet")
    join = [sys.executable, "-m", "tests.pipeline.run", "join", folder / "cache"]
    subprocess.run(
        [*join, folder / "clips.parquet", "-o", folder / "joined.parquet", "-k", str(K)],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[2],
    )
    return folder


def conditioners(folder: Path, name: str, **options: Any) -> tuple[Conditioner, Conditioner, str]:
    """From stored neighbours and by live search, over some of the clips; and what was said."""
    strategy = build_strategy(name, **options)
    clips = read_clips(folder / "joined.parquet").where("fold != 3")
    audio = torch.from_numpy(clips.embeddings)
    with open_cache(folder / "cache") as cache:
        stored, note = stored_neighbours(clips, cache, strategy)
        index = cache.exact_index("cpu")
        live = Conditioner(strategy, audio, index=index, matrix=index.matrix)
        kept = Conditioner(strategy, audio, index=index, matrix=index.matrix, stored=stored)
    return kept, live, note


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("top1", {}),
        ("topk-mean", {"k": 3}),
        ("topk-mean", {"k": K}),
        ("softmax", {"k": 8, "temperature": 0.01}),
        ("softmax", {"k": 8, "temperature": 0.05}),
        ("sample", {"k": 5}),
        ("mix", {}),
    ],
)
def test_conditions_are_bit_equal_to_those_of_a_live_search(
    folder: Path, name: str, options: dict[str, Any]
) -> None:
    kept, live, note = conditioners(folder, name, **options)
    assert note == USED
    assert torch.equal(kept.rows, live.rows)  # type: ignore[arg-type]
    rows = torch.arange(len(kept))
    for seed in (0, 1):
        drawn = [
            conditioner(rows, torch.Generator().manual_seed(seed)) for conditioner in (kept, live)
        ]
        assert torch.equal(*drawn)


def test_what_is_not_needed_or_not_there_needs_no_words(folder: Path) -> None:
    with open_cache(folder / "cache") as cache:
        clips = read_clips(folder / "clips.parquet")
        assert stored_neighbours(clips, cache, build_strategy("top1")) == (None, "")
        clips = read_clips(folder / "joined.parquet")
        assert stored_neighbours(clips, cache, build_strategy("audio")) == (None, "")


def changed(clips: ClipTable, **facts: str) -> ClipTable:
    from dataclasses import replace

    named = {f"lqtse.{name}": value for name, value in facts.items()}
    return replace(clips, facts={**clips.facts, **named})


@pytest.mark.parametrize(
    ("facts", "options", "why"),
    [
        ({"data_hash": "of other data"}, {}, "other data"),
        ({"search": "hnsw"}, {}, "approximate"),
        ({"centred": "yes"}, {}, "centred"),
        ({}, {"centred": True}, "centred"),
        ({}, {"k": K + 1}, f"fewer than the {K + 1}"),
        ({"captions": str(ROWS - 1)}, {}, "came back"),
    ],
)
def test_what_a_search_would_not_find_is_not_used(
    folder: Path, facts: dict[str, str], options: dict[str, Any], why: str
) -> None:
    clips = changed(read_clips(folder / "joined.parquet"), **facts)
    with open_cache(folder / "cache") as cache:
        strategy = build_strategy("topk-mean", **options)
        stored, note = stored_neighbours(clips, cache, strategy)
    assert stored is None
    assert why in note and "not used" in note


def test_a_caption_that_was_removed_is_nobodys_neighbour(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder / "cache", tmp_path / "cache")
    clips = read_clips(folder / "joined.parquet")
    nearest = clips.columns["neighbour_ids"][0][0]
    with open_writer(tmp_path / "cache") as writer:
        writer.publish(tombstones=(nearest,))
    with open_cache(tmp_path / "cache") as cache:
        stored, note = stored_neighbours(clips, cache, build_strategy("top1"))
    assert stored is None and "removed" in note


@pytest.fixture(scope="module")
def centred(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with the means stored, and joined with both clouds centred."""
    import shutil

    place = tmp_path_factory.mktemp("centred") / "folder"
    shutil.copytree(folder, place)
    clips = place / "clips.parquet"
    for command in (
        ["index", place / "cache", "--centre", "--queries", clips],
        ["join", place / "cache", clips, "-o", place / "joined.parquet", "-k", str(K), "--centred"],
    ):
        subprocess.run(
            [sys.executable, "-m", "tests.pipeline.run", *command],
            check=True,
            capture_output=True,
            cwd=Path(__file__).parents[2],
        )
    return place


@pytest.mark.parametrize(("name", "options"), [("top1", {}), ("topk-mean", {"k": K})])
def test_centred_conditions_are_bit_equal_to_those_of_a_centred_search(
    centred: Path, name: str, options: dict[str, Any]
) -> None:
    strategy = build_strategy(name, centred=True, **options)
    clips = read_clips(centred / "joined.parquet")
    audio = torch.from_numpy(clips.embeddings)
    with open_cache(centred / "cache") as cache:
        stored, note = stored_neighbours(clips, cache, strategy)
        assert note == USED
        index = cache.exact_index("cpu")
        live = Conditioner(strategy, audio, index=index, matrix=index.matrix)
        kept = Conditioner(strategy, audio, index=index, matrix=index.matrix, stored=stored)
        plain = Conditioner(
            build_strategy(name, **options), audio, index=index, matrix=index.matrix
        )
    assert torch.equal(kept.rows, live.rows)  # type: ignore[arg-type]
    assert torch.equal(kept._scores, live._scores)  # type: ignore[arg-type]
    assert torch.equal(kept.table, live.table)  # type: ignore[arg-type]
    assert not torch.equal(kept.rows, plain.rows)  # type: ignore[arg-type]


def test_centring_has_to_agree(centred: Path) -> None:
    clips = read_clips(centred / "joined.parquet")
    some = clips.where("fold != 3")  # whose mean is another
    with open_cache(centred / "cache") as cache:
        for one, strategy, why in (
            (clips, build_strategy("top1"), "centred in one and not in the other"),
            (some, build_strategy("top1", centred=True), "other means"),
        ):
            stored, note = stored_neighbours(one, cache, strategy)
            assert stored is None and why in note
