"""The short-time Fourier transform that the separators work in.

By default a window of 32 ms with half overlap at any sample rate, square-root Hann on both sides.
Whatever the window, analysis and synthesis without a mask give the signal back. Always float32:
half precision is too coarse for a transform and its phase.

Letters: B batch, T samples, F bins (without the last one: a power of two is easier to halve),
M frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WINDOW_SECONDS = 0.032


def window_length(sample_rate: int, bins_multiple: int, seconds: float = WINDOW_SECONDS) -> int:
    """Samples in a window of about `seconds`, half of it a multiple of `bins_multiple`."""
    step = 2 * bins_multiple
    return max(1, round(seconds * sample_rate / step)) * step


class Stft(nn.Module):
    """Analysis and synthesis.

    Args:
        length: Samples in a window; even.
        hop: Samples between two windows; by default half a window.
        window: The weights of a window, on both sides; by default the square root of Hann's.
        pad_mode: What is before the signal and after it, as `torch.stft` calls it. A reflection
            needs a signal of more than half a window.

    Attributes:
        hop: Samples between two windows.
        bins: F, half a window: the last bin (half the sample rate) is left to `synthesis`.
    """

    def __init__(
        self,
        length: int,
        hop: int | None = None,
        *,
        window: Tensor | None = None,
        # Zeros, not a reflection: a signal may be shorter than half a window.
        pad_mode: str = "constant",
    ) -> None:
        super().__init__()
        self.length = length
        self.hop = length // 2 if hop is None else hop
        self.bins = length // 2
        self.pad_mode = pad_mode
        # Made, not learned: kept out of checkpoints.
        self.window: Tensor
        weights = torch.hann_window(length).sqrt() if window is None else window
        self.register_buffer("window", weights, persistent=False)

    def analysis(self, signal: Tensor) -> Tensor:
        """The spectrogram, with its last bin. Shape: `[B, T]` to complex64 `[B, F + 1, M]`."""
        with torch.autocast(signal.device.type, enabled=False):
            return torch.stft(
                signal.float(),
                self.length,
                self.hop,
                window=self.window,
                center=True,
                pad_mode=self.pad_mode,
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
