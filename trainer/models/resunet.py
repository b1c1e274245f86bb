"""AudioSep's separator: a residual U-Net over the magnitude, shifted by an embedding at every norm.

The network of AudioSep (Liu et al., "Separate Anything You Describe", arXiv 2308.05037), after the
residual U-Net of Kong et al. (arXiv 2109.05418): at 32 kHz a window of 2,048 samples every 320, and
30 convolutions in thirteen residual blocks. It reads the magnitude and writes three maps: a mask in
(0, 1), and the real and imaginary part of a rotation, both in (-1, 1), of which only the direction
counts. Every batch normalisation before a convolution is followed by a shift that is linear in the
condition: FiLM (Perez et al., AAAI 2018) without its scale.

The tensors are those of a published AudioSep checkpoint under names of ours:
`trainer.models.audiosep` knows which is which. At other sample rates the window is 64 ms and the
hop 10 ms as there; fewer or narrower levels make a network for small machines.

Evaluation on a CPU goes through `trainer.models.resunet_stream`: the same values in less time, and
in memory that does not grow with the length.

Letters: B batch, T samples, D embedding size, C channels, M frames, F bins.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.base import ModelSize, SeparatorModel, SeparatorStream, are_positive
from trainer.models.stft import Stft, pad_frames, window_length

WINDOW_SECONDS = 0.064
HOP_SECONDS = 0.010
SLOPE = 0.01  # of the leaky rectifier
MOMENTUM = 0.01  # of the running statistics
SMALLEST_POWER = 1e-10  # of one bin, before the square root
SMALLEST_ROTATION = 1e-20  # squared length below which a rotation has no direction
OUTPUT_MAPS = 3


@dataclass(frozen=True)
class ResUNetSize(ModelSize):
    """How large a network is.

    Attributes:
        channels: At each level, finest first; each level halves the bins, and each but the last
            the frames.
    """

    channels: tuple[int, ...] = (32, 64, 128, 256, 384, 384)

    @property
    def frame_stride(self) -> int:
        """Frames behind one value of the coarsest level."""
        return 1 << (len(self.channels) - 1)

    @property
    def bin_stride(self) -> int:
        """Bins behind one value between encoder and decoder."""
        return 1 << len(self.channels)

    def faults(self) -> list[str]:
        """A clause for each value that cannot work."""
        if are_positive(self.channels):
            return []
        return [f"channels must be a list of positive numbers, got {self.channels!r}"]

    def build(self, *, condition_dim: int, sample_rate: int) -> ResUNet:
        """A network of this size."""
        return ResUNet(self, condition_dim=condition_dim, sample_rate=sample_rate)


class ResUNet(SeparatorModel):
    """See the module.

    The level of a recording is left as it is: AudioSep was trained so.

    Args:
        size: How large.
        condition_dim: D; 512 for AudioSep.
        sample_rate: In Hz; 32,000 for AudioSep.
    """

    def __init__(self, size: ResUNetSize, *, condition_dim: int, sample_rate: int) -> None:
        super().__init__()
        self.size: ResUNetSize = size
        self.condition_dim = condition_dim
        self.sample_rate = sample_rate
        window = window_length(sample_rate, size.bin_stride, WINDOW_SECONDS)
        hop = max(1, round(HOP_SECONDS * sample_rate))
        self.stft = Stft(window, hop, window=torch.hann_window(window), pad_mode="reflect")
        width, inner = size.channels, condition_dim
        self.input_norm = nn.BatchNorm2d(self.stft.bins + 1, momentum=MOMENTUM)
        self.stem = nn.Conv2d(1, width[0], 1)
        inputs = (width[0], *width[:-1])
        self.encoder = nn.ModuleList(
            ResidualBlock(fine, coarse, inner) for fine, coarse in zip(inputs, width, strict=True)
        )
        self.middle = ResidualBlock(width[-1], width[-1], inner)
        # Coarsest first, the way that the maps go.
        strides = [(1, 2), *[(2, 2)] * (len(width) - 1)]
        coarse_to_fine = itertools.pairwise((width[-1], *reversed(width)))
        self.decoder = nn.ModuleList(
            DecoderBlock(coarse, fine, inner, stride)
            for (coarse, fine), stride in zip(coarse_to_fine, strides, strict=True)
        )
        self.head = nn.Conv2d(width[0], OUTPUT_MAPS, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    @property
    def chunk_multiple(self) -> int:
        """Samples by which a chunk may begin later without changing what the network sees."""
        return self.stft.hop * self.size.frame_stride

    @property
    def reach(self) -> int:
        """Samples on each side beyond which nothing changes a value of the output."""
        levels = len(self.size.channels)
        # Two convolutions of three frames a block; the coarsest level has the middle block too.
        frames = sum((6 if level == levels - 1 else 4) * (1 << level) for level in range(levels))
        # A coarse value stands for its whole stride; a window reaches half its length, twice.
        return (frames + self.size.frame_stride) * self.stft.hop + self.stft.length

    def forward(self, mixture: Tensor, condition: Tensor, level: Tensor | None = None) -> Tensor:
        """See `SeparatorModel.forward`. The level is not used."""
        if self._can_slice():
            from trainer.models.resunet_stream import separate_rows

            return separate_rows(self, mixture, condition, _cpu_dtype())
        samples = mixture.shape[-1]
        # A reflection needs more samples than it repeats.
        missing = max(0, self.stft.length // 2 + 1 - samples)
        spectrum = self.stft.analysis(functional.pad(mixture, (0, missing)))
        spectrum = rotate(spectrum, self.maps(spectrum, condition).float())
        return self.stft.synthesis(spectrum, samples + missing)[:, :samples]

    def streams(self, conditions: Tensor) -> Sequence[SeparatorStream] | None:
        """See `SeparatorModel.streams`: on a CPU, in evaluation."""
        with torch.no_grad():
            if not self._can_slice():
                return None
            from trainer.models.resunet_slices import Kernels
            from trainer.models.resunet_stream import ResUNetStream

            kernels = Kernels(self, _cpu_dtype())
            return [ResUNetStream(kernels, condition) for condition in conditions]

    def _can_slice(self) -> bool:
        """Whether the faster way gives the same: not in training, nor for a compiler to trace."""
        return not (
            self.training
            or torch.is_grad_enabled()
            or self.head.weight.device.type != "cpu"
            or torch.compiler.is_compiling()
            or torch.jit.is_tracing()  # type: ignore[attr-defined]
        )

    def maps(self, spectrum: Tensor, condition: Tensor) -> Tensor:
        """What the network writes, before it is squashed.

        Shape:
            - spectrum: complex64 `[B, F + 1, M]`
            - condition: `[B, D]`
            - returns: `[B, 3, M, F]`
        """
        frames = spectrum.shape[-1]
        heard = pad_frames(self.heard(magnitudes(spectrum)), self.size.frame_stride)
        return self.written(heard, condition)[..., :frames, :]

    def heard(self, magnitude: Tensor) -> Tensor:
        """Magnitudes as the network reads them. Shape: `[B, F + 1, M]` to `[B, F, M]`."""
        normed: Tensor = self.input_norm(magnitude[..., None])[..., 0]
        return normed[:, :-1]

    def written(self, heard: Tensor, condition: Tensor) -> Tensor:
        """See `maps`.

        Shape:
            - heard: `[B, F, M]` with as many frames as the stride divides
            - condition: `[B, D]`
            - returns: `[B, 3, M, F]`
        """
        maps = self.stem(heard.mT[:, None])
        skips = []
        for index, block in enumerate(self.encoder):
            maps = block(maps, condition)
            skips.append(maps)
            last = index == len(self.encoder) - 1
            maps = functional.avg_pool2d(maps, (1, 2) if last else (2, 2))
        maps = self.middle(maps, condition)
        for block in self.decoder:
            maps = block(maps, skips.pop(), condition)
        written: Tensor = self.head(maps)
        return written


class ResidualBlock(nn.Module):
    """Twice batch norm, shift, leaky rectifier and 3 x 3 convolution, beside a shortcut.

    Args:
        inputs: Channels in.
        outputs: Channels out; where they differ the shortcut is a 1 x 1 convolution.
        condition: D.
    """

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs, momentum=MOMENTUM)
        self.shift1 = nn.Linear(condition, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs, momentum=MOMENTUM)
        self.shift2 = nn.Linear(condition, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        """Shape: `[B, C, M, F]` and `[B, D]` to `[B, C', M, F]`."""
        out = self.conv1(activated(self.norm1(maps), self.shift1(condition)))
        out = self.conv2(activated(self.norm2(out), self.shift2(condition)))
        return out + (maps if self.shortcut is None else self.shortcut(maps))


class DecoderBlock(nn.Module):
    """Expand by a transposed convolution, join with the encoder's maps, one residual block.

    Args:
        inputs: Channels of the coarse maps.
        outputs: Channels of the encoder's maps and of the result.
        condition: D.
        stride: By which frames and bins grow.
    """

    def __init__(self, inputs: int, outputs: int, condition: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs, momentum=MOMENTUM)
        self.shift = nn.Linear(condition, inputs)
        self.expand = nn.ConvTranspose2d(inputs, outputs, stride, stride, bias=False)
        self.block = ResidualBlock(2 * outputs, outputs, condition)

    def forward(self, maps: Tensor, skip: Tensor, condition: Tensor) -> Tensor:
        """Shape: `[B, C, M / s, F / t]`, `[B, C', M, F]` and `[B, D]` to `[B, C', M, F]`."""
        fine = self.expand(activated(self.norm(maps), self.shift(condition)))
        out: Tensor = self.block(torch.cat([fine, skip], dim=1), condition)
        return out


def _cpu_dtype() -> torch.dtype:
    """In which the network computes on a CPU: float32, or what `torch.autocast` says."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


