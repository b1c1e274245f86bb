"""A convolution that a condition steers: feature-wise linear modulation.

FiLM (Perez et al., AAAI 2018): after normalisation each channel is scaled by `1 + g` and moved by
`b`, both linear in the condition. Batch normalisation, because its statistics are constants at
inference: a chunk of a long recording is then treated exactly as the whole would be.

Letters: B batch, C channels, F bins, M frames, E size of the condition inside the network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.1  # of the leaky rectifier


class FilmBlock(nn.Module):
    """3 x 3 convolution, batch norm, FiLM, leaky rectifier; with a residual where shapes agree.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        condition: E.
        stride: 1, or 2 to halve bins and frames.
    """

    def __init__(self, inputs: int, outputs: int, condition: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.film = nn.Linear(condition, 2 * outputs)
        nn.init.zeros_(self.film.bias)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        """Shape: `[B, C, F, M]` and `[B, E]` to `[B, C', F / stride, M / stride]`."""
        out = self.norm(self.convolution(maps))
        gain, bias = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        out = functional.leaky_relu(torch.addcmul(bias, out, 1 + gain), SLOPE)
        return maps + out if self.residual else out


class FilmStack(nn.Module):
    """Blocks of equal width in a row. Shape: `[B, C, F, M]` and `[B, E]` to `[B, C, F, M]`."""

    def __init__(self, channels: int, condition: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FilmBlock(channels, channels, condition) for _ in range(depth))

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        for block in self.blocks:
            maps = block(maps, condition)
        return maps
