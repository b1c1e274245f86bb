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

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.resunet import SLOPE, DecoderBlock, ResidualBlock, ResUNet
from trainer.models.resunet_layers import (
    Convolution,
    Norm,
    Pool,
    Products,
    Queue,
    along,
    empty_maps,
    rows_of,
    split,
)

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
        self._pools = [Pool(1 if level == depth - 1 else 2) for level in range(depth)]

    def push(self, maps: Tensor, last: bool) -> Iterator[Tensor]:
        """What is known by now, of earlier frames. To be read to its end.

        Args:
            maps: A slice; after the last one, nothing.
            last: Whether it is the last one.

        Shape:
            - maps: `[1, 1, m, F]`
            - yields: `[1, 3, m', F]`
        """
        pieces = [self._stemmed(piece) for piece in split(maps, PIECE_FRAMES)]
        for block, skip, pool in zip(self._encoder, self._skips, self._pools, strict=True):
            pieces = block.push_all(pieces, last)
            for piece in pieces:
                skip.put(piece)
            pieces = split(pool.push(pieces), PIECE_FRAMES)
        pieces = self._middle.push_all(pieces, last)
        for expand, skip in zip(self._decoder, reversed(self._skips), strict=True):
            pieces = expand.push(pieces, skip, last)
        weight, bias = self._head
        for piece in pieces:
            written = torch.addmm(bias, weight, rows_of(piece).T)
            yield written.view(1, len(weight), *piece.shape[2:])

    def _stemmed(self, maps: Tensor) -> Tensor:
        """Shape: `[1, 1, m, F]` to `[1, C, m, F]`."""
        out = empty_maps(self._stem.out_channels, *maps.shape[2:])
        bias, weight = self._stem.bias, self._stem.weight
        assert bias is not None
        return torch.addcmul(bias[:, None, None], maps, weight[:, 0], out=out)


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
        self._norm = Norm(block.norm1, block.shift1(condition)[0])
        inner = Norm(block.norm2, block.shift2(condition)[0])
        first = kernels.of(block.conv1, kernels.dtype, inner.scale)
        self._first = Convolution(first, inner.shift)
        # What the shortcut adds everywhere, the convolution adds in passing.
        bias = None if block.shortcut is None else block.shortcut.bias
        second = kernels.of(block.conv2, torch.float32 if exact else kernels.dtype)
        self._second = Convolution(second, bias)
        self._shortcut = None if block.shortcut is None else Products(block.shortcut, groups)
        self._beside = Queue()

    def push(self, groups: Sequence[list[Tensor]], last: bool) -> Tensor:
        """Shape: for each group of channels `[1, C, m, F]` in parts to `[1, C', m', F]`."""
        frames = sum(part.shape[2] for part in groups[0])

        def heard(room: Tensor) -> None:
            width = room.shape[1] // len(groups)
            for number, parts in enumerate(groups):
                begin = number * width
                for where, part in along(parts, room[:, begin : begin + width]):
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
        for where, part in along(self._beside.take(out.shape[2]), out):
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
        self._norm = Norm(block.norm, block.shift(condition)[0])
        self._weight = kernels.of(block.expand, torch.float32)
        self._stride = block.expand.stride
        self._block = _Block(block.block, condition, kernels, groups=2)

    def push(self, pieces: list[Tensor], skip: Queue, last: bool) -> list[Tensor]:
        """Shape: `[1, C, m, F]` to `[1, C', m', F']`, each."""
        most = max(1, PIECE_FRAMES // self._stride[0])
        # What a level lets go of at the end is much, and would be as much again at every level.
        coarse = [part for piece in pieces for part in split(piece, most)]
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
