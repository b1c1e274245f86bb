"""The short-time Fourier transform that the separators work in.

A window of 32 ms with half overlap at any sample rate, square-root Hann on both sides, so that
analysis and synthesis without a mask give the signal back. Always float32: half precision is too
coarse for a transform and its phase.

Letters: B batch, T samples, F bins (without the last one: a power of two is easier to halve),
M frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WINDOW_SECONDS = 0.032


def window_length(sample_rate: int, bins_multiple: int) -> int:
    """Samples in a window: about 32 ms, and half of it a multiple of `bins_multiple`."""
    step = 2 * bins_multiple
    return max(1, round(WINDOW_SECONDS * sample_rate / step)) * step


class Stft(nn.Module):
    """Analysis and synthesis.

    Args:
        window: Samples in a window; even.

    Attributes:
        hop: Samples between two windows, half a window.
        bins: F, half a window: the last bin (half the sample rate) is left to `synthesis`.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.length = window
        self.hop = window // 2
        self.bins = window // 2
        # Made, not learned: kept out of checkpoints.
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(window).sqrt(), persistent=False)

    def analysis(self, signal: Tensor) -> Tensor:
        """The spectrogram, with its last bin. Shape: `[B, T]` to complex64 `[B, F + 1, M]`."""
        with torch.autocast(signal.device.type, enabled=False):
            # Zeros at the ends, not a reflection: a signal may be shorter than half a window.
            return torch.stft(
                signal.float(),
                self.length,
                self.hop,
                window=self.window,
                center=True,
                pad_mode="constant",
                return_complex=True,
            )

    def synthesis(self, spectrum: Tensor, samples: int) -> Tensor:
        """The signal of a spectrogram. Shape: complex64 `[B, F + 1, M]` to float32 `[B, T]`."""
        with torch.autocast(spectrum.device.type, enabled=False):
            return torch.istft(
                spectrum, self.length, self.hop, window=self.window, center=True, length=samples
            )

    def full(self, maps: Tensor) -> Tensor:
        """Repeat the last bin, which `analysis` has and a network leaves out.

        Shape: `[..., F, M]` to `[..., F + 1, M]`.
        """
        return torch.cat([maps, maps[..., -1:, :]], dim=-2)


def pad_frames(maps: Tensor, multiple: int) -> Tensor:
    """Add frames of zeros up to a multiple. Shape: `[..., M]` to `[..., M']`."""
    missing = -maps.shape[-1] % multiple
    return functional.pad(maps, (0, missing)) if missing else maps
