"""The separator: a U-Net over the complex spectrogram, steered by an embedding at every layer.

The network reads the log-magnitude and writes two maps: a magnitude mask in (0, 1) and a phase
rotation in (-pi, pi). The estimate is the mixture's spectrogram under both, so it is always made of
what is there. (Real and imaginary parts as further inputs made training slower to converge.) The
first layer takes patches of several bins and frames at once, which is where the speed on a CPU
comes from: the cost of a U-Net lies in its finest maps.

Everything is convolutional with constant statistics, and the one global thing, the level, can be
given: a long recording can be worked on in chunks and comes out as if it had been done at once.

Letters: B batch, T samples, D embedding size, C channels, F bins, M frames, E condition inside.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.base import ModelSize, SeparatorModel, patched_faults
from trainer.models.film import FilmBlock, FilmStack
from trainer.models.stft import Stft, pad_frames, window_length

SMALLEST_LEVEL = 1e-5  # RMS below which a signal is not raised any further
SMALLEST_POWER = 1e-6  # of one bin, before the logarithm
LOG_SCALE = 0.25  # brings the logarithm of powers to about -3 to 3


@dataclass(frozen=True)
class UNetSize(ModelSize):
    """How large a network is.

    Attributes:
        channels: At each level, finest first; each level halves bins and frames.
        depth: Blocks a level, on the way down and on the way up.
        patch: Bins and frames that the first layer takes at once.
        condition: E, the size of the condition inside the network.
    """

    channels: tuple[int, ...]
    depth: int
    patch: tuple[int, int]
    condition: int

    @property
    def stride(self) -> tuple[int, int]:
        """Bins and frames behind one value of the coarsest level."""
        levels = 2 ** (len(self.channels) - 1)
        return self.patch[0] * levels, self.patch[1] * levels

    def faults(self) -> list[str]:
        """A clause for each value that cannot work."""
        return patched_faults(self.channels, self.patch, depth=self.depth, condition=self.condition)

    def build(self, *, condition_dim: int, sample_rate: int) -> FilmUNet:
        """A U-Net of this size."""
        return FilmUNet(self, condition_dim=condition_dim, sample_rate=sample_rate)


class FilmUNet(SeparatorModel):
    """See the module; another separator may take other stacks, and make its masks otherwise.

    Args:
        size: How large.
        condition_dim: D.
        sample_rate: In Hz; the window is 32 ms at any rate.

    Attributes:
        output_maps: How many maps the last layer writes.
    """

    output_maps = 2

    def __init__(self, size: UNetSize, *, condition_dim: int, sample_rate: int) -> None:
        super().__init__()
        self.size: UNetSize = size
        self.condition_dim = condition_dim
        self.sample_rate = sample_rate
        self.stft = Stft(window_length(sample_rate, size.stride[0]))
        width, inner = size.channels, size.condition
        self.encode_condition = nn.Sequential(
            nn.Linear(condition_dim, inner), nn.SiLU(), nn.Linear(inner, inner), nn.SiLU()
        )
        # One row or column of overlap on each side of a patch that is more than one wide.
        tall, wide = size.patch
        overlap = int(tall > 1), int(wide > 1)
        kernel = tall + 2 * overlap[0], wide + 2 * overlap[1]
        self.stem = nn.Conv2d(1, width[0], kernel, size.patch, padding=overlap)
        pairs = list(itertools.pairwise(width))
        levels = range(len(pairs))
        self.down = nn.ModuleList(self._stack(level, size.depth) for level in levels)
        self.halve = nn.ModuleList(FilmBlock(fine, coarse, inner, 2) for fine, coarse in pairs)
        self.middle = self._stack(len(pairs), size.depth + 1)
        self.expand = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.up = nn.ModuleList(self._stack(level, size.depth) for level in levels)
        self.head = nn.ConvTranspose2d(width[0], self.output_maps, size.patch, size.patch)
        # Near zero: training begins at a mask of one half and no rotation.
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def _stack(self, level: int, depth: int) -> nn.Module:
        """What maps of a level go through; every block sees one value further in time."""
        return FilmStack(self.size.channels[level], self.size.condition, depth)

    @property
    def chunk_multiple(self) -> int:
        """Samples by which a chunk may begin later without changing what the network sees."""
        return self.stft.hop * self.size.stride[1]

    @property
    def reach(self) -> int:
        """Samples on each side beyond which nothing changes a value of the output."""
        frames = 0.0
        for level in range(len(self.size.channels)):
            scale = self.size.patch[1] * 2**level
            last = level == len(self.size.channels) - 1
            # Blocks down and up (the coarsest level has one stack), and a halving block each.
            blocks = self.size.depth + 1 if last else 2 * self.size.depth + 1
            frames += blocks * scale
        # A coarse value stands for its whole patch; the window adds one frame on each side.
        return (math.ceil(frames) + self.size.stride[1] + 2) * self.stft.hop

    def forward(self, mixture: Tensor, condition: Tensor, level: Tensor | None = None) -> Tensor:
        """See `SeparatorModel.forward`."""
        if level is None:
            level = mixture.float().square().mean(-1).sqrt()
        level = level.float().clamp_min(SMALLEST_LEVEL)[:, None]
        spectrum = self.stft.analysis(mixture / level)
        mask, angle = self.masks(spectrum, condition)
        rotated = spectrum * torch.polar(mask, angle)
        return self.stft.synthesis(rotated, mixture.shape[-1]) * level

    def masks(self, spectrum: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """The magnitude mask and the phase rotation, in radians.

        Shape:
            - spectrum: complex64 `[B, F + 1, M]`
            - condition: `[B, D]`
            - returns: two of float32 `[B, F + 1, M]`
        """
        frames = spectrum.shape[-1]
        power = log_power(pad_frames(spectrum, self.size.stride[1]))
        out = self.stft.full(self._maps(power, condition)[..., :frames].float())
        return torch.sigmoid(out[:, 0]), math.pi * torch.tanh(out[:, 1])

    def complex_mask(self, power: Tensor, condition: Tensor) -> tuple[Tensor, Tensor | None]:
        """Real and imaginary part of what the spectrum is multiplied by, in real arithmetic.

        Shape:
            - power: as `log_power` gives it, `[B, 1, F, M]` with as many frames as the stride
              divides
            - condition: `[B, D]`
            - returns: two of float32 `[B, F, M]`; None for no imaginary part
        """
        out = self._maps(power, condition).float()
        mask, angle = torch.sigmoid(out[:, 0]), math.pi * torch.tanh(out[:, 1])
        return mask * angle.cos(), mask * angle.sin()

    def _maps(self, power: Tensor, condition: Tensor) -> Tensor:
        """Shape: `[B, 1, F, M]` and `[B, D]` to `[B, output_maps, F, M]`."""
        # Unit vectors have values of about 1/sqrt(D): bring them to about 1.
        inner = self.encode_condition(condition * math.sqrt(self.condition_dim))
        maps = self.stem(power)
        skips = []
        for stack, halve in zip(self.down, self.halve, strict=True):
            maps = stack(maps, inner)
            skips.append(maps)
            maps = halve(maps, inner)
        maps = self.middle(maps, inner)
        for stack, expand in zip(reversed(self.up), reversed(self.expand), strict=True):
            maps = functional.interpolate(expand(maps), scale_factor=2.0) + skips.pop()
            maps = stack(maps, inner)
        out: Tensor = self.head(maps)
        return out


def log_power(spectrum: Tensor) -> Tensor:
    """What the network reads. Shape: complex64 `[B, F + 1, M]` to float32 `[B, 1, F, M]`."""
    power = torch.view_as_real(spectrum[:, :-1]).square().sum(-1)
    return LOG_SCALE * torch.log(power + SMALLEST_POWER)[:, None]
