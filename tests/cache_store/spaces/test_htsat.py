"""The oracle is transformers' own `ClapModel`, asked for its hidden states.

Its spectrogram is numpy's, so a test through samples allows for rounding in decibels; where both
are shown the same spectrogram, the maps are the same bits in another order.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ClapModel

from cache_store.spaces import audio_tower, load_space
from cache_store.spaces.htsat import HtsatTower
from cache_store.spaces.mel import LogMel, MelSettings
from tests.cache_store.spaces import models

STRETCHES, SIDE = 4, 64  # 64 mel bins in an image of 256 rows, in patches of 4


def hidden(peer: ClapModel, log_mel: torch.Tensor) -> list[torch.Tensor]:
    """What transformers gives of each stage, before it halves it: `[B, C, rows, columns]`."""
    with torch.no_grad():
        answer = peer.audio_model.audio_encoder(
            log_mel,
            is_longer=torch.zeros(len(log_mel), 1, dtype=torch.bool),
            output_hidden_states=True,
            output_hidden_states_before_downsampling=True,
        )
    return list(answer.hidden_states)[1:]


def by_time(maps: torch.Tensor) -> np.ndarray:
    """The stretches of the image side by side, cut by hand. Shape: `[B, C, F, L]`."""
    rows = maps.shape[2] // STRETCHES
    parts = [maps[:, :, part * rows : (part + 1) * rows].numpy() for part in range(STRETCHES)]
    return np.concatenate(parts, axis=3)


@pytest.fixture(scope="module")
def sound() -> torch.Tensor:
    waves = [models.recording(10, hz, seed) for seed, hz in enumerate((440, 3000))]
    return torch.from_numpy(np.stack(waves))


@pytest.fixture(scope="module")
def tower(hf_folder: Path) -> HtsatTower:
    found = audio_tower(load_space(f"hf:{hf_folder}", device="cpu"))
    assert isinstance(found, HtsatTower)
    return found


def test_stages_are_transformers_hidden_states_in_the_order_of_time(
    tower: HtsatTower, peer: ClapModel, sound: torch.Tensor
) -> None:
    with torch.no_grad():
        ours = tower(sound)
    theirs = [by_time(maps) for maps in hidden(peer, LogMel(tower.mel, "cpu")(sound))]
    assert [tuple(maps.shape) for maps in ours] == [
        (2, 16 * 2**stage, SIDE // 4 >> stage, SIDE * 4 >> stage) for stage in range(4)
    ]
    for our, their in zip(ours, theirs, strict=True):
        assert np.abs(our.numpy() - their).max() < 1e-5 * np.abs(their).max()


def test_from_samples_on_they_are_those_of_transformers_own_feature_extractor(
    tower: HtsatTower, peer: ClapModel, sound: torch.Tensor
) -> None:
    features = models.extractor()(list(sound.numpy()), sampling_rate=48_000, return_tensors="pt")
    theirs = [by_time(maps) for maps in hidden(peer, features["input_features"])]
    with torch.no_grad():
        ours = tower(sound)
    for our, their in zip(ours, theirs, strict=True):
        # Where numpy's spectrogram rounds decibels of near silence otherwise, cells differ a bit.
        assert np.abs(our.numpy() - their).mean() < 1e-3 * np.abs(their).mean()


def test_a_short_sound_fills_the_window_as_its_space_does(
    tower: HtsatTower, peer: ClapModel
) -> None:
    short = models.recording(3, 440, 0)
    features = models.extractor()(short, sampling_rate=48_000, return_tensors="pt")
    theirs = [by_time(maps) for maps in hidden(peer, features["input_features"])]
    with torch.no_grad():
        ours = tower(torch.from_numpy(short)[None])
    for our, their in zip(ours, theirs, strict=True):
        assert np.abs(our.numpy() - their).mean() < 1e-3 * np.abs(their).mean()


def test_a_click_is_heard_at_its_time_and_a_tone_in_its_band(tower: HtsatTower) -> None:
    mel = LogMel(tower.mel, "cpu")
    seconds, bands = tower.step_seconds(480_000), tower.band_hz
    time = torch.arange(480_000) / 48_000
    at, hz = float(seconds[77]), bands[5]
    tone = torch.sin(2 * torch.pi * hz * time) * torch.exp(-(((time - at) / 0.02) ** 2))
    frame, row = divmod(int(mel(tone[None])[0, 0].argmax()), 64)
    # The frame in the spectrogram that is stretched to 1,024, and its patch of four; so the bins.
    assert frame * 1023 / 1000 // 4 == 77
    assert row // 4 == 5


def test_laion_and_hf_towers_of_the_same_weights_are_the_same(
    tower: HtsatTower, checkpoint: Path, tokenizer_folder: Path, sound: torch.Tensor
) -> None:
    space = load_space(f"laion:{checkpoint}?tokenizer={tokenizer_folder}", device="cpu")
    other = audio_tower(space)
    assert other.fingerprint == tower.fingerprint
    with torch.no_grad():
        for ours, theirs in zip(other(sound), tower(sound), strict=True):
            assert torch.equal(ours, theirs)


def test_a_fused_model_hears_one_window(fused_folder: Path, sound: torch.Tensor) -> None:
    tower = audio_tower(load_space(f"hf:{fused_folder}", device="cpu"))
    peer = ClapModel.from_pretrained(fused_folder, local_files_only=True).eval()
    assert isinstance(tower, HtsatTower)
    log_mel = LogMel(tower.mel, "cpu")(sound).expand(-1, 4, -1, -1)
    theirs = [by_time(maps) for maps in hidden(peer, log_mel)]
    with torch.no_grad():
        for our, their in zip(tower(sound), theirs, strict=True):
            assert np.abs(our.numpy() - their).max() < 1e-5 * np.abs(their).max()


def test_the_projections_of_every_block_can_be_adapted(tower: HtsatTower) -> None:
    blocks = sum(models.TINY_AUDIO["depths"])
    assert len(tower.adaptable) == 4 * blocks
    for name in tower.adaptable:
        assert isinstance(tower.get_submodule(name), torch.nn.Linear)


def test_the_shape_of_the_base_model_is_told_without_its_weights() -> None:
    from transformers import ClapAudioConfig
    from transformers.models.clap.modeling_clap import ClapAudioEncoder

    config = ClapAudioConfig(
        patch_embeds_hidden_size=128, hidden_size=1024, depths=[2, 2, 12, 2], window_size=8
    )
    with torch.device("meta"):
        tower = HtsatTower(ClapAudioEncoder(config), MelSettings(), "clap:base")
    assert tower.channels == (128, 256, 512, 1024)
    assert len(tower.adaptable) == 4 * 18 and len(tower.band_hz) == 16
