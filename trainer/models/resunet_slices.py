"""AudioSep's network in evaluation on a CPU: the same values, slice by slice along time.

Magnitudes go through the network in slices of a few frames. A convolution of three frames keeps the
last two of a slice for the next one, and what a shortcut or a skip leads past it waits until the
convolutions have caught up, so nothing is computed twice and no seam can show: apart from rounding,
the maps are those of one pass over the whole. Memory does not grow with the length. The norm
between two convolutions is folded into the first of them.

The speed comes from maps that stay in the processor's cache: a level works on pieces of at most 16
frames, and what waits is never copied, but handed on as the views that it came in.

In bfloat16, what the first block adds and the transposed convolutions stay float32: a twelfth of
the work, and half of the error. So does what is added up from block to block.

Letters: C channels, M frames, m frames of a slice or piece, F bins, D embedding size. Maps of a
slice are `[1, C, m, F]`, the channels of one frame and bin side by side in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.resunet import SLOPE, DecoderBlock, ResidualBlock, ResUNet

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_FRAMES = 16


class Kernels:
    """The weights of a network's convolutions, laid out for slices: once for all conditions.

    Args:
        model: In evaluation mode, on the CPU.
        dtype: In which most convolutions compute: float32 or bfloat16.
    """

    def __init__(self, model: ResUNet, dtype: torch.dtype = torch.float32) -> None:
        self.model = model
        self.dtype = dtype
        self._made: dict[tuple[nn.Module, torch.dtype], Tensor] = {}

    def of(self, layer: nn.Module, dtype: torch.dtype, scale: Tensor | None = None) -> Tensor:
        """The weight of a layer, its outputs scaled. Shape: `[C]` to `[C, C', 3, 3]`."""
        if (layer, dtype) not in self._made:
            weight: Tensor = layer.weight  # type: ignore[assignment]
            if scale is not None:
                weight = weight * scale[:, None, None, None]
            laid_out = weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
            self._made[layer, dtype] = laid_out
        return self._made[layer, dtype]


class SlicedNetwork:
    """A network for one condition, and what it holds between two slices.

    Args:
        kernels: Of the network.
        condition: Unit norm.

    Shape:
        condition: `[1, D]`
    """

    def __init__(self, kernels: Kernels, condition: Tensor) -> None:
        model = kernels.model
        assert model.head.bias is not None
        self._stem = model.stem
        self._head = model.head.weight[:, :, 0, 0], model.head.bias[:, None]
        depth = len(model.encoder)

        self._encoder = [
            _Block(block, condition, kernels, exact=not level)  # type: ignore[arg-type]
            for level, block in enumerate(model.encoder)
        ]
        self._middle = _Block(model.middle, condition, kernels)
        self._decoder = [_Expand(block, condition, kernels) for block in model.decoder]  # type: ignore[arg-type]
        self._skips = [Queue() for _ in range(depth)]
        # Frames are halved too, but for the coarsest level.
        self._pools = [_Pool(1 if level == depth - 1 else 2) for level in range(depth)]

    def push(self, maps: Tensor, last: bool) -> Iterator[Tensor]:
        """What is known by now, of earlier frames. To be read to its end.

        Args:
            maps: A slice; after the last one, nothing.
            last: Whether it is the last one.

        Shape:
            - maps: `[1, 1, m, F]`
            - yields: `[1, 3, m', F]`
        """
        pieces = [self._stemmed(piece) for piece in _split(maps, PIECE_FRAMES)]
        for block, skip, pool in zip(self._encoder, self._skips, self._pools, strict=True):
            pieces = block.push_all(pieces, last)
            for piece in pieces:
                skip.put(piece)
            pieces = _split(pool.push(pieces), PIECE_FRAMES)
        pieces = self._middle.push_all(pieces, last)
        for expand, skip in zip(self._decoder, reversed(self._skips), strict=True):
            pieces = expand.push(pieces, skip, last)
        weight, bias = self._head
        for piece in pieces:
            written = torch.addmm(bias, weight, _rows(piece).T)
            yield written.view(1, len(weight), *piece.shape[2:])

    def _stemmed(self, maps: Tensor) -> Tensor:
        """Shape: `[1, 1, m, F]` to `[1, C, m, F]`."""
        out = _empty(self._stem.out_channels, *maps.shape[2:])
        bias, weight = self._stem.bias, self._stem.weight
        assert bias is not None
        return torch.addcmul(bias[:, None, None], maps, weight[:, 0], out=out)


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


class _Block:
    """`ResidualBlock` for one condition.

    Args:
        block, condition, kernels: What it is made of.
        groups: Groups of as many channels each, that it is given.
        exact: Whether what it adds is float32 whatever the kernels are.
    """

    def __init__(
        self,
        block: ResidualBlock,
        condition: Tensor,
        kernels: Kernels,
        groups: int = 1,
        exact: bool = False,
    ) -> None:
        self._norm = _Norm(block.norm1, block.shift1(condition)[0])
        inner = _Norm(block.norm2, block.shift2(condition)[0])
        first = kernels.of(block.conv1, kernels.dtype, inner.scale)
        self._first = _Convolution(first, inner.shift)
        # What the shortcut adds everywhere, the convolution adds in passing.
        bias = None if block.shortcut is None else block.shortcut.bias
        second = kernels.of(block.conv2, torch.float32 if exact else kernels.dtype)
        self._second = _Convolution(second, bias)
        self._shortcut = None if block.shortcut is None else _Products(block.shortcut, groups)
        self._beside = Queue()

    def push(self, groups: Sequence[list[Tensor]], last: bool) -> Tensor:
        """Shape: for each group of channels `[1, C, m, F]` in parts to `[1, C', m', F]`."""
        frames = sum(part.shape[2] for part in groups[0])

        def heard(room: Tensor) -> None:
            width = room.shape[1] // len(groups)
            for number, parts in enumerate(groups):
                begin = number * width
                for where, part in _along(parts, room[:, begin : begin + width]):
                    self._norm.write(part, where, begin)

        inner = self._first.push(heard, frames, groups[0][0].shape[3], last)
        inner = functional.leaky_relu_(inner, SLOPE)
        frames, bins = inner.shape[2:]
        out = self._second.push(lambda room: room.copy_(inner), frames, bins, last).float()
        if self._shortcut is None:
            for part in groups[0]:
                self._beside.put(part)
        else:
            self._beside.put(self._shortcut(*groups))
        for where, part in _along(self._beside.take(out.shape[2]), out):
            where.add_(part)
        return out

    def push_all(self, pieces: list[Tensor], last: bool) -> list[Tensor]:
        """Pieces of maps of one group. Shape: `[1, C, m, F]` to `[1, C', m', F]`, each."""
        return [
            self.push([[piece]], last and number == len(pieces) - 1)
            for number, piece in enumerate(pieces)
        ]


class _Expand:
    """`DecoderBlock` for one condition."""

    def __init__(self, block: DecoderBlock, condition: Tensor, kernels: Kernels) -> None:
        self._norm = _Norm(block.norm, block.shift(condition)[0])
        self._weight = kernels.of(block.expand, torch.float32)
        self._stride = block.expand.stride
        self._block = _Block(block.block, condition, kernels, groups=2)

    def push(self, pieces: list[Tensor], skip: Queue, last: bool) -> list[Tensor]:
        """Shape: `[1, C, m, F]` to `[1, C', m', F']`, each."""
        most = max(1, PIECE_FRAMES // self._stride[0])
        # What a level lets go of at the end is much, and would be as much again at every level.
        coarse = [part for piece in pieces for part in _split(piece, most)]
        done = []
        for number, part in enumerate(coarse):
            if part.shape[2]:
                heard = torch.empty_like(part)
                self._norm.write(part, heard)
                fine = functional.conv_transpose2d(heard, self._weight, stride=self._stride)
            else:
                fine = part.new_empty(1, self._weight.shape[1], 0, part.shape[3] * self._stride[1])
            beside = skip.take(fine.shape[2]) or [fine]
            done.append(self._block.push([[fine], beside], last and number == len(coarse) - 1))
        return done


class _Norm:
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


class _Convolution:
    """3 x 3 with zeros around the whole, of which it sees pieces; it is one frame behind."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self._weight = weight
        self._bias = None if bias is None else bias.to(weight.dtype)
        self._held: Tensor | None = None

    def push(self, fill: Callable[[Tensor], object], frames: int, bins: int, last: bool) -> Tensor:
        """The convolution of what `fill` writes. Shape: `[1, C, frames, F]` to `[1, C', m', F]`."""
        channels = self._weight.shape[1]
        held = 1 if self._held is None else self._held.shape[2]
        joined = _empty(channels, held + frames + last, bins, self._weight.dtype)
        joined[:, :, :held] = 0 if self._held is None else self._held
        if frames:
            fill(joined[:, :, held : held + frames])
        if last:
            joined[:, :, -1] = 0
        self._held = joined[:, :, -2:].clone()
        if joined.shape[2] < 3:
            return joined.new_empty(1, len(self._weight), 0, bins)
        return functional.conv2d(joined, self._weight, self._bias, padding=(0, 1))


