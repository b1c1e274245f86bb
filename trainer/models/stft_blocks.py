"""`Stft` over a signal that comes in blocks: the same values as over the whole.

Analysis keeps the samples that later windows need; synthesis keeps the sum of windows that later
ones add to, and the sum of their weights to divide by. Memory does not grow with the length.

Letters: T samples, L samples of a window, F bins, m frames of a block.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from trainer.models.stft import Stft


class BlockAnalysis:
    """The spectrogram of a signal that is reflected at its ends.

    Args:
        stft: With `pad_mode="reflect"`, and windows that overlap by more than a half.
    """

    def __init__(self, stft: Stft) -> None:
        self._stft = stft
        self._edge = stft.length // 2
        self._held = stft.window.new_zeros(0)
        self._begun = False

    def push(self, signal: Tensor) -> Tensor:
        """The frames that are known by now. Shape: `[T]` to complex64 `[1, F + 1, m]`."""
        self._held = torch.cat([self._held, signal])
        if not self._begun:
            # A reflection needs more samples than it repeats.
            if len(self._held) <= self._edge:
                return self._frames(0)
            before = self._held[1 : self._edge + 1].flip(0)
            self._held = torch.cat([before, self._held])
            self._begun = True
        return self._frames((len(self._held) - self._stft.length) // self._stft.hop + 1)

    def finish(self) -> Tensor:
        """The last frames; there are some. A short signal ends in silence. Shape: as `push`."""
        early = []
        if not self._begun:
            early = [self.push(self._held.new_zeros(self._edge + 1 - len(self._held)))]
        after = self._held[-self._edge - 1 : -1].flip(0)
        return torch.cat([*early, self.push(after)], dim=-1)

    def _frames(self, count: int) -> Tensor:
        stft = self._stft
        if count <= 0:
            return torch.zeros(1, stft.bins + 1, 0, dtype=torch.complex64)
        heard = self._held[: (count - 1) * stft.hop + stft.length]
        self._held = self._held[count * stft.hop :].clone()
        return torch.stft(
            heard[None],
            stft.length,
            stft.hop,
            window=stft.window,
            center=False,
            return_complex=True,
        )


class BlockSynthesis:
    """The signal of a spectrogram.

    Args:
        stft: As that of `BlockAnalysis`.
    """

    def __init__(self, stft: Stft) -> None:
        self._stft = stft
        overlap = stft.length - stft.hop
        # What is at 0 is the sum of windows, what is at 1 that of their weights.
        self._held = stft.window.new_zeros(2, overlap)
        self._early = stft.length // 2  # samples before the signal's first

    def push(self, spectrum: Tensor) -> Tensor:
        """The samples that are known by now. Shape: complex64 `[1, F + 1, m]` to `[T]`."""
        stft, frames = self._stft, spectrum.shape[-1]
        if not frames:
            return self._held.new_zeros(0)
        length = (frames - 1) * stft.hop + stft.length
        waves = torch.fft.irfft(spectrum, n=stft.length, dim=1) * stft.window[:, None]
        weights = stft.window.square()[:, None].expand_as(waves)
        sums = functional.fold(
            torch.cat([waves, weights]),
            (1, length),
            kernel_size=(1, stft.length),
            stride=(1, stft.hop),
        ).view(2, length)
        sums[:, : self._held.shape[1]] += self._held
        done = frames * stft.hop
        self._held = sums[:, done:].clone()
        return self._divided(sums[:, :done])

    def finish(self) -> Tensor:
        """What is left: the signal's last samples, and some more. Shape: `[T]`."""
        return self._divided(self._held)

    def _divided(self, sums: Tensor) -> Tensor:
        skipped = min(self._early, sums.shape[1])
        self._early -= skipped
        signal, weights = sums[:, skipped:]
        # Beyond the last window's middle weights fall to nothing; nobody hears that part.
        return signal / weights.clamp_min(torch.finfo(torch.float32).tiny)
