"""AudioSep's network in evaluation on a CPU: the same values, slice by slice along time.

The spectrogram goes through the network in slices of a few frames. A convolution of three frames
keeps the last two of a slice for the next one, and what a shortcut or a skip leads past it waits
until the convolutions have caught up, so nothing is computed twice and no seam can show: apart from
rounding, the maps are those of one pass over the whole. A slice's maps stay in the processor's
cache, which is where the speed comes from; memory for maps does not grow with the length. The norm
between two convolutions is folded into the first of them.

In bfloat16 only the convolutions of several frames and bins are: what is added up from block to
block stays float32.

Letters: C channels, M frames, m frames of a slice, F bins, D embedding size.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.resunet import SLOPE, DecoderBlock, ResidualBlock, ResUNet, magnitudes, rotate

if TYPE_CHECKING:
    from collections.abc import Iterator

SLICE_FRAMES = 64


def separate_spectrum(
    model: ResUNet, spectrum: Tensor, condition: Tensor, dtype: torch.dtype = torch.float32
) -> Tensor:
    """What `rotate` makes of the spectrogram by the network's maps.

    Args:
        model: In evaluation mode, on the CPU.
        spectrum: The mixtures'; overwritten.
        condition: Unit norm.
        dtype: In which the network computes: float32 or bfloat16.

    Shape:
        - spectrum: complex64 `[B, F + 1, M]`
        - condition: `[B, D]`
        - returns: complex64 `[B, F + 1, M]`
    """
    with torch.autocast("cpu", enabled=False):
        for row, wanted in zip(spectrum.split(1), condition.split(1), strict=True):
            done = 0
            for maps in _maps(model, row, wanted.float(), dtype):
                # The network is behind: what it has not read yet is never overwritten.
                part = row[..., done : done + maps.shape[2]]
                part.copy_(rotate(part, maps.float()[:, :, : part.shape[-1]]))
                done += part.shape[-1]
    return spectrum


def _maps(
    model: ResUNet, spectrum: Tensor, condition: Tensor, dtype: torch.dtype
) -> Iterator[Tensor]:
    """The network's maps, in order. Shape: `[1, F + 1, M]` to `[1, 3, m, F]` each."""
    network = _Network(model, condition, dtype)
    frames, stride = spectrum.shape[-1], model.size.frame_stride
    padded = -(-frames // stride) * stride
    size = max(1, SLICE_FRAMES // stride) * stride
    for begin in range(0, padded, size):
        end = min(begin + size, padded)
        heard = magnitudes(spectrum[..., begin : min(end, frames)])
        normed = model.input_norm(heard[..., None])[..., 0][:, :-1]
        normed = functional.pad(normed, (0, end - begin - normed.shape[-1]))
        maps = network.push(normed.mT[:, None], last=end == padded)
        if maps.shape[2]:
            yield maps


class _Network:
    """A network for one condition, and what it holds between two slices."""

    def __init__(self, model: ResUNet, condition: Tensor, dtype: torch.dtype) -> None:
        self._stem, self._head = _Pointwise(model.stem), _Pointwise(model.head)
        self._encoder = [_Block(block, condition, dtype) for block in model.encoder]  # type: ignore[arg-type]
        self._middle = _Block(model.middle, condition, dtype)
        self._decoder = [_Expand(block, condition, dtype) for block in model.decoder]  # type: ignore[arg-type]
        self._skips = [_Queue() for _ in model.encoder]
        self._unpooled = [_Queue() for _ in model.encoder]

    def push(self, maps: Tensor, last: bool) -> Tensor:
        """Shape: `[1, 1, m, F]` to `[1, 3, m', F]`, of earlier frames."""
        maps = self._stem(maps)
        deepest = len(self._encoder) - 1
        for level, block in enumerate(self._encoder):
            maps = block.push(maps, last)
            self._skips[level].put(maps)
            maps = self._pooled(level, maps, 1 if level == deepest else 2)
        maps = self._middle.push(maps, last)
        for expand, skip in zip(self._decoder, reversed(self._skips), strict=True):
            maps = expand.push(maps, skip, last)
        return self._head(maps)

    def _pooled(self, level: int, maps: Tensor, stride: int) -> Tensor:
        """Halve the bins, and the frames where the stride is 2; an odd frame waits."""
        queue = self._unpooled[level]
        queue.put(maps)
        maps = queue.take(queue.frames // stride * stride)
        if not maps.shape[2]:
            return maps[..., : maps.shape[3] // 2]
        return functional.avg_pool2d(maps, (stride, 2))


class _Block:
    """`ResidualBlock` for one condition."""

    def __init__(self, block: ResidualBlock, condition: Tensor, dtype: torch.dtype) -> None:
        self._norm = _Norm(block.norm1, block.shift1(condition)[0])
        inner = _Norm(block.norm2, block.shift2(condition)[0])
        scale, shift = inner.affine()
        self._first = _Convolution(block.conv1.weight * scale[:, None, None, None], shift, dtype)
        self._second = _Convolution(block.conv2.weight, None, dtype)
        self._shortcut = None if block.shortcut is None else _Pointwise(block.shortcut)
        self._beside = _Queue()

    def push(self, maps: Tensor, last: bool) -> Tensor:
        """Shape: `[1, C, m, F]` to `[1, C', m', F]`."""
        out = self._first.push(self._norm(maps), last)
        out = self._second.push(functional.leaky_relu_(out, SLOPE), last)
        self._beside.put(maps if self._shortcut is None else self._shortcut(maps))
        return out.float().add_(self._beside.take(out.shape[2]))


class _Expand:
    """`DecoderBlock` for one condition."""

    def __init__(self, block: DecoderBlock, condition: Tensor, dtype: torch.dtype) -> None:
        self._norm = _Norm(block.norm, block.shift(condition)[0])
        self._weight = _laid_out(block.expand.weight, dtype)
        self._stride = block.expand.stride
        self._block = _Block(block.block, condition, dtype)

    def push(self, maps: Tensor, skip: _Queue, last: bool) -> Tensor:
        """Shape: `[1, C, m, F]` to `[1, C', m', F']`."""
        if maps.shape[2]:
            coarse = self._norm(maps).to(self._weight.dtype)
            fine = functional.conv_transpose2d(coarse, self._weight, stride=self._stride)
        else:
            bins = maps.shape[3] * self._stride[1]
            fine = maps.new_empty(1, self._weight.shape[1], 0, bins)
        joined = _empty(fine, 2 * fine.shape[1], fine.shape[2], maps.dtype)
        joined[:, : fine.shape[1]] = fine
        joined[:, fine.shape[1] :] = skip.take(fine.shape[2])
        return self._block.push(joined, last)


class _Norm:
    """Batch normalisation with a shift, then the leaky rectifier."""

    def __init__(self, norm: nn.BatchNorm2d, shift: Tensor) -> None:
        self._norm = norm
        self._bias = norm.bias + shift

    def affine(self) -> tuple[Tensor, Tensor]:
        """The same as scale and shift, without the rectifier. Shape: two of `[C]`."""
        mean, var = self._norm.running_mean, self._norm.running_var
        assert mean is not None and var is not None
        scale = self._norm.weight * torch.rsqrt(var + self._norm.eps)
        return scale, self._bias - mean * scale

    def __call__(self, maps: Tensor) -> Tensor:
        if not maps.shape[2]:
            return maps
        norm = self._norm
        out = functional.batch_norm(
            maps, norm.running_mean, norm.running_var, norm.weight, self._bias, eps=norm.eps
        )
        return functional.leaky_relu_(out, SLOPE)


class _Convolution:
    """3 x 3 with zeros around the whole, of which it sees slices; it is one frame behind."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self._weight = _laid_out(weight, dtype)
        self._bias = None if bias is None else bias.to(dtype)
        self._held: Tensor | None = None

    def push(self, maps: Tensor, last: bool) -> Tensor:
        """Shape: `[1, C, m, F]` to `[1, C', m', F]`."""
        edge = _empty(maps, maps.shape[1], 1, self._weight.dtype).zero_()
        parts = [edge if self._held is None else self._held, maps, *([edge] if last else [])]
        joined = _in_a_row(parts)
        self._held = joined[:, :, -2:].clone()
        if joined.shape[2] < 3:
            return joined.new_empty(1, len(self._weight), 0, maps.shape[3])
        return functional.conv2d(joined, self._weight, self._bias, padding=(0, 1))


class _Queue:
    """Frames that wait."""

    def __init__(self) -> None:
        self._parts: deque[Tensor] = deque()
        self.frames = 0

    def put(self, maps: Tensor) -> None:
        """Add frames at the end. Shape: `[1, C, m, F]`."""
        self._parts.append(maps)
        self.frames += maps.shape[2]

    def take(self, frames: int) -> Tensor:
        """The first frames, which must be there. Shape: `[1, C, frames, F]`."""
        taken: list[Tensor] = []
        missing = frames
        while missing or not taken:
            part = self._parts.popleft()
            if part.shape[2] > missing:
                self._parts.appendleft(part[:, :, missing:])
                part = part[:, :, :missing]
            taken.append(part)
            missing -= part.shape[2]
        self.frames -= frames
        return _in_a_row(taken)


class _Pointwise:
    """A 1 x 1 convolution, as the product of matrices that it is."""

    def __init__(self, layer: nn.Conv2d) -> None:
        assert layer.bias is not None
        self._weight, self._bias = layer.weight[:, :, 0, 0], layer.bias

    def __call__(self, maps: Tensor) -> Tensor:
        out = functional.linear(maps.permute(0, 2, 3, 1), self._weight, self._bias)
        return out.permute(0, 3, 1, 2)


def _in_a_row(parts: list[Tensor]) -> Tensor:
    """Maps one after the other; `torch.cat` does not keep to the layout. Shape: as `parts`."""
    parts = [part for part in parts if part.shape[2]] or parts[:1]
    if len(parts) == 1:
        return parts[0]
    out = _empty(parts[0], parts[0].shape[1], sum(part.shape[2] for part in parts))
    begin = 0
    for part in parts:
        out[:, :, begin : begin + part.shape[2]] = part
        begin += part.shape[2]
    return out


def _empty(like: Tensor, channels: int, frames: int, dtype: torch.dtype | None = None) -> Tensor:
    """Memory for maps, the channels of one frame and bin side by side."""
    shape = (1, channels, frames, like.shape[3])
    return torch.empty(shape, dtype=dtype or like.dtype, memory_format=torch.channels_last)


def _laid_out(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.to(dtype).contiguous(memory_format=torch.channels_last)
