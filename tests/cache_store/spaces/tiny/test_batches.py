"""Batches: a pure function of their index; agreements say what is true of what."""

from __future__ import annotations

import numpy as np
import pytest

from cache_store.spaces.tiny.batches import CROP, Batches, agreement
from cache_store.spaces.tiny.pool import FRAMES, Pool
from cache_store.spaces.tiny.sounds import HELD_OUT_KINDS, TRAINED_KINDS

KINDS = len(TRAINED_KINDS)


@pytest.fixture(scope="module")
def pool() -> Pool:
    rng = np.random.default_rng(0)
    mels = rng.normal(-40, 10, (KINDS + 1, 64, FRAMES)).astype(np.float16)
    kinds = np.array([*range(KINDS), 3])
    return Pool(mels, kinds, np.arange(KINDS + 1) == KINDS)


@pytest.fixture(scope="module")
def batches(pool: Pool) -> Batches:
    return Batches(pool, seed=0, clips=60, others=20)


def test_agreement_is_the_weighted_jaccard_index() -> None:
    rng = np.random.default_rng(0)
    left, right = (rng.random((5, 7)).astype(np.float32) for _ in range(2))
    expected = [[np.minimum(a, b).sum() / np.maximum(a, b).sum() for b in right] for a in left]
    assert np.allclose(agreement(left, right), expected, atol=1e-6)


def test_agreement_of_the_cases_that_matter() -> None:
    rain, dog, both = [1, 0, 0], [0, 1, 0], [1, 1, 0]
    truck = [0.4, 0, 1]  # like rain's neighbour in a lexicon
    rows = np.array([rain, dog, both, truck], dtype=np.float32)
    found = agreement(rows, rows)
    assert np.allclose(np.diag(found), 1)
    assert found[0, 1] == 0
    assert found[0, 2] == found[1, 2] == 0.5
    assert found[0, 3] == pytest.approx(0.4 / 2)


def test_shapes_and_counts(batches: Batches) -> None:
    batch = batches.batch(0)
    assert batch.mels.shape == (60, 64, CROP) and batch.mels.dtype == np.float32
    assert batch.ranges.shape == (60,)
    assert len(batch.texts) == len(batch.rephrased) == 80
    assert batch.audio.shape[0] == 60 and batch.text.shape[0] == 80
    assert batch.audio.shape[1] == batch.text.shape[1]
    assert all(text.strip() for text in batch.texts + batch.rephrased)


def test_batch_is_a_pure_function_of_seed_and_index(pool: Pool, batches: Batches) -> None:
    late = batches.batch(5)
    again = Batches(pool, seed=0, clips=60, others=20).batch(5)
    assert np.array_equal(late.mels, again.mels) and late.texts == again.texts
    other = Batches(pool, seed=1, clips=60, others=20).batch(5)
    assert not np.array_equal(late.mels, other.mels)


def test_every_kind_is_in_a_batch_that_has_room_for_all(batches: Batches) -> None:
    assert (batches.batch(2).audio.sum(axis=0)[:KINDS] > 0).all()


def test_a_clip_agrees_fully_with_its_own_caption(batches: Batches) -> None:
    batch = batches.batch(1)
    found = agreement(batch.audio, batch.text)
    assert np.allclose(np.diag(found[:, :60]), 1)
    # No clip is ever wholly what a caption without a clip says.
    assert found[:, 60:].max() < 0.5


def test_no_clip_is_of_a_kind_that_is_never_heard(batches: Batches) -> None:
    for index in range(3):
        assert batches.batch(index).audio[:, KINDS : KINDS + len(HELD_OUT_KINDS)].sum() == 0
