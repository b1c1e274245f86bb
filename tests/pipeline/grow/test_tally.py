from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cache_store.manifest import Manifest
from cache_store.writer import open_writer
from pipeline.grow.reference import make_reference
from pipeline.grow.tally import Tally, read_captions
from tests.pipeline.grow.test_reference import clouds, unit
from tests.pipeline.grow.world import captions_of, manifest_of

WORDS = clouds(concepts=4)
REFERENCE = make_reference(WORDS, WORDS)
RNG = np.random.default_rng(2)
CAPTIONS = unit(RNG.standard_normal((5000, 16)) + 2.0).astype(np.float16)
CLIPS = unit(RNG.standard_normal((7, 16)))


def test_the_nearest_caption_is_that_of_a_full_search_without_removed_ones() -> None:
    alive = RNG.random(5000) < 0.7
    tally = Tally(REFERENCE, CLIPS)
    tally.add(CAPTIONS, alive)
    cosines = np.where(alive, CLIPS @ CAPTIONS.astype(np.float32).T, -2.0)
    assert tally.nearest.tolist() == cosines.argmax(axis=1).tolist()
    assert tally.score == pytest.approx(cosines.max(axis=1), abs=1e-6)
    about = REFERENCE.about(CAPTIONS[alive])
    assert tally.counts.tolist() == [(about == concept).sum() for concept in range(4)]


@pytest.mark.parametrize("cuts", [(1,), (2048, 2049), (100, 4000)])
def test_it_goes_on_where_it_stood(cuts: tuple[int, ...]) -> None:
    alive = np.ones(5000, bool)
    whole, pieces = Tally(REFERENCE, CLIPS), Tally(REFERENCE, CLIPS)
    whole.add(CAPTIONS, alive)
    for part, some in zip(np.split(CAPTIONS, cuts), np.split(alive, cuts), strict=True):
        before = pieces.copy()
        pieces.add(part, some)
        assert before.rows == pieces.rows - len(part), "a copy stays as it was"
    assert pieces.nearest.tolist() == whole.nearest.tolist()
    assert pieces.counts.tolist() == whole.counts.tolist()
    assert pieces.rows == whole.rows == 5000


def test_removed_captions_are_read_as_removed(cache: Path) -> None:
    from cache_store.text import caption_id

    gone = captions_of(cache)[3]
    with open_writer(cache) as writer:
        writer.publish(tombstones=[caption_id(gone)], step={"step": "remove"})
    manifest: Manifest = manifest_of(cache)
    ((_, alive),) = read_captions(cache, manifest, 0, 1)
    assert np.flatnonzero(~alive).tolist() == [3]
