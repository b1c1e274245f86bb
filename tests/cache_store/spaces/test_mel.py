"""The spectrogram is the one that transformers' feature extractor computes, in batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cache_store.errors import DataError
from cache_store.spaces.audio import fill
from cache_store.spaces.mel import LogMel, MelSettings
from tests.cache_store.spaces import models


@pytest.mark.parametrize("fused", [False, True])
def test_it_equals_the_feature_extractor(clips: list[np.ndarray], fused: bool) -> None:
    extractor = models.extractor(fused=fused)
    settings = MelSettings.from_extractor(extractor, "here")
    expected = extractor(clips, sampling_rate=48_000, return_tensors="np")["input_features"]
    windows = np.stack([fill(clip, settings.window_samples, "repeatpad") for clip in clips])
    got = LogMel(settings, "cpu")(torch.from_numpy(windows)).numpy()
    assert got.shape == (len(clips), 1, settings.frames, settings.mels)
    # The peer sums in float64, we in float32: about 1e-7 of the power, which is 1e-6 dB; more
    # where the power is near the floor of 1e-10 and the peer's is below it.
    np.testing.assert_allclose(got[:, 0], expected[:, 0], atol=2e-3)


def test_the_defaults_are_those_of_laion_clap() -> None:
    assert MelSettings.from_extractor(models.extractor(), "here") == MelSettings()


def test_silence_is_at_the_floor() -> None:
    assert LogMel(MelSettings(), "cpu")(torch.zeros(1, 480_000)).unique().tolist() == [-100.0]


def test_an_unknown_padding_is_refused() -> None:
    extractor = models.extractor()
    extractor.padding = "mirror"
    with pytest.raises(DataError, match="mirror"):
        MelSettings.from_extractor(extractor, "here")


def test_the_filters_cover_the_band() -> None:
    settings = replace(MelSettings(), min_hz=100.0, max_hz=8_000.0)
    filters = settings.filters()
    assert filters.shape == (513, 64)
    heard = np.flatnonzero(filters.any(axis=1)) * 48_000 / 1024
    assert 100 <= heard[0] <= 150
    assert 7_900 <= heard[-1] <= 8_000
