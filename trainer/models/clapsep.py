"""A separator that hears through CLAP: its frozen audio tower, adapters in it, and a decoder.

After CLAPSep (Ma et al., "CLAPSep: Leveraging Contrastive Pre-trained Model for Multi-Modal
Query-Conditioned Target Sound Extraction", 2024): a model that was trained to tell sounds apart
need not learn it again from mixtures. The tower is that of the space that conditions live in
(`cache_store.spaces.audio_tower`), so what it hears and what is asked for are of one kind. Beside
its projections go low-rank adapters (`trainer.models.lora`). The decoder climbs from the coarsest
stage to the finest, taking in each stage on its way, then leaves the mel scale for the grid of a
short-time Fourier transform, where the mixture's own spectrogram adds what mel bands cannot tell.
What comes out is a real mask, from 0 to 1: the phase is the mixture's. The condition steers every
layer of the decoder (FiLM), and has two halves: what is wanted, and what is not.

The tower reads windows (10 s, of `tiny` 5 s), so a longer recording is worked on in windows that
overlap (`trainer.models.windows`), and comes out the same in whatever chunks it is given. Of the
mixture's level it hears nothing: it is brought to one that recordings have.

A checkpoint holds adapters, decoder and the tower's identity, none of its weights.

Letters: B batch, T samples, D embedding size, C channels, F bins, M frames, E condition inside.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cache_store.errors import ConfigError, SpaceMismatchError
from trainer.models.base import SeparatorModel, TowerSize, is_positive, patched_faults
from trainer.models.film import FilmStack
from trainer.models.fourier_resampling import resample
from trainer.models.lora import adapt
from trainer.models.stft import Stft, pad_frames, window_length
from trainer.models.unet import SMALLEST_LEVEL, log_power
from trainer.models.windows import UNIT, Windows

if TYPE_CHECKING:
    from cache_store.spaces.tower import AudioTower

HEARD_LEVEL = 0.1  # RMS of what the tower hears: -20 dB, as recordings have it
AT_ONCE = 4  # windows in evaluation: more would only take more memory
CHUNK_SECONDS = 90.0
IDENTITY = "tower_identity"


@dataclass(frozen=True)
class ClapSepSize(TowerSize):
    """How large a separator is.

    Attributes:
        channels: Of the decoder beside each stage of the tower, finest first; a tower with fewer
            stages leaves the last ones out, of one with more the coarsest are not used.
        depth: Blocks a stage.
        patch: Bins and frames of the mixture's spectrogram that one value stands for.
        condition: E, the size of the condition inside the network.
        lora_rank: Values in the middle of an adapter; 0 for none: the tower as it is.
        lora_scale: Of what an adapter adds.
    """

    channels: tuple[int, ...] = (48, 64, 96, 128)
    depth: int = 1
    patch: tuple[int, int] = (4, 4)
    condition: int = 64
    lora_rank: int = 8
    lora_scale: float = 1.0

    def faults(self) -> list[str]:
        """A clause for each value that cannot work."""
        faults = patched_faults(
            self.channels, self.patch, depth=self.depth, condition=self.condition
        )
        if not (is_positive(self.lora_rank) or self.lora_rank == 0):
            faults.append(f"lora_rank must be 0 or a positive number, got {self.lora_rank!r}")
        scale = self.lora_scale
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not scale > 0:
            faults.append(f"lora_scale must be a positive number, got {scale!r}")
        return faults

    def build_on(self, tower: AudioTower, *, condition_dim: int, sample_rate: int) -> ClapSep:
        """A separator of this size that hears through `tower`."""
        return ClapSep(self, tower, condition_dim=condition_dim, sample_rate=sample_rate)


class ClapSep(SeparatorModel):
    """See the module.

    Args:
        size: How large.
        tower: What it hears through; becomes part of it, with adapters.
        condition_dim: D.
        sample_rate: In Hz; the window of the transform is 32 ms at any rate.

    Raises:
        ConfigError: A window of the tower is too short at that sample rate.
    """

    takes_negative = True

    def __init__(
        self, size: ClapSepSize, tower: AudioTower, *, condition_dim: int, sample_rate: int
    ) -> None:
        super().__init__()
        self.size: ClapSepSize = size
        self.condition_dim = condition_dim
        self.sample_rate = sample_rate
        self.stft = Stft(window_length(sample_rate, size.patch[0]))
        longest = tower.window_samples * sample_rate // tower.sample_rate
        if longest < 4 * UNIT:
            raise ConfigError([f"`sample_rate` is too low for clapsep, got {sample_rate}"])
        self.windows = Windows(longest)
        self.tower_fingerprint = tower.fingerprint
        # In every checkpoint, so that one can tell what its adapters belong to.
        identity = torch.tensor(list(tower.fingerprint.encode()), dtype=torch.uint8)
        self.register_buffer(IDENTITY, identity)
        self.tower = tower
        adapt(tower, tower.adaptable, size.lora_rank, size.lora_scale)
        width, inner = size.channels[: len(tower.channels)], size.condition
        self.encode_condition = nn.Sequential(
            nn.Linear(2 * condition_dim, inner), nn.SiLU(), nn.Linear(inner, inner), nn.SiLU()
        )
        # Towers do not normalise what their stages give: the scale of each is learned here.
        self.enter = nn.ModuleList(
            nn.Sequential(nn.Conv2d(theirs, ours, 1, bias=False), nn.BatchNorm2d(ours))
            for theirs, ours in zip(tower.channels, width, strict=False)
        )
        self.stacks = nn.ModuleList(FilmStack(ours, inner, size.depth) for ours in width)
        self.climb = nn.ModuleList(
            nn.Conv2d(coarse, fine, 1) for fine, coarse in itertools.pairwise(width)
        )
        tall, wide = size.patch
        overlap = int(tall > 1), int(wide > 1)
        kernel = tall + 2 * overlap[0], wide + 2 * overlap[1]
        self.stem = nn.Conv2d(1, width[0], kernel, size.patch, padding=overlap)
        self.last = FilmStack(width[0], inner, size.depth + 1)
        self.head = nn.ConvTranspose2d(width[0], 1, size.patch, size.patch)
        # Near zero: training begins at a mask of one half.
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    @property
    def chunk_multiple(self) -> int:
        """Samples by which a chunk may begin later without changing what the network sees."""
        return self.windows.hop

    @property
    def reach(self) -> int:
        """Samples on each side beyond which nothing changes a value of the output."""
        return self.windows.length

    @property
    def worthwhile_seconds(self) -> float:
        """Length of a chunk below which what is computed twice, at its ends, is a large share."""
        return CHUNK_SECONDS

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As torch's.

        Raises:
            SpaceMismatchError: The weights were trained on another tower.
        """
        found = state_dict.get(IDENTITY)
        if found is not None and not torch.equal(found.cpu(), self.get_buffer(IDENTITY).cpu()):
            raise SpaceMismatchError(
                "the adapters were trained in another audio tower",
                expected=bytes(found.tolist()).decode(errors="replace"),
                found=self.tower_fingerprint,
                hint="Name the space that the run was trained in with --space",
            )
        return super().load_state_dict(state_dict, strict, assign)

    def forward(self, mixture: Tensor, condition: Tensor, level: Tensor | None = None) -> Tensor:
        """See `SeparatorModel.forward`."""
        if level is None:
            level = mixture.float().square().mean(-1).sqrt()
        level = level.float().clamp_min(SMALLEST_LEVEL)[:, None]
        windows = self.windows.cut(mixture.float() / level)
        batch, count, samples = windows.shape
        inner = self._inner(condition).repeat_interleave(count, 0)
        flat = windows.reshape(batch * count, samples)
        most = len(flat) if torch.is_grad_enabled() else AT_ONCE
        parts = [
            self._window(part, steer)
            for part, steer in zip(flat.split(most), inner.split(most), strict=True)
        ]
        estimates = torch.cat(parts).reshape(batch, count, samples)
        return self.windows.join(estimates, mixture.shape[-1]) * level

    def _inner(self, condition: Tensor) -> Tensor:
        """Shape: `[B, D]` or `[B, 2 D]` to `[B, E]`."""
        missing = 2 * self.condition_dim - condition.shape[-1]
        both = functional.pad(condition, (0, missing))
        # Unit vectors have values of about 1/sqrt(D): bring them to about 1.
        inner: Tensor = self.encode_condition(both * math.sqrt(self.condition_dim))
        return inner

    def _window(self, mixture: Tensor, inner: Tensor) -> Tensor:
        """What is found in one window. Shape: `[B, T]` and `[B, E]` to `[B, T]`."""
        spectrum = self.stft.analysis(mixture)
        frames = spectrum.shape[-1]
        own = self.stem(log_power(pad_frames(spectrum, self.size.patch[1])))
        heard = self._decode(mixture, inner)
        maps = self.last(own + self._on_grid(heard, mixture.shape[-1], own), inner)
        mask = self.stft.full(torch.sigmoid(self.head(maps)[:, 0, :, :frames].float()))
        masked = torch.view_as_complex(torch.view_as_real(spectrum) * mask[..., None])
        return self.stft.synthesis(masked, mixture.shape[-1])

    def _decode(self, mixture: Tensor, inner: Tensor) -> Tensor:
        """From the tower's stages to maps on the grid of the finest. Shape: to `[B, C, F, M]`."""
        rate = self.tower.sample_rate
        stages = self.tower(resample(HEARD_LEVEL * mixture, self.sample_rate, rate))
        maps: Tensor | None = None
        for level in reversed(range(len(self.stacks))):
            entered = self.enter[level](stages[level])
            if maps is not None:
                climbed = self.climb[level](maps)
                entered = entered + functional.interpolate(climbed, size=entered.shape[-2:])
            maps = self.stacks[level](entered, inner)
        assert maps is not None
        return maps

    def _on_grid(self, maps: Tensor, samples: int, like: Tensor) -> Tensor:
        """Leave the tower's bands and steps for patches of bins and frames, by interpolation.

        Shape: `[B, C, F, M]` to `[B, C, F', M']`, those of `like`.
        """
        tall, wide = self.size.patch
        bins = (torch.arange(like.shape[-2]) + 0.5) * tall - 0.5
        frames = (torch.arange(like.shape[-1]) + 0.5) * wide - 0.5
        hertz = bins.double() * self.sample_rate / self.stft.length
        seconds = frames.double() * self.stft.hop / self.sample_rate
        bands = torch.tensor(self.tower.band_hz, dtype=torch.float64)
        at = -(-samples * self.tower.sample_rate // self.sample_rate)
        up = between(bands, hertz).to(maps)
        along = between(self.tower.step_seconds(at), seconds).to(maps)
        return up @ maps @ along.T


def between(known: Tensor, wanted: Tensor) -> Tensor:
    """Weights of linear interpolation; beyond its ends the nearest value is taken.

    Args:
        known: Where there are values, rising.
        wanted: Where values are wanted.

    Shape: `[n]` and `[m]` to `[m, n]`, rows that add up to one.
    """
    after = torch.searchsorted(known, wanted).clamp(1, max(len(known) - 1, 1))
    if len(known) == 1:
        return known.new_ones(len(wanted), 1)
    low, high = known[after - 1], known[after]
    share = ((wanted - low) / (high - low)).clamp(0, 1)
    rows = torch.arange(len(wanted))
    weights = known.new_zeros(len(wanted), len(known))
    weights[rows, after - 1] = 1 - share
    weights[rows, after] = share
    return weights
