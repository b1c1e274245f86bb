"""Log-mel spectrograms: what the audio tower sees.

16 kHz mono, Hann windows of 40 ms every 20 ms, 64 mel bands (the Slaney-free formula of HTK:
mel = 2595 log10(1 + f / 700)) from 50 Hz to 8 kHz. A window is shown in dB relative to its loudest
cell, cut 80 dB below it: the level of a recording changes nothing.

Letters: B batch, T samples, F bands, L frames.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

SAMPLE_RATE = 16000
N_FFT = 640
HOP = 320
BANDS = 64
LOWEST, HIGHEST = 50.0, 8000.0  # Hz
WINDOW_SECONDS = 5.0
WINDOW = int(WINDOW_SECONDS * SAMPLE_RATE)
FLOOR_DB = 160.0  # dB below full scale that is digital silence; dither of 16 bits lies at -85
RANGE_DB = 80.0

PREPROCESSING = {
    "sample_rate": SAMPLE_RATE,
    "n_fft": N_FFT,
    "hop": HOP,
    "bands": BANDS,
    "hertz": [LOWEST, HIGHEST],
    "window": WINDOW,
    "padding": "repeat",
    "range_db": RANGE_DB,
    "floor_db": FLOOR_DB,
}


@lru_cache(maxsize=1)
def mel_filters() -> Tensor:
    """Triangular mel filters with unit peaks. Shape: [N_FFT // 2 + 1, F]."""
    points = _points()
    bins = torch.arange(N_FFT // 2 + 1, dtype=torch.float64)[:, None] * SAMPLE_RATE / N_FFT
    rise = (bins - points[:-2]) / (points[1:-1] - points[:-2])
    fall = (points[2:] - bins) / (points[2:] - points[1:-1])
    filters = torch.clamp(torch.minimum(rise, fall), min=0)
    # The lowest triangles are narrower than a bin: each gets at least its nearest bin.
    nearest = torch.argmin(torch.abs(bins - points[1:-1]), dim=0)
    filters[nearest, torch.arange(BANDS)] = torch.clamp(
        filters[nearest, torch.arange(BANDS)], min=0.5
    )
    return filters.float()


def band_hz() -> list[float]:
    """The middle of each band, in Hz."""
    middles: list[float] = _points()[1:-1].tolist()
    return middles


def _points() -> Tensor:
    """Where the triangles begin, peak and end, in Hz. Shape: [F + 2]."""
    edges = torch.tensor([LOWEST, HIGHEST], dtype=torch.float64)
    low, high = 2595 * torch.log10(1 + edges / 700)
    return 700 * (10 ** (torch.linspace(float(low), float(high), BANDS + 2).double() / 2595) - 1)


def mel_db(waveforms: Tensor) -> Tensor:
    """Power in mel bands, in dB re full scale squared, not below -FLOOR_DB.

    Shape:
        - waveforms: [B, T], T at least 1
        - output: [B, F, L] with L = 1 + T // HOP
    """
    padded = torch.nn.functional.pad(waveforms, (N_FFT // 2, N_FFT // 2))
    frames = padded.unfold(-1, N_FFT, HOP) * torch.hann_window(N_FFT, device=waveforms.device)
    power = torch.fft.rfft(frames).abs().square() / N_FFT
    mel = power @ mel_filters().to(power.device)
    return (10 * torch.log10(mel + 10 ** (-FLOOR_DB / 10))).transpose(1, 2)


def normalise(mel: Tensor, range_db: float | Tensor = RANGE_DB) -> Tensor:
    """Relative to the loudest cell, cut `range_db` below it, scaled to about [-1, 1].

    So the level of a recording changes nothing, down to what 16 bits can hold. Digital silence has
    no loudest cell worth the name: it becomes all -1.

    Shape:
        - mel: [B, F, L] in dB
        - output: [B, F, L]
    """
    top = torch.clamp(mel.amax(dim=(1, 2), keepdim=True), min=RANGE_DB - FLOOR_DB)
    floor = top - range_db
    return (torch.maximum(mel, floor) - top) / (RANGE_DB / 2) + 1
