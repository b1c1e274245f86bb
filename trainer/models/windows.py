"""A recording as windows that overlap, and back: for networks that read no more than a window.

Windows begin every three quarters of their length, and the first a quarter before the recording;
each fades in and out over a quarter, so that at any moment their weights add up to one. What is
made of a sample depends on the windows that hold it and on nothing else: where a chunk of a
recording begins on the grid of windows, it comes out as in the whole but for a window at each end.

A recording of at most the longest window is one window, without fades.

Letters: B batch, T samples, N windows, W samples of a window.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

UNIT = 512  # samples: a quarter is a multiple, so that grids of other steps meet with it soon


class Windows:
    """How a recording is cut.

    Args:
        most: The longest window that may be, in samples; at least 2,048.

    Attributes:
        length: W.
        hop: Samples from window to window.
        most: The longest recording that is one window; a little more than W.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._fade = max(most // (4 * UNIT), 1) * UNIT
        self.length = 4 * self._fade
        self.hop = 3 * self._fade

    def cut(self, signal: Tensor) -> Tensor:
        """Shape: `[B, T]` to `[B, N, W]`, or `[B, 1, T]` where T is at most `most`."""
        samples = signal.shape[-1]
        if samples <= self.most:
            return signal[:, None]
        # The last one is whole up to the end of the recording.
        count = math.ceil((samples + self._fade) / self.hop)
        end = count * self.hop - samples
        padded = functional.pad(signal, (self._fade, end))
        return padded.unfold(-1, self.length, self.hop)

    def join(self, windows: Tensor, samples: int) -> Tensor:
        """What `cut` cut, put together. Shape: `[B, N, W]` to `[B, T]`."""
        if samples <= self.most:
            return windows[:, 0]
        batch, count, length = windows.shape
        total = (count - 1) * self.hop + length
        weighted = (windows * self._weights(windows)).transpose(1, 2)
        added = functional.fold(weighted, (1, total), (1, length), stride=(1, self.hop))
        return added.reshape(batch, total)[:, self._fade : self._fade + samples]

    def _weights(self, like: Tensor) -> Tensor:
        """Shape: `[W]`."""
        steps = (torch.arange(self._fade, device=like.device) + 0.5) / self._fade
        rise = torch.sin(steps * torch.pi / 2).square()
        flat = torch.ones(2 * self._fade, device=like.device)
        return torch.cat([rise, flat, rise.flip(0)])
