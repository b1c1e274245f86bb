"""A separator without complex numbers, for runtimes that have none.

The transform is a convolution with cosines and sines, and back another one. Where the windows of
analysis and synthesis overlap by a half and their product adds up to one, as in the U-Nets, nothing
needs to be divided by; else by the sum of their products, as `torch.istft` does. The length has to
be a multiple of `block`, so that the number of frames is known from it: more silence at the end
changes nothing before it, but for what a window reaches of a reflection there.

Letters: B batch, T samples, D embedding size, F bins, M frames, L samples of a window.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from cache_store.errors import UsageError
from trainer.models import resunet
from trainer.models.base import SeparatorModel
from trainer.models.resunet import ResUNet
from trainer.models.stft import Stft
from trainer.models.unet import LOG_SCALE, SMALLEST_LEVEL, SMALLEST_POWER, FilmUNet


class RealStft(nn.Module):
    """What `Stft` does, in real arithmetic.

    Args:
        stft: Any.

    Attributes:
        edge: Samples before the first one, and after the last, that a window reaches.
        reflects: Whether they repeat the signal, or are zeros.
    """

    def __init__(self, stft: Stft) -> None:
        super().__init__()
        length, bins = stft.length, stft.bins + 1
        self.edge, self.hop = length // 2, stft.hop
        self.reflects = stft.pad_mode == "reflect"
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
        # Windows of half a length overlap each other twice; others have to be divided by.
        squares = stft.window.double().square()
        halves = squares[: length // 2] + squares[length // 2 :]
        alike = torch.allclose(halves, torch.ones_like(halves), atol=1e-6)
        self.divides = not (alike and 2 * stft.hop == length)
        self.squares: Tensor
        self.register_buffer("squares", squares[None, None].float())

    def analysis(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part. Shape: `[B, T]` to two of `[B, F + 1, M]`."""
        mode = "reflect" if self.reflects else "constant"
        padded = functional.pad(signal[:, None], (self.edge, self.edge), mode=mode)
        real, imaginary = functional.conv1d(padded, self.waves, stride=self.hop).chunk(2, dim=1)
        return real, imaginary

    def synthesis(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Shape: two of `[B, F + 1, M]` to `[B, T]`."""
        parts = torch.cat([real, imaginary], dim=1)
        signal = functional.conv_transpose1d(parts, self.back, stride=self.hop)
        if self.divides:
            ones = torch.ones_like(real[:1, :1])
            weights = functional.conv_transpose1d(ones, self.squares, stride=self.hop)
            signal = signal / weights.clamp_min(torch.finfo(torch.float32).tiny)
        return signal[:, 0, self.edge : -self.edge]


class RealSeparator(nn.Module):
    """A separator in real arithmetic: the same output as the model's own.

    Args:
        model: `small`, `base`, `tdf`, `resunet`, or of their kinds; shared, in evaluation mode
            afterwards.

    Attributes:
        block: T has to be a multiple of it, in samples.

    Raises:
        UsageError: The model is of another kind.
    """

    def __init__(self, model: SeparatorModel) -> None:
        super().__init__()
        self.model = model.eval()
        self.masked: nn.Module
        if isinstance(model, FilmUNet):
            stft, self.masked = model.stft, _MaskedUNet(model)
        elif isinstance(model, ResUNet):
            stft, self.masked = model.stft, _MaskedResUNet(model)
        else:
            raise UsageError(
                "this kind of separator cannot do without complex numbers yet",
                expected="a run with --model small, base, tdf or resunet",
                found=type(model).__name__,
            )
        self.stft = RealStft(stft)
        self.levelled = isinstance(model, FilmUNet)
        # A reflection needs more samples than it repeats.
        least = self.stft.edge + 1 if self.stft.reflects else 1
        self.block = -(-least // model.chunk_multiple) * model.chunk_multiple

    def forward(self, mixture: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """As `SeparatorModel.forward`; the level has to be given, though `resunet` ignores it.

        Shape:
            - mixture: `[B, T]`
            - condition: `[B, D]`
            - level: `[B]`
            - returns: float32 `[B, T]`
        """
        if not self.levelled:
            real, imaginary = self.stft.analysis(mixture)
            return self.stft.synthesis(*self.masked(real, imaginary, condition))
        scale = level.clamp_min(SMALLEST_LEVEL)[:, None]
        real, imaginary = self.stft.analysis(mixture / scale)
        return self.stft.synthesis(*self.masked(real, imaginary, condition)) * scale


class _MaskedUNet(nn.Module):
    """What a `FilmUNet` makes of a spectrogram."""

    def __init__(self, model: FilmUNet) -> None:
        super().__init__()
        self.model = model
        self.more = model.size.stride[1] - 1  # frames beyond those of a multiple of the block

    def forward(self, real: Tensor, imaginary: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: two of `[B, F + 1, M]` and `[B, D]` to two of `[B, F + 1, M]`."""
        power = real[:, :-1].square() + imaginary[:, :-1].square()
        heard = LOG_SCALE * torch.log(power + SMALLEST_POWER)[:, None]
        silence = LOG_SCALE * math.log(SMALLEST_POWER)
        padded = functional.pad(heard, (0, self.more), value=silence)
        gain, turn = self.model.complex_mask(padded, condition)
        gain = self._fit(gain)
        if turn is None:
            return real * gain, imaginary * gain
        turn = self._fit(turn)
        return real * gain - imaginary * turn, real * turn + imaginary * gain

    def _fit(self, maps: Tensor) -> Tensor:
        """Shape: `[B, F, M + more]` to `[B, F + 1, M]`."""
        cut = maps[..., : -self.more] if self.more else maps
        return torch.cat([cut, cut[:, -1:]], dim=1)


class _MaskedResUNet(nn.Module):
    """What a `ResUNet` makes of a spectrogram."""

    def __init__(self, model: ResUNet) -> None:
        super().__init__()
        self.model = model
        self.more = model.size.frame_stride - 1  # frames beyond those of a multiple of the block

    def forward(self, real: Tensor, imaginary: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: two of `[B, F + 1, M]` and `[B, D]` to two of `[B, F + 1, M]`."""
        power = real.square() + imaginary.square()
        heard = self.model.heard(power.clamp_min(resunet.SMALLEST_POWER).sqrt())
        maps = self.model.written(functional.pad(heard, (0, self.more)), condition).mT
        maps = maps[..., : -self.more] if self.more else maps
        mask, cosine, sine = torch.sigmoid(maps[:, 0]), maps[:, 1].tanh(), maps[:, 2].tanh()
        length = (cosine.square() + sine.square()).clamp_min(resunet.SMALLEST_ROTATION)
        gain = mask * length.rsqrt()
        cosine, sine = cosine * gain, sine * gain
        real, imaginary = real[:, :-1], imaginary[:, :-1]
        turned = real * cosine - imaginary * sine, real * sine + imaginary * cosine
        return functional.pad(turned[0], (0, 0, 0, 1)), functional.pad(turned[1], (0, 0, 0, 1))
