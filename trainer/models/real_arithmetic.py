"""A separator without complex numbers, for runtimes that have none.

The transform is a convolution with cosines and sines, and back another one. Where the windows of
analysis and synthesis overlap by a half and their product adds up to one, as ours do, nothing needs
to be divided by. The length has to be a multiple of `block`, so that the number of frames is known
from it: more silence at the end changes nothing before it.

Letters: B batch, T samples, D embedding size, F bins, M frames, L samples of a window.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from cache_store.errors import UsageError
from trainer.models.base import SeparatorModel
from trainer.models.stft import Stft
from trainer.models.unet import LOG_SCALE, SMALLEST_LEVEL, SMALLEST_POWER, FilmUNet


class RealStft(nn.Module):
    """What `Stft` does, in real arithmetic.

    Args:
        stft: With half overlap, zeros before and after, and windows whose squares add up to one.
    """

    def __init__(self, stft: Stft) -> None:
        super().__init__()
        length, bins = stft.length, stft.bins + 1
        self.edge, self.hop = length // 2, stft.hop
        time = torch.arange(length, dtype=torch.float64)
        angle = 2 * math.pi * torch.arange(bins, dtype=torch.float64)[:, None] * time / length
        waves = torch.cat([angle.cos(), -angle.sin()]) * stft.window.double()
        # Each bin but the first and the last stands for its mirror image too.
        twice = torch.full((bins,), 2.0, dtype=torch.float64)
        twice[0] = twice[-1] = 1.0
        self.waves: Tensor
        self.register_buffer("waves", waves[:, None].float())
        self.back: Tensor
        back = waves * twice.repeat(2)[:, None] / length
        self.register_buffer("back", back[:, None].float())

    def analysis(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part. Shape: `[B, T]` to two of `[B, F + 1, M]`."""
        padded = functional.pad(signal[:, None], (self.edge, self.edge))
        real, imaginary = functional.conv1d(padded, self.waves, stride=self.hop).chunk(2, dim=1)
        return real, imaginary

    def synthesis(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Shape: two of `[B, F + 1, M]` to `[B, T]`."""
        parts = torch.cat([real, imaginary], dim=1)
        signal = functional.conv_transpose1d(parts, self.back, stride=self.hop)
        return signal[:, 0, self.edge : -self.edge]


class RealSeparator(nn.Module):
    """A separator in real arithmetic: the same output as the model's own.

    Args:
        model: `small`, `base`, `tdf`, or of their kinds; shared, in evaluation mode afterwards.

    Attributes:
        block: T has to be a multiple of it, in samples.

    Raises:
        UsageError: The model is of another kind.
    """

    def __init__(self, model: SeparatorModel) -> None:
        super().__init__()
        if not isinstance(model, FilmUNet):
            raise UsageError(
                "this kind of separator cannot do without complex numbers yet",
                expected="a run with --model small, base or tdf",
                found=type(model).__name__,
            )
        self.model = model.eval()
        self.stft = RealStft(model.stft)
        self.block = model.chunk_multiple
        self.more = model.size.stride[1] - 1  # frames beyond those of a multiple of the block

    def forward(self, mixture: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """As `SeparatorModel.forward`; the level has to be given.

        Shape:
            - mixture: `[B, T]`
            - condition: `[B, D]`
            - level: `[B]`
            - returns: float32 `[B, T]`
        """
        scale = level.clamp_min(SMALLEST_LEVEL)[:, None]
        real, imaginary = self.stft.analysis(mixture / scale)
        power = real[:, :-1].square() + imaginary[:, :-1].square()
        heard = LOG_SCALE * torch.log(power + SMALLEST_POWER)[:, None]
        silence = LOG_SCALE * math.log(SMALLEST_POWER)
        padded = functional.pad(heard, (0, self.more), value=silence)
        gain, turn = self.model.complex_mask(padded, condition)
        gain = self._fit(gain)
        if turn is None:
            kept = real * gain, imaginary * gain
        else:
            turn = self._fit(turn)
            kept = real * gain - imaginary * turn, real * turn + imaginary * gain
        return self.stft.synthesis(*kept) * scale

    def _fit(self, maps: Tensor) -> Tensor:
        """Shape: `[B, F, M + more]` to `[B, F + 1, M]`."""
        cut = maps[..., : -self.more] if self.more else maps
        return torch.cat([cut, cut[:, -1:]], dim=1)
