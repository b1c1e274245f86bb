"""Against torchmetrics where it means the same, and against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.audio import (
    scale_invariant_signal_distortion_ratio,
    signal_noise_ratio,
)

from cache_store.errors import MismatchError
from trainer.metrics import all_metrics, bss_metrics, bss_sdr, sdr, sdri, si_sdr, si_sdri


def signals(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Estimate, reference, mixture, `[5, 4000]` each."""
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randn(5, 4000, generator=generator)
    mixture = reference + torch.randn(5, 4000, generator=generator)
    estimate = 0.7 * reference + 0.3 * torch.randn(5, 4000, generator=generator)
    return estimate, reference, mixture


def test_sdr_is_the_plain_signal_to_noise_ratio() -> None:
    estimate, reference, _ = signals()
    # Floors of 1e-10 and float32 sums over 4,000 values: 1e-4 dB.
    torch.testing.assert_close(
        sdr(estimate, reference), signal_noise_ratio(estimate, reference), rtol=0, atol=1e-4
    )


def test_si_sdr_equals_torchmetrics_without_removing_means() -> None:
    estimate, reference, _ = signals()
    estimate = estimate + 0.5
    expected = scale_invariant_signal_distortion_ratio(estimate, reference, zero_mean=False)
    torch.testing.assert_close(si_sdr(estimate, reference), expected, rtol=0, atol=1e-4)
    removed = scale_invariant_signal_distortion_ratio(estimate, reference, zero_mean=True)
    assert (expected - removed).abs().min() > 0.1


def test_half_the_amplitude_is_6_dB_off() -> None:
    reference = torch.randn(1, 100)
    assert sdr(reference / 2, reference).item() == pytest.approx(6.0206, abs=1e-4)


def test_si_sdr_does_not_change_with_the_scale_of_the_estimate() -> None:
    estimate, reference, _ = signals()
    for scale in (1e-3, -1.0, 1e3):
        torch.testing.assert_close(
            si_sdr(scale * estimate, reference), si_sdr(estimate, reference), rtol=0, atol=1e-3
        )


def test_an_improvement_is_a_difference_to_the_mixture() -> None:
    estimate, reference, mixture = signals()
    both = sdr(estimate, reference) - sdr(mixture, reference)
    torch.testing.assert_close(sdri(estimate, reference, mixture), both)
    both = si_sdr(estimate, reference) - si_sdr(mixture, reference)
    torch.testing.assert_close(si_sdri(estimate, reference, mixture), both)
    assert sdri(mixture, reference, mixture).abs().max() == 0


def test_all_metrics_agree_with_each_alone() -> None:
    estimate, reference, mixture = signals()
    found = all_metrics(estimate, reference, mixture)
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(
        ("sdr", "sdri", "si_sdr", "si_sdri", "sdr_mixture"), torch.Size([5])
    )
    torch.testing.assert_close(found["sdri"], sdri(estimate, reference, mixture))
    torch.testing.assert_close(found["si_sdri"], si_sdri(estimate, reference, mixture))


@pytest.mark.parametrize("metric", [sdr, si_sdr])
def test_silence_gives_a_number(metric: object) -> None:
    zero, one = torch.zeros(1, 10), torch.ones(1, 10)
    for estimate, reference in ((zero, one), (one, zero), (zero, zero), (one, one)):
        assert metric(estimate, reference).isfinite().all()  # type: ignore[operator]


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(MismatchError, match=r"expected \(1, 9\), found \(1, 10\)"):
        sdr(torch.zeros(1, 10), torch.zeros(1, 9))


def test_bss_sdr_lets_a_filter_of_the_reference_pass() -> None:
    """The oracle projects on the delayed references by least squares, which is the definition."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=400)
    estimate = 0.7 * reference + 0.4 * np.roll(reference, 3) + 0.3 * rng.normal(size=400)
    taps = 8
    padded = np.concatenate([reference, np.zeros(taps - 1)])
    delayed = np.stack([np.roll(padded, delay) for delay in range(taps)], axis=1)
    heard = np.concatenate([estimate, np.zeros(taps - 1)])
    weights, *_ = np.linalg.lstsq(delayed, heard, rcond=None)
    projected = delayed @ weights
    expected = 10 * np.log10(np.sum(projected**2) / np.sum((heard - projected) ** 2))
    found = bss_sdr(torch.from_numpy(estimate), torch.from_numpy(reference), taps)
    # torchmetrics solves the normal equations from an FFT: a relative 1e-6 of 10 dB or so.
    assert float(found) == pytest.approx(expected, abs=1e-3)
    assert float(found) > float(si_sdr(torch.from_numpy(estimate), torch.from_numpy(reference)))


def test_bss_sdr_has_the_documented_shape() -> None:
    wave = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 2000))).float()
    assert bss_sdr(wave + 0.1, wave).shape == (2, 3)
    found = bss_metrics(wave[0] + 0.1, wave[0], wave[0] + 1.0)
    assert {name: value.shape for name, value in found.items()} == {
        "bss_sdr": (3,),
        "bss_sdri": (3,),
    }
