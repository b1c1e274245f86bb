"""One mask for all channels of a recording, made from the estimates of each.

A separator hears one channel at a time. Two sources at different places then get different masks in
the channels, and the estimate wanders about between the loudspeakers. So the estimates e are
replaced, in each bin of a short-time Fourier transform, by the one complex mask that is nearest to
all of them over the channels c of the mixture x,

    m = sum_c e_c conj(x_c) / sum_c |x_c|^2     (least squares),     |m| <= 1

and m x_c is the estimate. Levels and phases between the channels are, bin by bin, the mixture's
own. Where all channels hold the same but for a gain, this is what the separator gave. A mask from a
downmix would need only one pass, but what is out of phase cancels in it.

Letters: C channels, T samples.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WINDOW_SECONDS = 0.064
_SMALLEST = 1e-12  # of a bin's power


class SharedMask(nn.Module):
    """See the module.

    Args:
        sample_rate: In Hz.

    Attributes:
        hop: Samples between two windows: a chunk has to begin at a multiple of it.
        reach: Samples on each side beyond which nothing changes a value of the output.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        # The power of two below half a window.
        self.hop = 1 << max((int(WINDOW_SECONDS * sample_rate) // 2).bit_length() - 1, 0)
        self.length = 2 * self.hop
        # Twice a window: the mask is made by one transform and used in another.
        self.reach = 2 * self.length
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(self.length).sqrt(), persistent=False)

    def forward(self, mixture: Tensor, estimates: Tensor) -> Tensor:
        """The estimates under one mask. Shape: two of `[C, T]` to `[C, T]`."""
        mixed, found = self._analysis(mixture), self._analysis(estimates)
        power = mixed.abs().square().sum(0)
        mask = (found * mixed.conj()).sum(0) / power.clamp_min(_SMALLEST)
        mask = mask / mask.abs().clamp_min(1.0)
        return torch.istft(
            mask * mixed,
            self.length,
            self.hop,
            window=self.window,
            center=True,
            length=mixture.shape[-1],
        )

    def _analysis(self, signal: Tensor) -> Tensor:
        return torch.stft(
            signal,
            self.length,
            self.hop,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
