"""The layers of AudioSep's network over pieces of maps that follow each other in time.

A convolution of three frames keeps the last two of a piece for the next one, a pool an odd frame,
and a queue what waits for others to catch up, as views.

Letters: C channels, m frames of a piece, F bins. Maps are `[1, C, m, F]`, the channels of one frame
and bin side by side in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.resunet import SLOPE

if TYPE_CHECKING:
    from collections.abc import Iterator


class Queue:
    """Frames that wait. They are at dimension 2, of maps and of spectrograms."""

    def __init__(self) -> None:
        self._parts: deque[Tensor] = deque()
        self.frames = 0

    def put(self, maps: Tensor) -> None:
        """Add frames at the end."""
        if maps.shape[2]:
            self._parts.append(maps)
            self.frames += maps.shape[2]

    def take(self, frames: int) -> list[Tensor]:
        """The first frames, which must be there, as views of what was put."""
        taken: list[Tensor] = []
        self.frames -= frames
        while frames:
            part = self._parts.popleft()
            if part.shape[2] > frames:
                self._parts.appendleft(part[:, :, frames:])
                part = part[:, :, :frames]
            taken.append(part)
            frames -= part.shape[2]
        return taken


class Norm:
    """Batch normalisation with a shift, then the leaky rectifier."""

    def __init__(self, norm: nn.BatchNorm2d, shift: Tensor) -> None:
        mean, var = norm.running_mean, norm.running_var
        assert mean is not None and var is not None
        # As one product and one sum, `[C]`: in half the time of `batch_norm`.
        self.scale = norm.weight * torch.rsqrt(var + norm.eps)
        self.shift = norm.bias + shift - mean * self.scale

    def write(self, maps: Tensor, out: Tensor, begin: int = 0) -> None:
        """For maps that are the channels from `begin` on. Shape: two of `[1, C, m, F]`."""
        channels = slice(begin, begin + maps.shape[1])
        scale, shift = self.scale[channels, None, None], self.shift[channels, None, None]
        if out.dtype == maps.dtype:
            functional.leaky_relu_(torch.addcmul(shift, maps, scale, out=out), SLOPE)
        else:
            out.copy_(functional.leaky_relu_(torch.addcmul(shift, maps, scale), SLOPE))


class Convolution:
    """3 x 3 with zeros around the whole, of which it sees pieces; it is one frame behind."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = weight
        self._bias = None if bias is None else bias.to(weight.dtype)
        self._held: Tensor | None = None

    def push(self, fill: Callable[[Tensor], object], frames: int, bins: int, last: bool) -> Tensor:
        """The convolution of what `fill` writes. Shape: `[1, C, frames, F]` to `[1, C', m', F]`."""
        channels = self._weight.shape[1]
        held = 1 if self._held is None else self._held.shape[2]
        joined = empty_maps(channels, held + frames + last, bins, self._weight.dtype)
        joined[:, :, :held] = 0 if self._held is None else self._held
        if frames:
            fill(joined[:, :, held : held + frames])
        if last:
            joined[:, :, -1] = 0
        self._held = joined[:, :, -2:].clone()
        if joined.shape[2] < 3:
            return joined.new_empty(1, len(self._weight), 0, bins)
        return functional.conv2d(joined, self._weight, self._bias, padding=(0, 1))


class Pool:
    """Halves the bins, and the frames where the stride is 2; an odd frame waits."""

    def __init__(self, stride: int) -> None:
        self._stride = stride
        self._odd: list[Tensor] = []

    def push(self, pieces: list[Tensor]) -> Tensor:
        """Shape: `[1, C, m, F]` each to `[1, C, m', F / 2]`."""
        pooled = [pieces[0][:, :, :0, ::2]]
        for piece in pieces:
            if self._odd and piece.shape[2]:
                pair = torch.cat([self._odd.pop(), piece[:, :, :1]], dim=2)
                pooled.append(functional.avg_pool2d(pair, 2))
                piece = piece[:, :, 1:]
            even = piece.shape[2] // self._stride * self._stride
            if even:
                pooled.append(functional.avg_pool2d(piece[:, :, :even], (self._stride, 2)))
            if even < piece.shape[2]:
                self._odd.append(piece[:, :, even:])
        frames = sum(part.shape[2] for part in pooled)
        out = empty_maps(pieces[0].shape[1], frames, pooled[0].shape[3])
        for where, part in along(pooled, out):
            where.copy_(part)
        return out


class Products:
    """A 1 x 1 convolution without its bias, as a product of matrices for each group of channels."""

    def __init__(self, layer: nn.Conv2d, groups: int) -> None:
        self._weights = [part.T for part in layer.weight[:, :, 0, 0].chunk(groups, dim=1)]

    def __call__(self, *groups: list[Tensor]) -> Tensor:
        """Shape: for each group of channels `[1, C, m, F]` in parts to `[1, C', m, F]`."""
        frames, bins = sum(part.shape[2] for part in groups[0]), groups[0][0].shape[3]
        out = empty_maps(self._weights[0].shape[1], frames, bins)
        for number, (weight, parts) in enumerate(zip(self._weights, groups, strict=True)):
            for where, part in along(parts, out):
                rows = rows_of(where)
                if number:
                    rows.addmm_(rows_of(part), weight)
                else:
                    torch.mm(rows_of(part), weight, out=rows)
        return out


def split(maps: Tensor, frames: int) -> list[Tensor]:
    """Views of at most so many frames; one without any where there are none."""
    return list(maps.split(frames, dim=2))


def along(parts: list[Tensor], whole: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Where in `whole` each part belongs, and the part: they follow each other in frames."""
    begin = 0
    for part in parts:
        yield whole[:, :, begin : begin + part.shape[2]], part
        begin += part.shape[2]


def rows_of(maps: Tensor) -> Tensor:
    """The channels of each frame and bin. Shape: `[1, C, m, F]` to `[m F, C]`."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def empty_maps(channels: int, frames: int, bins: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Memory for maps."""
    shape = (1, channels, frames, bins)
    return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
