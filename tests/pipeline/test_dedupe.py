from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets import load_dataset

from cache_store.cache import open_cache
from cache_store.errors import DataError, LeaseHeldError, UsageError
from cache_store.verify import verify_cache
from cache_store.writer import open_writer
from pipeline.dedupe import dedupe, look
from pipeline.describe import describe
from pipeline.importing import import_captions
from pipeline.indexing import index_cache
from pipeline.peek import peek
from tests.pipeline.materials import captions, write_lines, write_vectors

ANGLES = (0, 90, 3, 45, 91, 2, 180)  # degrees; 2, 4 and 5 are within 5 degrees of an earlier one
NEAR = float(np.cos(np.deg2rad(5)))
TEXTS = captions(len(ANGLES))
GONE = {TEXTS[2], TEXTS[4], TEXTS[5]}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Captions on a circle, in two files."""
    angles = np.deg2rad(ANGLES)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for name, part in (("a", slice(0, 4)), ("b", slice(4, None))):
        file = write_vectors(tmp_path / f"{name}.parquet", TEXTS[part], rows[part])
        import_captions(tmp_path / "c", file, embeddings=True)
    return tmp_path / "c"


def test_a_look_tells_how_near_captions_are_and_changes_nothing(cache: Path) -> None:
    before = sorted(cache.rglob("*"))
    seen = look(cache)
    assert (seen.captions, seen.space) == (7, "elsewhere")
    assert seen.quantiles["1"] == pytest.approx(np.cos(np.deg2rad(1)), abs=1e-6)
    by_cosine = {step.cosine: step for step in seen.steps}
    # Nearest earlier, in degrees: 90, 3, 45, 1, 1, 89.
    assert (by_cosine[0.999].captions, by_cosine[0.99].captions, by_cosine[0.7].captions) == (
        2,
        3,
        4,
    )
    example = by_cosine[0.7].example
    assert example is not None and (example.caption, example.like) in (
        (TEXTS[3], TEXTS[1]),
        (TEXTS[3], TEXTS[2]),
    )
    assert sorted(cache.rglob("*")) == before


def test_a_dry_run_finds_what_a_run_removes(cache: Path) -> None:
    would = dedupe(cache, NEAR, dry=True)
    with open_cache(cache) as store:
        assert len(store) == 7
    did = dedupe(cache, NEAR)
    assert (would.dry, did.dry) == (True, False)
    assert (would.removed, would.left, would.examples) == (did.removed, did.left, did.examples)
    assert (did.removed, did.left) == (3, 4)
    assert {pair.caption for pair in did.examples} == GONE
    assert {pair.like for pair in did.examples} == {TEXTS[0], TEXTS[1]}
    assert all(pair.cosine >= NEAR for pair in did.examples)


@pytest.mark.parametrize("kind", ["exact", "flat", "hnsw"])
def test_no_search_returns_what_was_removed_whenever_the_index_was_built(
    cache: Path, kind: str
) -> None:
    index_cache(cache, kind=kind)
    dedupe(cache, NEAR)
    for _ in range(2):
        with open_cache(cache) as store:
            hits = store.search(store.embeddings[:].astype(np.float32), k=4, kind=kind)
            found = {text for row in store.captions(hits.rows) for text in row}
            assert found == set(TEXTS) - GONE
            assert set(store.captions(store.sample(4, 0))) == set(TEXTS) - GONE
        index_cache(cache, kind=kind)  # and an index of afterwards


def test_what_was_removed_is_gone_from_every_view_but_the_files(cache: Path) -> None:
    dedupe(cache, NEAR)
    assert verify_cache(cache).whole and verify_cache(cache).notes == []
    with open_cache(cache) as store:
        assert store.as_dataset().num_rows == 4
        facts = store.stats()
        assert (facts["captions"], facts["removed"], facts["embedded"]) == (4, 3, 7)
        assert describe(store).captions == 4
        assert store.manifest.provenance[-1]["step"] == "dedupe"
        assert store.manifest.provenance[-1]["removed"] == 3
    seen = peek(cache, count=10)
    assert seen.total == 4 and {row["caption"] for row in seen.rows} == set(TEXTS) - GONE
    assert {row["caption"] for row in peek(cache, count=3, seed=1).rows} < set(TEXTS) - GONE
    card = (cache / "README.md").read_text(encoding="utf-8")
    assert "3 removed rows" in card
    # As the card says, a plain load shows them all.
    assert load_dataset(str(cache), split="train").num_rows == 7


def test_a_second_run_finds_nothing_and_publishes_nothing(cache: Path) -> None:
    dedupe(cache, NEAR)
    again = dedupe(cache, NEAR)
    assert (again.captions, again.removed) == (4, 0)
    with open_cache(cache) as store:
        assert store.manifest.number == 3


def test_a_lower_threshold_adds_to_what_was_removed(cache: Path) -> None:
    dedupe(cache, NEAR)
    assert dedupe(cache, 0.7).removed == 1
    with open_cache(cache) as store:
        assert len(store) == 3 and len(store.manifest.tombstones) == 4


def test_a_removed_caption_is_not_imported_again(cache: Path, tmp_path: Path) -> None:
    dedupe(cache, NEAR)
    report = import_captions(cache, write_lines(tmp_path / "again.txt", [*GONE, "new one"]))
    assert (report.known, report.added) == (3, 1)
    with open_cache(cache) as store:
        assert len(store) == 4


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.01, float("nan")])
def test_a_threshold_that_is_no_cosine_is_refused(cache: Path, threshold: float) -> None:
    with pytest.raises(UsageError, match="bad threshold"):
        dedupe(cache, threshold)


def test_without_embeddings_there_is_nothing_to_compare(tmp_path: Path) -> None:
    import_captions(tmp_path / "c", write_lines(tmp_path / "a.txt", TEXTS))
    for use in (look, lambda cache: dedupe(cache, 0.9)):
        with pytest.raises(DataError, match="lqtse-cache embed"):
            use(tmp_path / "c")


def test_a_cache_that_somebody_writes_to_is_left_alone(cache: Path) -> None:
    with open_writer(cache), pytest.raises(LeaseHeldError):
        dedupe(cache, NEAR)


def test_a_removed_id_that_no_file_holds_is_noted(cache: Path) -> None:
    with open_writer(cache) as writer:
        writer.publish(tombstones=["0" * 32])
    report = verify_cache(cache)
    assert report.whole and report.notes == ["1 removed captions are in no file"]
