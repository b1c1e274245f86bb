"""The packed tower computes what transformers computes from padded batches."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import ClapModel

from cache_store.spaces.text_tower import TextTower
from tests.cache_store.spaces.models import cosine_distance, features

LENGTHS = [[9], [3, 3, 3], [77, 2, 2, 40, 9, 9, 2], [2, 77]]


def texts(peer: ClapModel, lengths: list[int]) -> list[list[int]]:
    """Ids of texts, none of them padding. Lists of `lengths`."""
    words = peer.config.text_config.vocab_size
    rng = np.random.default_rng(sum(lengths))
    return [[int(word) for word in rng.integers(5, words, length)] for length in lengths]


def padded(peer: ClapModel, ids: list[list[int]]) -> torch.Tensor:
    """transformers' own answer. Shape: `[n, D]`."""
    width, pad = max(map(len, ids)), peer.config.text_config.pad_token_id
    batch = torch.tensor([row + [pad] * (width - len(row)) for row in ids])
    with torch.inference_mode():
        mask = (batch != pad).long()
        return features(peer.get_text_features(input_ids=batch, attention_mask=mask))


@pytest.mark.parametrize("lengths", LENGTHS)
def test_packed_equals_padded(peer: ClapModel, lengths: list[int]) -> None:
    ids = texts(peer, lengths)
    with torch.inference_mode():
        got = TextTower(peer, "float32")(ids)
    assert got.dtype == torch.float32
    assert got.shape == (len(lengths), peer.config.projection_dim)
    # The same sums in another order, in float32.
    assert cosine_distance(got, padded(peer, ids)).max() < 1e-5


@pytest.mark.parametrize("lengths", LENGTHS)
def test_bfloat16_is_close(peer: ClapModel, lengths: list[int]) -> None:
    ids = texts(peer, lengths)
    with torch.inference_mode():
        got = TextTower(copy.deepcopy(peer), "bfloat16")(ids)
    assert got.dtype == torch.float32
    # 8 bits of mantissa, in weights that are wider than a trained model's.
    assert cosine_distance(got, padded(peer, ids)).max() < 1e-3


def test_weights_are_taken_over_not_copied(peer: ClapModel) -> None:
    model = copy.deepcopy(peer)
    TextTower(model, "bfloat16")
    layer = model.text_model.encoder.layer[0]
    assert layer.attention.self.query.weight.dtype == torch.bfloat16
    assert layer.output.LayerNorm.weight.dtype == torch.float32
    audio = next(model.audio_model.parameters())
    assert audio.dtype == torch.float32
