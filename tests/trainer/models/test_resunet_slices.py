"""The network in slices against the plain one, whose equality with AudioSep is tested elsewhere."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.trainer.models.test_resunet import TINY, lively, noise, plain, unit
from trainer.models.resunet import ResUNet, ResUNetSize
from trainer.models.resunet_slices import PIECE_FRAMES, Kernels, SlicedNetwork


def through(model: ResUNet, heard: Tensor, frames: int) -> list[Tensor]:
    """Shape: `[1, 1, M, F]` to `[1, 3, m, F]` each, in slices of so many frames."""
    with torch.no_grad():
        network = SlicedNetwork(Kernels(model), unit(1, 5))
        slices = heard.split(frames, dim=2)
        done = [list(network.push(part, last=part is slices[-1])) for part in slices]
    return [maps for part in done for maps in part]


@pytest.mark.parametrize("channels", [(4,), (4, 6), (2, 3, 4, 5, 6, 6)])
@pytest.mark.parametrize("samples", [1, 5000, 33_333])
def test_slices_give_what_the_whole_does(channels: tuple[int, ...], samples: int) -> None:
    model = lively(ResUNetSize(channels=channels))
    mixture, condition = noise(2, samples), unit(2, 5)
    with torch.no_grad():
        sliced = model(mixture, condition)
    # Float32 in another order of operations.
    torch.testing.assert_close(sliced, plain(model, mixture, condition), rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 7, 64, 1000])
def test_slices_may_be_of_any_length(frames: int) -> None:
    model = lively()
    heard = noise(1, 1, 40 * model.size.frame_stride, model.stft.bins)
    whole, sliced = through(model, heard, heard.shape[2]), through(model, heard, frames)
    torch.testing.assert_close(
        torch.cat(sliced, dim=2), torch.cat(whole, dim=2), rtol=1e-5, atol=1e-5
    )


def test_maps_come_in_pieces_however_much_is_let_go_at_the_end() -> None:
    model = lively(ResUNetSize(channels=(2, 3, 4, 5, 6, 6)))
    heard = noise(1, 1, 640, model.stft.bins)
    frames = [maps.shape[2] for maps in through(model, heard, 64)]
    assert max(frames) <= PIECE_FRAMES
    assert sum(frames) == 640


def test_half_precision_stays_close() -> None:
    model, mixture, condition = lively(), noise(1, 8000), unit(1, 5)
    expected = plain(model, mixture, condition)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        got = model(mixture, condition)
    error = (got - expected).square().sum()
    assert 35 < 10 * torch.log10(expected.square().sum() / error) < 100


def test_weights_are_laid_out_once_for_all_conditions() -> None:
    model = lively(TINY)
    kernels = Kernels(model)
    first = kernels.of(model.middle.conv1, torch.float32)
    with torch.no_grad():
        SlicedNetwork(kernels, unit(1, 5))
        SlicedNetwork(kernels, unit(1, 5, seed=2))
    assert kernels.of(model.middle.conv1, torch.float32) is first
