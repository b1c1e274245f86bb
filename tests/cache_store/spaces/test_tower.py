from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from cache_store.errors import UsageError
from cache_store.manifest import SpaceRecord
from cache_store.spaces import audio_tower, load_space
from cache_store.spaces.base import Space
from cache_store.spaces.tower import ConstantNorm, Hearing, frozen, group_means


class Deaf:
    """A space whose embeddings are only looked up, as a stored one is."""

    name, dim, sample_rate = "stored:texts.parquet", 4, 0
    fingerprint, text_limit, precision = "stored:1", None, ""
    record = SpaceRecord("stored:texts.parquet", "stored:1", 4)

    def embed_text(self, texts: object) -> np.ndarray: ...
    def embed_audio(self, waveforms: object, sample_rate: int) -> np.ndarray: ...
    def count_tokens(self, texts: object) -> np.ndarray: ...
    def too_long(self, texts: object) -> np.ndarray: ...


def network() -> nn.Sequential:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5))
    net = nn.Sequential(inner, nn.BatchNorm2d(3)).train()
    for _ in range(3):  # statistics of their own
        net(torch.randn(4, 2, 8, 8))
    return net


def test_a_frozen_copy_computes_what_the_module_does_in_evaluation_and_nothing_moves_it() -> None:
    net = network()
    copy = frozen(net)
    maps = torch.randn(2, 2, 8, 8)
    before = copy(maps)
    assert torch.equal(before, net.eval()(maps))
    copy.train()
    copy[0][2].eval()  # dropout is all that a mode still changes
    copy(torch.randn(2, 2, 8, 8) * 9)
    assert torch.equal(copy(maps), before)


def test_a_frozen_copy_has_no_parameters_and_nothing_to_save_but_moves_with_its_module() -> None:
    net = network()
    copy = frozen(net)
    assert not list(copy.parameters()) and not copy.state_dict()
    parameters = sum(p.numel() for p in net.parameters())
    held = sum(b.numel() for b in copy.buffers())
    assert held == parameters + 2 * (3 + 3)  # the running statistics of two norms
    assert all(b.dtype == torch.float64 for b in copy.double().buffers())
    assert all(p.dtype == torch.float32 for p in net.parameters())


def test_a_gradient_goes_through_what_is_frozen() -> None:
    maps = torch.randn(1, 2, 5, 5, requires_grad=True)
    frozen(network())(maps).square().sum().backward()
    assert maps.grad is not None and maps.grad.abs().sum() > 0


def test_a_constant_norm_is_batch_normalisation_in_evaluation() -> None:
    norm = nn.BatchNorm2d(3, eps=0.1)
    norm(torch.randn(5, 3, 4, 4) * 3 + 1)
    maps = torch.randn(2, 3, 4, 4)
    expected = norm.eval()(maps)
    assert torch.equal(ConstantNorm(norm).train()(maps), expected)


def test_means_of_groups_leave_what_is_left_over() -> None:
    assert group_means([1.0, 3.0, 5.0, 9.0, 100.0], 2) == (2.0, 7.0)


def test_a_space_without_a_tower_is_told() -> None:
    deaf = Deaf()
    assert isinstance(deaf, Space) and not isinstance(deaf, Hearing)
    with pytest.raises(UsageError, match=r"no audio tower: stored:texts.*expected tiny \| laion"):
        audio_tower(deaf)


def test_what_is_done_to_a_tower_changes_nothing_in_its_space() -> None:
    space = load_space("tiny", device="cpu")
    sound = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    before = space.embed_audio([sound], 16_000)
    tower = audio_tower(space)
    assert tower.fingerprint == space.fingerprint
    with torch.no_grad():
        for tensor in tower.buffers():
            tensor.zero_()
    assert np.array_equal(space.embed_audio([sound], 16_000), before)
