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

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.base import is_positive
from trainer.models.film import SLOPE, FilmBlock
from trainer.models.stft import pad_frames
from trainer.models.unet import SMALLEST_LEVEL, FilmUNet, UNetSize, log_power

NARROWEST = 8  # the least that the spectrum is squeezed to
INITIAL_STD = 0.02  # of a transform's last layer: a block begins as nearly nothing


@dataclass(frozen=True)
class TdfSize(UNetSize):
    """How large a network is.

    Attributes:
        squeeze: By how much a transform narrows the spectrum in its middle; the others are those of
            `UNetSize`, with a transform after each convolution of a stack.
    """

    channels: tuple[int, ...] = (24, 48, 96)
    depth: int = 1
    patch: tuple[int, int] = (4, 4)
    condition: int = 64
    squeeze: int = 2

    def faults(self) -> list[str]:
        """A clause for each value that cannot work."""
        faults = super().faults()
        if not is_positive(self.squeeze):
            faults.append(f"squeeze must be a positive number, got {self.squeeze!r}")
        return faults

    def build(self, *, condition_dim: int, sample_rate: int) -> TdfUNet:
        """A network of this size."""
        return TdfUNet(self, condition_dim=condition_dim, sample_rate=sample_rate)


class TdfUNet(FilmUNet):
    """See the module.

    Args:
        size: How large.
        condition_dim: D.
        sample_rate: In Hz; the window is 32 ms at any rate.
    """

    output_maps = 1
    size: TdfSize

    def _stack(self, level: int, depth: int) -> TdfStack:
        bins = self.stft.bins // self.size.patch[0] >> level
        return TdfStack(self.size.channels[level], bins, self.size, depth)

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
        return torch.sigmoid(self._maps(power, condition)[:, 0].float())


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