class _Pool:
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
        out = _empty(pieces[0].shape[1], frames, pooled[0].shape[3])
        for where, part in _along(pooled, out):
            where.copy_(part)
        return out


class _Products:
    """A 1 x 1 convolution without its bias, as a product of matrices for each group of channels."""

    def __init__(self, layer: nn.Conv2d, groups: int) -> None:
        self._weights = [part.T for part in layer.weight[:, :, 0, 0].chunk(groups, dim=1)]

    def __call__(self, *groups: list[Tensor]) -> Tensor:
        """Shape: for each group of channels `[1, C, m, F]` in parts to `[1, C', m, F]`."""
        frames, bins = sum(part.shape[2] for part in groups[0]), groups[0][0].shape[3]
        out = _empty(self._weights[0].shape[1], frames, bins)
        for number, (weight, parts) in enumerate(zip(self._weights, groups, strict=True)):
            for where, part in _along(parts, out):
                rows = _rows(where)
                if number:
                    rows.addmm_(_rows(part), weight)
                else:
                    torch.mm(_rows(part), weight, out=rows)
        return out


def _split(maps: Tensor, frames: int) -> list[Tensor]:
    """Views of at most so many frames; one without any where there are none."""
    return list(maps.split(frames, dim=2))


def _along(parts: list[Tensor], whole: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Where in `whole` each part belongs, and the part: they follow each other in frames."""
    begin = 0
    for part in parts:
        yield whole[:, :, begin : begin + part.shape[2]], part
        begin += part.shape[2]


def _rows(maps: Tensor) -> Tensor:
    """The channels of each frame and bin. Shape: `[1, C, m, F]` to `[m F, C]`."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _empty(channels: int, frames: int, bins: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Memory for maps."""
    shape = (1, channels, frames, bins)
    return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
