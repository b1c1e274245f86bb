from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from cache_store.spaces.tiny import features
from cache_store.spaces.tiny.space import WEIGHTS, load_tiny, read_weights
from cache_store.spaces.tiny.tower import TinyTower


@pytest.fixture(scope="module")
def tower() -> TinyTower:
    return load_tiny("cpu").audio_tower()


@pytest.mark.parametrize("samples", [1, 300, 16_000, 79_999, 80_000])
def test_stages_have_the_shapes_that_are_told(tower: TinyTower, samples: int) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        stages = tower(0.1 * torch.randn(2, samples))
    steps, bands = len(tower.step_seconds(samples)), len(tower.band_hz)
    assert [maps.shape[1] for maps in stages] == list(tower.channels)
    for maps in stages:
        assert maps.shape[0] == 2 and maps.shape[2:] == (bands, steps)
        bands, steps = bands // 2, -(-steps // 2)


def test_what_it_gives_becomes_the_embedding_of_the_space(tower: TinyTower) -> None:
    torch.manual_seed(1)
    sound = 0.1 * torch.randn(1, features.WINDOW)
    network = read_weights(WEIGHTS).eval().audio
    with torch.no_grad():
        maps = tower(sound)[-1]
        # The rest of the network, as its own forward has it.
        maps = functional.relu(network.across_norm(network.across(maps))).flatten(2)
        pooled = torch.cat([maps.mean(-1), maps.amax(-1)], dim=1)
        ours = functional.normalize(network.head(pooled), dim=-1).numpy()
    theirs = load_tiny("cpu").embed_audio([sound[0].numpy()], features.SAMPLE_RATE)
    # Another order of sums in the convolutions, no more.
    assert abs(ours - theirs).max() < 1e-5


def test_bands_and_steps_are_where_they_are_said_to_be(tower: TinyTower) -> None:
    # A short tone: the cell of the spectrogram that the stem sees in its middle is the loudest.
    time = torch.arange(80_000) / 16_000
    hz, at = tower.band_hz[8], float(tower.step_seconds(80_000)[30])
    tone = torch.sin(2 * torch.pi * hz * time) * torch.exp(-(((time - at) / 0.02) ** 2))
    mel = features.mel_db(tone[None])[0]
    band, frame = divmod(int(mel.argmax()), mel.shape[1])
    assert (band, frame) == (4 * 8, 4 * 30)


def test_all_that_adapters_can_change_is_there(tower: TinyTower) -> None:
    for name in tower.adaptable:
        assert isinstance(tower.get_submodule(name), torch.nn.Conv2d)
