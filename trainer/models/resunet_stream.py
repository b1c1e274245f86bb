"""AudioSep's network over a signal that comes in blocks, on a CPU: its state is kept between them.

What comes out is, to rounding, what the network gives for the whole; it does not depend on how the
signal was cut, not in one bit. A sample comes out once everything that can change it has come in,
so nothing is computed twice and no seam can show.

Letters: T samples, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from trainer.models.base import SeparatorStream
from trainer.models.resunet import ResUNet, magnitudes, rotate
from trainer.models.resunet_layers import Queue
from trainer.models.resunet_slices import Kernels, SlicedNetwork
from trainer.models.stft_blocks import BlockAnalysis, BlockSynthesis

SLICE_FRAMES = 64


class ResUNetStream(SeparatorStream):
    """See the module.

    Args:
        kernels: Of the network.
        condition: Unit norm.

    Shape:
        condition: `[D]`
    """

    def __init__(self, kernels: Kernels, condition: Tensor) -> None:
        self._model = model = kernels.model
        stride = model.size.frame_stride
        self._slice = max(1, SLICE_FRAMES // stride) * stride
        with _exactly(), torch.no_grad():
            self._network = SlicedNetwork(kernels, condition[None].float())
        self._analysis = BlockAnalysis(model.stft)
        self._synthesis = BlockSynthesis(model.stft)
        self._unread, self._unmasked = Queue(), Queue()
        self._heard = self._given = 0

    @property
    def latency(self) -> int:
        """Samples that have to follow one until it comes out, at most."""
        return self._model.reach + self._slice * self._model.stft.hop

    @torch.no_grad()
    def push(self, mixture: Tensor) -> Tensor:
        """Shape: `[T]` to float32 `[T']`."""
        with _exactly():
            done = [mixture.new_zeros(0, dtype=torch.float32)]
            # Not all at once: a spectrogram takes seven times the memory of its signal.
            for part in mixture.float().split(self._slice * self._model.stft.hop):
                self._unread.put(self._analysis.push(part))
                # At the end there has to be a slice that can be told that it is the last.
                while self._unread.frames > self._slice:
                    done += self._through(self._slice, last=False)
        self._heard += len(mixture)
        return self._kept(done)

    @torch.no_grad()
    def finish(self) -> Tensor:
        """Shape: float32 `[T]`."""
        if not self._heard:
            return torch.zeros(0)
        with _exactly():
            self._unread.put(self._analysis.finish())
            done: list[Tensor] = []
            while self._unread.frames:
                last = self._unread.frames <= self._slice
                done += self._through(min(self._slice, self._unread.frames), last)
        return self._kept([*done, self._synthesis.finish()])

    def _through(self, frames: int, last: bool) -> Iterator[Tensor]:
        """A slice through the network, and the signal of what comes out."""
        spectrum = torch.cat(self._unread.take(frames), dim=-1)
        self._unmasked.put(spectrum)
        model = self._model
        missing = -frames % model.size.frame_stride if last else 0
        heard = functional.pad(model.heard(magnitudes(spectrum)), (0, missing))
        for maps in self._network.push(heard.mT[:, None], last):
            # At the end the network writes for frames that were added, too.
            frames = min(maps.shape[2], self._unmasked.frames)
            begin = 0
            for part in self._unmasked.take(frames):
                end = begin + part.shape[2]
                yield self._synthesis.push(rotate(part, maps[:, :, begin:end]))
                begin = end

    def _kept(self, parts: list[Tensor]) -> Tensor:
        """Never more than came in."""
        out = torch.cat(parts)[: self._heard - self._given]
        self._given += len(out)
        return out


def separate_rows(
    model: ResUNet, mixture: Tensor, condition: Tensor, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Whole mixtures, each by itself.

    Args:
        model: In evaluation mode, on the CPU.
        mixture: Samples.
        condition: Unit norm.
        dtype: In which the network computes: float32 or bfloat16.

    Shape:
        - mixture: `[B, T]`
        - condition: `[B, D]`
        - returns: float32 `[B, T]`
    """
    kernels = Kernels(model, dtype)
    out = torch.empty(mixture.shape)
    for row, wanted, done in zip(mixture, condition, out, strict=True):
        stream = ResUNetStream(kernels, wanted)
        first = stream.push(row)
        done[: len(first)] = first
        done[len(first) :] = stream.finish()
    return out


def _exactly() -> torch.autocast:
    """What is in bfloat16 is chosen here, not by torch."""
    return torch.autocast("cpu", enabled=False)
