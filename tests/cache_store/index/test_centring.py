"""A search with both clouds centred, against plain numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cache_store.index.centring import CentredIndex, mean_of
from cache_store.index.exact import ExactIndex
from tests.cache_store.builders import unit_rows


def random_unit(seed: int, count: int, dim: int) -> torch.Tensor:
    return torch.from_numpy(unit_rows(count, dim, seed, "float32"))


# Two clouds that lie apart: a gap.
AUDIO = torch.nn.functional.normalize(random_unit(0, 30, 8) + 2.0 * random_unit(7, 1, 8), dim=1)
TEXTS = torch.nn.functional.normalize(random_unit(1, 50, 8) + 2.0 * random_unit(8, 1, 8), dim=1)


def oracle(audio: torch.Tensor, texts: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    a, t = audio.double().numpy(), texts.double().numpy()
    a, t = a - a.mean(axis=0), t - t.mean(axis=0)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    cosines = a @ t.T
    rows = np.argsort(-cosines, axis=1)[:, :k]
    return np.take_along_axis(cosines, rows, axis=1), rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_it_is_the_cosine_of_centred_vectors(dtype: torch.dtype) -> None:
    texts = TEXTS.to(dtype)
    index = CentredIndex(ExactIndex(texts), mean_of(AUDIO))
    scores, rows = index.search(AUDIO, 5)
    expected, nearest = oracle(AUDIO, texts, 5)
    # float16 rows are rounded once more when they are centred: 2^-11 of each value.
    tolerance = 1e-6 if dtype == torch.float32 else 2e-3
    np.testing.assert_allclose(scores.numpy(), expected, atol=tolerance)
    if dtype == torch.float32:
        np.testing.assert_array_equal(rows.numpy(), nearest)
    assert scores.shape == rows.shape == (30, 5)
    plain = ExactIndex(texts).search(AUDIO, 1)[1]
    assert not torch.equal(plain, rows[:, :1])


def test_removed_rows_have_no_part_in_it() -> None:
    gone = torch.arange(0, 50, 2)
    left = CentredIndex(ExactIndex(TEXTS, excluded=gone), mean_of(AUDIO))
    alone = CentredIndex(ExactIndex(TEXTS[1::2]), mean_of(AUDIO))
    assert len(left) == 25
    torch.testing.assert_close(left.text_mean, alone.text_mean)
    scores, rows = left.search(AUDIO, 4)
    expected, found = alone.search(AUDIO, 4)
    torch.testing.assert_close(scores, expected)
    assert torch.equal(rows, 2 * found + 1)


def test_means_are_summed_in_double_precision() -> None:
    rows = torch.full((70_000, 2), 0.1, dtype=torch.float16)
    torch.testing.assert_close(mean_of(rows), rows[0].float())
