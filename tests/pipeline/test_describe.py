from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from cache_store.cache import open_cache
from pipeline.describe import describe, histogram, spread
from pipeline.importing import import_captions
from tests.pipeline.materials import DIM, captions, unit_vector, write_lines, write_vectors


def test_the_bins_of_the_histogram_hold_every_length_once() -> None:
    found = histogram(Counter(range(1, 101)))
    assert list(found) == ["1", "2-3", "4-6", "7-10", "11-15", "16-25", "26+"]
    assert list(found.values()) == [1, 2, 3, 4, 5, 10, 75]


def test_orthogonal_rows_are_worth_their_number() -> None:
    cosine, vendi = spread(np.eye(8, dtype=np.float32)[:5])
    assert cosine == pytest.approx(0.0, abs=1e-12)
    assert vendi == pytest.approx(5.0, rel=1e-9)


def test_equal_rows_are_worth_one() -> None:
    cosine, vendi = spread(np.repeat(np.eye(8, dtype=np.float32)[:1], 5, axis=0))
    assert cosine == pytest.approx(1.0, abs=1e-12)
    assert vendi == pytest.approx(1.0, rel=1e-9)


def test_the_spread_agrees_with_its_definition_over_rows() -> None:
    rows = np.stack([unit_vector(text) for text in captions(40)])
    cosine, vendi = spread(rows)
    similarities = rows.astype(np.float64) @ rows.astype(np.float64).T
    off = similarities[~np.eye(40, dtype=bool)]
    # Both sides are float64 sums of the same float32 values.
    assert cosine == pytest.approx(float(off.mean()), abs=1e-12)
    values = np.linalg.eigvalsh(similarities / 40)
    values = values[values > 1e-15]
    assert vendi == pytest.approx(float(np.exp(-(values * np.log(values)).sum())), rel=1e-6)


@pytest.mark.parametrize(("n", "expected"), [(0, (None, None)), (1, (None, 1.0))])
def test_few_rows_have_no_pairs(n: int, expected: tuple[float | None, float | None]) -> None:
    cosine, vendi = spread(np.eye(DIM, dtype=np.float32)[:n])
    assert cosine is None
    assert vendi == (None if expected[1] is None else pytest.approx(expected[1]))


def test_embedded_and_waiting_captions_are_counted_once(tmp_path: Path) -> None:
    cache = tmp_path / "c"
    import_captions(cache, write_vectors(tmp_path / "a.parquet", captions(4)), embeddings=True)
    import_captions(cache, write_lines(tmp_path / "b.txt", ["dog", *captions(6)]))
    with open_cache(cache) as store:
        found = describe(store)
    assert found.captions == 7
    assert found.lengths["1"] == 1 and found.lengths["4-6"] == 6
    assert (found.concepts, found.without_concept, found.sampled) == (0, 7, 4)


def test_concepts_are_counted_with_the_commonest_first(tmp_path: Path) -> None:
    import pyarrow as pa

    from cache_store.text import caption_id
    from cache_store.writer import open_writer

    texts = captions(4)
    concepts = [["dog"], ["dog", "rain"], [], ["bell", "dog"]]
    ids = [caption_id(text) for text in texts]
    with open_writer(tmp_path / "c") as writer:
        entry = writer.write_captions(pa.table({"id": ids, "caption": texts, "concepts": concepts}))
        writer.publish(captions=[entry])
    with open_cache(tmp_path / "c") as store:
        found = describe(store, commonest=2)
    assert (found.concepts, found.without_concept) == (3, 1)
    assert list(found.commonest.items()) == [("dog", 3), ("bell", 1)]
    assert (found.sampled, found.vendi) == (0, None)
