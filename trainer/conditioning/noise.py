"""`noise`: the audio embedding, jittered."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from trainer.conditioning.base import Neighbours, Strategy, normal, unit

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class Noise(Strategy):
    """c = unit(a + σ n), n standard normal in every dimension; or a turned by a fixed angle.

    The norm of σ n is about σ √D, so the same σ drowns an embedding of 512 dimensions (2.9 at a
    variance of 0.016) that it would only jitter at 32. An angle means the same at every D:

        c = cos θ · a + sin θ · m,    m = unit(n − (n · a) a)

    Noise of variance 0.016 stands in for the modality gap in CapDec (arXiv 2211.00575) and, for
    audio, in WSAC (arXiv 2309.12242).

    Attributes:
        noise_std: σ, per dimension; the default is the square root of 0.016.
        noise_angle: θ in degrees, up to 90; if above 0 it is used instead of σ.
    """

    noise_std: float = 0.016**0.5
    noise_angle: float = 0.0

    name = "noise"
    deterministic = False

    def __post_init__(self) -> None:
        if self.noise_std < 0:
            raise UsageError("`noise_std` must be at least 0", found=self.noise_std)
        if not 0 <= self.noise_angle <= 90:
            raise UsageError("`noise_angle` must be from 0 to 90 degrees", found=self.noise_angle)

    def combine(
        self,
        audio: Tensor,
        neighbours: Neighbours | None,
        captions: Tensor | None,
        generator: Generator | None,
    ) -> Tensor:
        """[B, D] to [B, D]."""
        a, n = unit(audio), normal(audio, generator)
        if not self.noise_angle:
            return unit(a + self.noise_std * n)
        across = unit(n - (n * a).sum(-1, keepdim=True) * a)
        angle = math.radians(self.noise_angle)
        return unit(math.cos(angle) * a + math.sin(angle) * across)
