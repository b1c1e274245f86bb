"""Recordings through a separator that keeps its state, against one pass over the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.trainer.models.test_resunet import lively, noise, plain, unit
from tests.trainer.test_streaming import blocks, joined
from trainer.live import LiveSeparation
from trainer.shared_mask import SharedMask
from trainer.streaming import separate_blocks, separate_stream

SAMPLES = 50_001


def test_the_estimate_is_that_of_one_pass_whatever_the_chunks() -> None:
    mixture = noise(2, SAMPLES)
    expected = plain(lively(), mixture, unit(2, 5, seed=1)[:1].expand(2, -1))
    for seconds in (0.1, 100.0):
        found = joined(
            separate_stream(
                lively(),
                lambda: blocks(mixture.numpy(), 4096),
                unit(2, 5)[0],
                channels=2,
                sample_rate=8000,
                samples=SAMPLES,
                seconds=seconds,
                shared=False,
            )
        )
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("seconds", [0.1, 3.0, 100.0])
def test_channels_share_the_mask_of_the_whole(seconds: float) -> None:
    mixture, conditions = noise(2, SAMPLES), unit(2, 5)
    found = np.concatenate(
        list(
            separate_stream(
                lively(),
                lambda: blocks(mixture.numpy(), 4096),
                conditions,
                channels=2,
                sample_rate=8000,
                samples=SAMPLES,
                seconds=seconds,
            )
        ),
        axis=2,
    )
    mask = SharedMask(8000)
    for estimate, condition in zip(found, conditions, strict=True):
        whole = mask(mixture, plain(lively(), mixture, condition.expand(2, -1)))
        # Float32 in another order: no seam.
        np.testing.assert_allclose(estimate, whole.numpy(), rtol=0, atol=1e-4)


def test_a_sweep_has_no_seam() -> None:
    """What is not in one pass over the whole: below -90 dB of the largest sample."""
    time = torch.arange(SAMPLES) / 8000
    sweep = torch.sin(2 * torch.pi * (50 + 300 * time) * time)[None]
    expected = plain(lively(), sweep, unit(1, 5))[0].numpy()
    found = joined(
        separate_blocks(lively(), blocks(sweep.numpy(), 1000), unit(1, 5)[0], torch.ones(1))
    )
    assert np.abs(found - expected).max() < 10 ** (-90 / 20) * np.abs(expected).max()


@pytest.mark.parametrize("channels", [1, 2])
def test_live_gives_what_the_file_gives_as_soon_as_it_said(channels: int) -> None:
    mixture = noise(channels, SAMPLES).numpy()
    live = LiveSeparation(lively(), unit(5), 8000, channels, 0.1, shared=True)
    assert live.work == 1
    parts, late, pushed = [], 0, 0
    for block in blocks(mixture, 800):
        parts.append(live.push(block))
        pushed += block.shape[1]
        late = max(late, pushed - sum(part.shape[1] for part in parts))
    assert 0.5 * live.latency_seconds < late / 8000 <= live.latency_seconds + 0.1
    found = np.concatenate([*parts, live.finish()], axis=1)
    whole = separate_stream(
        lively(),
        lambda: iter([mixture]),
        unit(5),
        channels=channels,
        sample_rate=8000,
        samples=SAMPLES,
    )
    np.testing.assert_allclose(found, joined(whole), rtol=0, atol=1e-4)
