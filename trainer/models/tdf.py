"""A separator that learns fast: a U-Net that also mixes along frequency, and a real mask.

Three things differ from `trainer.models.unet`. After every convolution, which sees three bins, a
frequency transform (the TDF block of Choi et al., "Investigating U-Nets with various intermediate
blocks for spectrogram-based singing voice separation", ISMIR 2020) lets every bin see all others: a
sound is known by its whole spectrum. The mask is real: without a rotation of the phase it
learned faster. And mask and spectrum meet in real arithmetic. docs/models.md has the
measurements, and what was tried and left.

Along time all is convolutional with constant statistics, so that a long recording can be worked on
in chunks and comes out as if it had been done at once. The network itself, `TdfUNet.mask`, has no
complex numbers, no data-dependent shape and no loop over time.

Letters: B batch, T samples, D embedding size, C channels, F bins, M frames, E condition inside.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.base import ModelSize, SeparatorModel, are_positive, is_positive
from trainer.models.film import SLOPE, FilmBlock
from trainer.models.stft import Stft, pad_frames, window_length
from trainer.models.unet import SMALLEST_LEVEL, log_power

NARROWEST = 8  # the least that the spectrum is squeezed to
INITIAL_STD = 0.02  # of a transform's last layer: a block begins as nearly nothing
HEAD_STD = 0.01  # of the last layer: training begins at a mask of one half


@dataclass(frozen=True)
class TdfSize(ModelSize):
    """How large a network is.

    Attributes:
        channels: At each level, finest first; each level halves bins and frames.
        depth: Pairs of convolution and transform a level, on the way down and on the way up.
        patch: Bins and frames that the first layer takes at once.
        squeeze: By how much a transform narrows the spectrum in its middle.
        condition: E, the size of the condition inside the network.
    """

    channels: tuple[int, ...] = (24, 48, 96)
    depth: int = 1
    patch: tuple[int, int] = (4, 4)
    squeeze: int = 2
    condition: int = 64

    @property
    def stride(self) -> tuple[int, int]:
        """Bins and frames behind one value of the coarsest level."""
        levels = 1 << (len(self.channels) - 1)
        return self.patch[0] * levels, self.patch[1] * levels

    def faults(self) -> list[str]:
        """A clause for each value that cannot work."""
        faults = []
        if not are_positive(self.channels):
            faults.append(f"channels must be a list of positive numbers, got {self.channels!r}")
        if not are_positive(self.patch, 2):
            faults.append(f"patch must be two positive numbers, got {self.patch!r}")
        for key in ("depth", "squeeze", "condition"):
            if not is_positive(getattr(self, key)):
                faults.append(f"{key} must be a positive number, got {getattr(self, key)!r}")
        return faults

    def build(self, *, condition_dim: int, sample_rate: int) -> TdfUNet:
        """A network of this size."""
        return TdfUNet(self, condition_dim=condition_dim, sample_rate=sample_rate)


class TdfUNet(SeparatorModel):
    """See the module.

    Args:
        size: How large.
        condition_dim: D.
        sample_rate: In Hz; the window is 32 ms at any rate.
    """

    def __init__(self, size: TdfSize, *, condition_dim: int, sample_rate: int) -> None:
        super().__init__()
        self.size: TdfSize = size
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
        bins = [self.stft.bins // tall >> level for level in range(len(width))]
        fine_levels = list(zip(width, bins, strict=True))[:-1]
        self.down = nn.ModuleList(TdfStack(c, b, size, size.depth) for c, b in fine_levels)
        self.halve = nn.ModuleList(FilmBlock(fine, coarse, inner, 2) for fine, coarse in pairs)
        self.middle = TdfStack(width[-1], bins[-1], size, size.depth + 1)
        self.expand = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.up = nn.ModuleList(TdfStack(c, b, size, size.depth) for c, b in fine_levels)
        self.head = nn.ConvTranspose2d(width[0], 1, size.patch, size.patch)
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    @property
    def chunk_multiple(self) -> int:
        """Samples by which a chunk may begin later without changing what the network sees."""
        return self.stft.hop * self.size.stride[1]

    @property
    def reach(self) -> int:
        """Samples on each side beyond which nothing changes a value of the output."""
        depth, last = self.size.depth, len(self.size.channels) - 1
        # Blocks down and up (the coarsest level has one stack), and a halving block each.
        frames = sum(
            (depth + 1 if level == last else 2 * depth + 1) * self.size.patch[1] << level
            for level in range(last + 1)
        )
        # A coarse value stands for its whole patch; the window adds one frame on each side.
        return (frames + self.size.stride[1] + 2) * self.stft.hop

    def forward(self, mixture: Tensor, condition: Tensor, level: Tensor | None = None) -> Tensor:
        """See `SeparatorModel.forward`."""
        if level is None:
            level = mixture.float().square().mean(-1).sqrt()
        level = level.float().clamp_min(SMALLEST_LEVEL)[:, None]
        spectrum = self.stft.analysis(mixture / level)
        frames = spectrum.shape[-1]
        padded = pad_frames(spectrum, self.size.stride[1])
        mask = self.stft.full(self.mask(log_power(padded), condition)[..., :frames])
        # A product of a complex and a real tensor would make the real one complex first.
        masked = torch.view_as_complex(torch.view_as_real(spectrum) * mask[..., None])
        return self.stft.synthesis(masked, mixture.shape[-1]) * level

    def complex_mask(self, power: Tensor, condition: Tensor) -> tuple[Tensor, None]:
        """As `FilmUNet.complex_mask`; the imaginary part is none."""
        return self.mask(power, condition), None

    def mask(self, power: Tensor, condition: Tensor) -> Tensor:
        """The mask, from 0 to 1.

        Args:
            power: As `log_power` gives it; as many frames as `size.stride` divides.
            condition: Unit norm.

        Shape:
            - power: `[B, 1, F, M]`
            - condition: `[B, D]`
            - returns: float32 `[B, F, M]`
        """
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
        return torch.sigmoid(self.head(maps)[:, 0].float())


class TdfStack(nn.Module):
    """Pairs of convolution and transform. Shape: `[B, C, F, M]` and `[B, E]` to the former.

    Args:
        channels: C.
        bins: F.
        size: Of the whole network.
        depth: Pairs.
    """

    def __init__(self, channels: int, bins: int, size: TdfSize, depth: int) -> None:
        super().__init__()
        inner, narrow = size.condition, max(NARROWEST, bins // size.squeeze)
        self.blocks = nn.ModuleList(
            block
            for _ in range(depth)
            for block in (
                FilmBlock(channels, channels, inner),
                FrequencyTransform(channels, bins, narrow, inner),
            )
        )

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        for block in self.blocks:
            maps = block(maps, condition)
        return maps


class FrequencyTransform(nn.Module):
    """Batch norm and FiLM, then two linear layers along the bins, added to what came in.

    Every channel and frame has the same matrices.

    Args:
        channels: C.
        bins: F.
        narrow: Width between the two layers.
        condition: E.
    """

    def __init__(self, channels: int, bins: int, narrow: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.film = nn.Linear(condition, 2 * channels)
        self.narrow = nn.Linear(bins, narrow)
        self.widen = nn.Linear(narrow, bins)
        nn.init.zeros_(self.film.bias)
        nn.init.normal_(self.widen.weight, std=INITIAL_STD)
        nn.init.zeros_(self.widen.bias)

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        """Shape: `[B, C, F, M]` and `[B, E]` to `[B, C, F, M]`."""
        gain, bias = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        steered = torch.addcmul(bias, self.norm(maps), 1 + gain)
        spectra = functional.leaky_relu(self.narrow(steered.mT), SLOPE)
        mixed: Tensor = self.widen(spectra).mT
        return maps + mixed