def activated(maps: Tensor, shift: Tensor) -> Tensor:
    """Shift, then rectify. Shape: `[B, C, M, F]` and `[B, C]` to `[B, C, M, F]`."""
    return functional.leaky_relu(maps + shift[:, :, None, None], SLOPE)


def magnitudes(spectrum: Tensor) -> Tensor:
    """The magnitude, at least 1e-5. Shape: complex64 `[...]` to float32 `[...]`."""
    return torch.view_as_real(spectrum).square().sum(-1).clamp_min(SMALLEST_POWER).sqrt()


def rotate(spectrum: Tensor, maps: Tensor) -> Tensor:
    """The spectrogram under the mask and the rotation that a network wrote; the last bin is zero.

    Shape:
        - spectrum: complex64 `[B, F + 1, M]`
        - maps: float32 `[B, 3, M, F]`
        - returns: complex64 `[B, F + 1, M]`
    """
    mask, real, imaginary = maps.mT.unbind(1)
    turn = torch.complex(torch.tanh(real), torch.tanh(imaginary))
    power = torch.view_as_real(turn).square().sum(-1)
    gain = torch.sigmoid(mask) * power.clamp_min(SMALLEST_ROTATION).rsqrt()
    return functional.pad(spectrum[:, :-1] * (turn * gain), (0, 0, 0, 1))
