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
        "| test | rows 1200 |",
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


GENERATED: dict[str, Any] = {
    "step": "generate",
    "date": "2026-11-24T05:45:06+00:00",
    "backend": "openai",
    "base_url": "http://127.0.0.1:8000/v1",
    "llm": True,
    "model": "some|model\x1b[2J<b>",
    "seed": 7,
    "plan": "f86c",
    "concepts_from": "mine.txt",
    "config": {
        "template": "chat.v2",
        "template_hash": "92bd19b5eee2aaaa",
        "axes": "b814effcfc7f0000",
        "bank": {"concepts": 1057, "hash": "dcf791a131aa7ae8"},
    },
    "captions": 90,
    "rejected": {"not_audible": 8, "too_long": 2},
    "requests": 25,
    "replayed": 3,
    "prompt_tokens": 7000,
    "completion_tokens": 1800,
    "usd": 0.25,
}
EMBEDDED = {
    "step": "embed",
    "date": "2026-11-24T06:00:00+00:00",
    "captions": 90,
    "space": "tiny",
    "dtype": "float16",
    "device": "cpu",
    "cut": 0,
}


def test_the_card_says_who_wrote_what_was_refused_and_what_was_done() -> None:
    card = render_card(Manifest(provenance=(GENERATED, EMBEDDED)))
    for text in (
        "chat.v2 `92bd19b5eee2`",
        "1,057 mine.txt `dcf791a131aa`",
        "`b814effcfc7f`",
        "| 90 | 25 | 7,000 | 1,800 | 0.2500 | 2026-11-24 |",
        "10 of 100 captions",
        "| not audible | 8 | 8.0% |",
        "| 2026-11-24 06:00 | embed | 90 captions by tiny, float16, on cpu |",
        "25 requests answered, 3 from the ledger",
        "language:\n- en\n",
    ):
        assert text in card, text


def test_no_value_leaves_its_cell(tmp_path: Path) -> None:
    card = render_card(Manifest(provenance=(GENERATED,)))
    assert "\x1b" not in card and "<b>" not in card
    assert "some\\|model" in card


def test_two_runs_of_one_plan_are_one_row() -> None:
    later = {**GENERATED, "date": "2026-11-25T00:00:00+00:00", "captions": 10}
    card = render_card(Manifest(provenance=(GENERATED, later)))
    assert "| 100 | 50 | 14,000 | 3,600 | 0.5000 | 2026-11-24 to 2026-11-25 |" in card


def test_a_licence_is_named_only_if_the_user_gave_one() -> None:
    silent = render_card(Manifest(provenance=(GENERATED,)))
    assert "\nlicense:" not in silent
    assert "No licence was given for the captions" in silent
    assert "apply to what it wrote; they are not stated here" in silent
    given = {"step": "card", "license": "cc0-1.0", "model_license": "Apache-2.0"}
    told = render_card(Manifest(provenance=(GENERATED, given)))
    assert "\nlicense: cc0-1.0\n" in told
    assert "The generating model: Apache-2.0." in told


def test_captions_of_others_may_be_in_any_language() -> None:
    imported = {"step": "import", "source": "a.csv", "sha256": "ab", "read": 5, "added": 4}
    card = render_card(Manifest(provenance=(imported,)))
    assert "language:" not in card
    assert "4 captions of 5 from a.csv" in card
    assert "`a.csv` stay under their own licence" in card


@pytest.mark.parametrize(
    ("rows", "name"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**9, "1B<n<10B")],
)
def test_sizes_are_the_hubs(rows: int, name: str) -> None:
    entry = FileEntry("data/a.parquet", "0" * 64, 10, rows)
    assert f"size_categories:\n- {name}\n" in render_card(Manifest(data=(entry,)))
