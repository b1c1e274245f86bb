"""Resampling inside a network, on its device: by the Fourier transform of the whole signal.

The spectrum is cut at half the lower rate, or continued by zeros. Exact for what repeats itself
within the signal; a margin of zeros keeps its two ends from meeting.

Letters: B batch, T samples.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

MARGIN = 256  # samples at least, beyond the end


def resample(signal: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """A signal at another sample rate.

    Args:
        signal: At `from_rate`, in Hz.
        from_rate: In Hz.
        to_rate: In Hz.

    Shape: `[B, T]` to float32 `[B, ceil(T · to_rate / from_rate)]`.
    """
    if from_rate == to_rate:
        return signal.float()
    common = math.gcd(from_rate, to_rate)
    down, up = from_rate // common, to_rate // common
    samples = signal.shape[-1]
    blocks = -(-(samples + MARGIN) // down)
    with torch.autocast(signal.device.type, enabled=False):
        padded = functional.pad(signal.float(), (0, blocks * down - samples))
        spectrum = torch.fft.rfft(padded)
        bins = blocks * up // 2 + 1
        if bins <= spectrum.shape[-1]:
            spectrum = spectrum[..., :bins]
        else:
            spectrum = functional.pad(spectrum, (0, bins - spectrum.shape[-1]))
        out = torch.fft.irfft(spectrum, n=blocks * up) * (up / down)
    return out[..., : -(-samples * up // down)]
