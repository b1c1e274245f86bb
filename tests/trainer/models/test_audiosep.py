"""AudioSep's weights in our network, against what its public implementation makes of them.

How the expected values were made is in `tests/assets/audiosep/make.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cache_store.errors import DataError
from tests.assets.audiosep.rule import conditions, is_made, mixtures, ruled
from trainer.models.audiosep import AudioSepWeights, our_name, translate
from trainer.models.resunet import ResUNet

ASSETS = Path(__file__).parents[2] / "assets" / "audiosep"
SHAPES: dict[str, list[int]] = json.loads((ASSETS / "keys.json").read_text())
PATH = Path("audiosep.ckpt")


def fourier(name: str) -> Tensor:
    """The tensor of a Fourier transform written as a convolution; ones for the window."""
    shape = SHAPES[name]
    if name != "base.stft.conv_real.weight":
        return torch.zeros(1).expand(shape)
    bins, _, length = shape
    phase = 2 * np.pi * np.arange(bins)[:, None] * np.arange(length) / length
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    return torch.from_numpy(window * np.cos(phase)).float()[:, None]


@pytest.fixture(scope="module")
def separator() -> dict[str, Tensor]:
    """A whole separator as the public implementation saves it, with weights by rule."""
    state = {}
    for name, shape in SHAPES.items():
        if is_made(SHAPES, name):
            state[name] = torch.from_numpy(ruled(name, shape))
        else:
            state[name] = fourier(name) if shape else torch.tensor(7)
    return state


@pytest.fixture(scope="module")
def checkpoint(separator: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same as its training saves it, with a CLAP beside it."""
    return {f"ss_model.{name}": tensor for name, tensor in separator.items()} | {
        "query_encoder.model.logit_scale_a": torch.ones(()),
        "query_encoder.model.text_branch.pooler.dense.bias": torch.ones(3),
    }


@pytest.fixture(scope="module")
def weights(checkpoint: dict[str, Tensor]) -> AudioSepWeights:
    return translate(checkpoint, PATH)


@pytest.fixture(scope="module")
def model(weights: AudioSepWeights) -> ResUNet:
    built = weights.size.build(condition_dim=weights.condition_dim, sample_rate=32_000)
    built.load_state_dict(dict(weights.weights))
    return built.eval()


def test_every_tensor_is_accounted_for(weights: AudioSepWeights) -> None:
    assert len(SHAPES) == 332
    assert len(weights.weights) + weights.unused == 332
    # Five constants of Fourier transforms; a norm of five tensors and a shift of two, six times.
    assert weights.unused == 5 + 6 * 7
    assert weights.left == {"query_encoder": 2}
    assert weights.size.channels == (32, 64, 128, 256, 384, 384)
    assert weights.condition_dim == 512


def test_no_two_tensors_have_one_name() -> None:
    names = [ours for ours in map(our_name, SHAPES) if ours is not None]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("grad", [True, False])
def test_it_computes_what_the_public_implementation_does(model: ResUNet, grad: bool) -> None:
    expected = np.load(ASSETS / "public.npz")["every_fourth"]
    with torch.set_grad_enabled(grad):
        got = model(torch.from_numpy(mixtures()), torch.from_numpy(conditions()))
    assert np.abs(expected).max() > 0.1
    # Other orders of additions in 30 layers of float32, and another Fourier transform.
    np.testing.assert_allclose(got.detach()[:, ::4].numpy(), expected, rtol=0, atol=1e-5)


def test_a_separator_alone_is_read_too(separator: dict[str, Tensor]) -> None:
    assert translate(separator, PATH).left == {}


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("ss_model.base.encoder_block9.lstm.weight", torch.zeros(2), "unknown tensor"),
        ("ss_model.base.pre_conv.bias", torch.zeros(3), "do not fit.*stem.bias"),
        ("ss_model.base.pre_conv.bias", None, "missing.*stem.bias"),
        ("ss_model.base.stft.conv_real.weight", torch.zeros(1025, 1, 2048), "another spectrogram"),
    ],
)
def test_what_is_not_as_expected_is_named(
    checkpoint: dict[str, Tensor], name: str, tensor: Tensor | None, message: str
) -> None:
    state = {**checkpoint, name: tensor}
    if tensor is None:
        del state[name]
    with pytest.raises(DataError, match=message):
        translate({key: value for key, value in state.items() if value is not None}, PATH)


def test_another_model_is_no_audiosep() -> None:
    with pytest.raises(DataError, match=r"audiosep.ckpt"):
        translate({"encoder.weight": torch.zeros(2)}, PATH)
