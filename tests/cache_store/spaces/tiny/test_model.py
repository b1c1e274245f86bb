"""The towers: shapes, unit norms, and what a batch may not change."""

from __future__ import annotations

import pytest
import torch

from cache_store.spaces.tiny.features import BANDS
from cache_store.spaces.tiny.model import DIM, AudioTower, TextTower, TinyClap
from cache_store.spaces.tiny.tokens import tokenize

TEXTS = ["dog", "a dog barks in the distance", "heavy rain, thunder", "Ω"]


@pytest.fixture(scope="module")
def model() -> TinyClap:
    torch.manual_seed(0)
    return TinyClap().eval()


def test_text_tower_shape_and_norm(model: TinyClap) -> None:
    vectors = model.text(tokenize(TEXTS))
    assert vectors.shape == (4, DIM)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(4), atol=1e-5)


def test_padding_changes_no_text(model: TinyClap) -> None:
    together = model.text(tokenize(TEXTS))
    alone = torch.cat([model.text(tokenize([text])) for text in TEXTS])
    assert torch.allclose(together, alone, atol=1e-5)  # float32 sums in another order


def test_the_order_of_words_matters(model: TinyClap) -> None:
    one, two = model.text(tokenize(["horn of a car", "car of a horn"]))
    assert not torch.allclose(one, two, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 16, 112, 251, 1000])
def test_audio_tower_takes_any_number_of_frames(model: TinyClap, frames: int) -> None:
    vectors = model.audio(torch.randn(2, BANDS, frames))
    assert vectors.shape == (2, DIM)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)


def test_a_clip_does_not_depend_on_its_batch(model: TinyClap) -> None:
    mel = torch.randn(5, BANDS, 100, generator=torch.Generator().manual_seed(0))
    together = model.audio(mel)
    alone = torch.cat([model.audio(row[None]) for row in mel])
    assert torch.allclose(together, alone, atol=1e-5)


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    for tower, inputs in (
        (TextTower(), tokenize(TEXTS)),
        (AudioTower(), torch.randn(4, BANDS, 112)),
    ):
        weights = torch.randn(4, DIM)
        (tower(inputs) * weights).sum().backward()
        for name, parameter in tower.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
