"""Mostly through the tower of `tiny`; through HTSAT where what it does differs."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cache_store.errors import ConfigError, SpaceMismatchError, UsageError
from cache_store.spaces.htsat import HtsatTower
from cache_store.spaces.mel import MelSettings
from cache_store.spaces.tiny.space import WEIGHTS, load_tiny, read_weights
from cache_store.spaces.tiny.tower import TinyTower
from cache_store.spaces.tower import AudioTower
from tests.cache_store.spaces import models
from trainer.averaging import WeightAverage
from trainer.checkpoint import Checkpoint, load_checkpoint, load_weights, save_checkpoint
from trainer.chunks import Chunks
from trainer.models import ClapSep, ClapSepSize, build_model, clapsep, needs_tower, parse_sizes
from trainer.models.base import TowerSize
from trainer.models.clapsep import between
from trainer.models.real_arithmetic import RealSeparator
from trainer.streaming import separate_blocks

RATE, DIM = 8000, 128


def tiny_tower() -> TinyTower:
    return load_tiny("cpu").audio_tower()


def htsat_tower() -> HtsatTower:
    model = models.random_model(300, text=models.TINY_TEXT, audio=models.TINY_AUDIO)
    return HtsatTower(model.audio_model.audio_encoder, MelSettings(), "clap:random")


def build(tower: AudioTower | None = None, sizes: str = "", **more: int) -> ClapSep:
    """One whose mask is lively: a fresh one is one half everywhere."""
    settings = {"condition_dim": DIM, "sample_rate": RATE, **more}
    model = build_model("clapsep", parse_sizes(sizes), tower=tower or tiny_tower(), **settings)
    assert isinstance(model, ClapSep)
    generator = torch.Generator().manual_seed(1)
    torch.nn.init.normal_(model.head.weight, std=0.3, generator=generator)
    return model


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def conditions(count: int, dim: int = DIM, seed: int = 2) -> Tensor:
    return functional.normalize(noise(count, dim, seed=seed), dim=-1)


@pytest.mark.parametrize("samples", [1, 129, 4000, 16_001, 38_913, 40_000, 40_001, 90_000])
def test_the_estimate_is_as_long_as_the_mixture(samples: int) -> None:
    model = build().eval()
    with torch.no_grad():
        estimate = model(noise(2, samples), conditions(2))
    assert estimate.shape == (2, samples) and estimate.dtype == torch.float32
    assert torch.isfinite(estimate).all()


@pytest.mark.parametrize(("rate", "dim"), [(16_000, 32), (44_100, 32), (48_000, 32)])
def test_htsat_hears_at_any_sample_rate(rate: int, dim: int) -> None:
    model = build(htsat_tower(), "channels=8,8,8,8", sample_rate=rate, condition_dim=dim).eval()
    with torch.no_grad():
        estimate = model(noise(1, rate), conditions(1, dim))
    assert estimate.shape == (1, rate) and estimate.abs().max() > 0
    assert abs(model.windows.length / rate - 10) < 0.1


def test_what_is_trained_is_adapters_and_decoder() -> None:
    model = build()
    inside = [name for name, _ in model.named_parameters() if name.startswith("tower.")]
    assert inside and all(name.endswith(("narrow.weight", "widen.weight")) for name in inside)
    assert 250_000 < sum(p.numel() for p in model.parameters()) < 400_000
    network = read_weights(WEIGHTS).audio
    of_tower = sum(
        p.numel() for name, p in network.named_parameters() if name.startswith(("stem", "blocks"))
    )
    assert sum(buffer.numel() for buffer in model.tower.buffers()) > of_tower


def test_at_first_adapters_change_nothing() -> None:
    plain, adapted = build(sizes="lora_rank=0").eval(), build().eval()
    weights = adapted.state_dict()
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    with torch.no_grad():
        ours, theirs = (model(noise(1, 9000), conditions(1)) for model in (adapted, plain))
        assert torch.equal(ours, theirs)
        stages = adapted.tower(noise(1, 9000))
        for stage, bare in zip(stages, tiny_tower()(noise(1, 9000)), strict=True):
            assert torch.equal(stage, bare)


@pytest.mark.parametrize("make", [tiny_tower, htsat_tower])
def test_a_step_moves_adapters_and_decoder_and_leaves_the_tower(make: object) -> None:
    assert callable(make)
    dim = DIM if make is tiny_tower else 32
    model = build(make(), condition_dim=dim).train()
    frozen = {name: buffer.clone() for name, buffer in model.tower.named_buffers()}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(2):  # A of an adapter gets a gradient when B has left zero
        optimizer.zero_grad()
        model(noise(2, 8000), conditions(2, 2 * dim)).square().sum().backward()
        optimizer.step()
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert not still
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(torch.equal(buffer, frozen[n]) for n, buffer in model.tower.named_buffers())


def test_a_checkpoint_holds_none_of_the_towers_weights(tmp_path: Path) -> None:
    model = build().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, Checkpoint(3, model.state_dict()))
    inside = [name for name in load_checkpoint(path).model if name.startswith("tower.")]
    assert inside and all("narrow" in name or "widen" in name for name in inside)
    trained = 4 * sum(p.numel() for p in model.parameters())
    assert path.stat().st_size < 1.1 * trained  # float32, statistics and a header
    other = build().eval()
    load_weights(other, load_checkpoint(path).weights, path)
    with torch.no_grad():
        first, second = (m(noise(1, 9000), conditions(1)) for m in (model, other))
    assert torch.equal(first, second)


def test_weights_of_another_tower_are_refused() -> None:
    weights = build().state_dict()
    network = read_weights(WEIGHTS).audio
    fingerprint = "tiny:" + 32 * "0"
    other = build(TinyTower(network, fingerprint))
    with pytest.raises(SpaceMismatchError, match=f"another audio tower.*found {fingerprint}"):
        other.load_state_dict(weights)


def test_a_running_average_keeps_the_identity_and_hears_through_the_same_tower() -> None:
    model = build().eval()
    average = WeightAverage(model, 0.9)
    average.update(model, 1)
    build().load_state_dict(dict(average.state()))
    with torch.no_grad():
        ours, theirs = (m(noise(1, 5000), conditions(1)) for m in (average.model, model))
    # The average of equal numbers, to rounding.
    assert (ours - theirs).abs().max() < 1e-5


def test_what_is_not_wanted_changes_the_estimate_and_zeros_stand_for_nothing() -> None:
    model, mixture = build().eval(), noise(2, 9000)
    wanted, unwanted = conditions(2), conditions(2, seed=5)
    with torch.no_grad():
        alone = model(mixture, wanted)
        with_nothing = model(mixture, torch.cat([wanted, 0 * wanted], -1))
        without = model(mixture, torch.cat([wanted, unwanted], -1))
    assert model.takes_negative
    assert torch.equal(alone, with_nothing)
    assert (without - alone).abs().max() > 1e-3


def test_the_level_of_the_mixture_is_that_of_the_estimate() -> None:
    model, mixture = build().eval(), noise(1, 9000)
    with torch.no_grad():
        quiet, loud = (model(gain * mixture, conditions(1)) for gain in (0.01, 1.0))
    assert torch.allclose(100 * quiet, loud, atol=1e-5)


@pytest.mark.parametrize("make", [tiny_tower, htsat_tower])
def test_chunks_come_out_as_the_whole(make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(make)
    monkeypatch.setattr(clapsep, "CHUNK_SECONDS", 1.0)  # as short as they can be
    dim = DIM if make is tiny_tower else 32
    model = build(make(), "channels=8,8,8,8 condition=8", condition_dim=dim).eval()
    chunks = Chunks.of(model, 1.0)
    samples = chunks.length + 4321
    mixture = noise(1, samples)
    level = mixture.square().mean(-1).sqrt()
    with torch.no_grad():
        whole = model(mixture, conditions(1, dim), level)
    blocks = (block.numpy() for block in mixture.split(10_007, dim=1))
    parts = [*separate_blocks(model, blocks, conditions(1, dim)[0], level, 1.0)]
    joined = torch.from_numpy(np.concatenate(parts, axis=1))
    assert joined.shape == whole.shape
    error = (joined - whole).square().mean().sqrt() / whole.square().mean().sqrt()
    assert error < 1e-5  # -100 dB: other batches of windows, so other rounding


def test_windows_in_evaluation_come_a_few_at_a_time_and_no_other() -> None:
    model = build(sizes="channels=8,8,8 condition=8").eval()
    mixture = noise(1, 9 * model.windows.hop)
    few = model(mixture, conditions(1)).detach()
    with torch.no_grad():
        sliced = model(mixture, conditions(1))
    assert (few - sliced).abs().max() < 1e-6


def test_no_tower_is_told() -> None:
    assert needs_tower("clapsep") and not needs_tower("small")
    assert isinstance(ClapSepSize(), TowerSize)
    with pytest.raises(UsageError, match="audio tower of an embedding space"):
        build_model("clapsep", condition_dim=8, sample_rate=RATE)


def test_all_faults_of_a_size_are_told_together() -> None:
    sizes = "channels=0,3 patch=4 depth=0 condition=0 lora_rank=-1 lora_scale=0"
    with pytest.raises(ConfigError) as caught:
        build(sizes=sizes)
    assert len(caught.value.faults) == 6
    for name, fault in zip(("channels", "patch", "depth"), caught.value.faults, strict=False):
        assert fault.startswith(name)


def test_a_sample_rate_below_what_windows_need_is_told() -> None:
    with pytest.raises(ConfigError, match="sample_rate"):
        build(sample_rate=100)


def test_rank_and_scale_are_those_of_the_sizes() -> None:
    model = build(sizes="lora_rank=3 lora_scale=0.5")
    adapter = model.tower.get_submodule("network.stem")
    assert (adapter.narrow.weight.shape[0], adapter.scale) == (3, 0.5)


def test_more_stages_than_channels_leave_the_coarsest_out() -> None:
    model = build(sizes="channels=8,8")
    assert len(model.stacks) == 2
    model(noise(1, 4000), conditions(1)).sum().backward()


def test_interpolation_is_linear_between_and_constant_beyond() -> None:
    known = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    weights = between(known, torch.tensor([0.0, 1.0, 1.25, 3.0, 9.0], dtype=torch.float64))
    values = torch.tensor([10.0, 20.0, 40.0], dtype=torch.float64)
    assert (weights @ values).tolist() == [10, 10, 12.5, 30, 40]
    assert between(known[:1], known).tolist() == [[1], [1], [1]]


def test_a_copy_hears_alike() -> None:
    model = build().eval()
    with torch.no_grad():
        first, second = (m(noise(1, 999), conditions(1)) for m in (model, copy.deepcopy(model)))
    assert torch.equal(first, second)


def test_it_cannot_be_exported_and_says_so() -> None:
    with pytest.raises(UsageError, match=r"cannot do without complex numbers.*found ClapSep"):
        RealSeparator(build())
