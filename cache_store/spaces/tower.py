"""The audio tower of a space by its stages, for networks that are built on it.

A tower reads samples and gives what each of its stages makes of them, finest first, each as maps of
bands and steps in their natural order. It is frozen: no gradient reaches its weights, its batch
normalisation never moves, and since all its tensors are buffers that `state_dict` leaves out, a
checkpoint of what is built on it holds none of them. Its identity is the space's fingerprint.

Letters: B batch, T samples, W samples of a window, C channels, F bands, L steps.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn import functional


class AudioTower(nn.Module, ABC):
    """See the module. From one stage to the next bands and steps are halved.

    Attributes:
        fingerprint: Of the space that it is of.
        sample_rate: In Hz.
        window_samples: W, the most that it reads at once.
        channels: C of each stage.
        band_hz: The middle of each band of the finest stage, in Hz, rising.
        adaptable: Names of the linear layers and convolutions whose work adapters can change.
    """

    fingerprint: str
    sample_rate: int
    window_samples: int
    channels: tuple[int, ...]
    band_hz: tuple[float, ...]
    adaptable: tuple[str, ...]

    @abstractmethod
    def step_seconds(self, samples: int) -> Tensor:
        """The middle of each step of the finest stage, for an input of `samples`. Shape: `[L]`."""

    @abstractmethod
    def forward(self, samples: Tensor) -> list[Tensor]:
        """The maps of each stage.

        Args:
            samples: Full scale at ±1; T at most W. A tower that reads windows of one length alone
                fills what is shorter as its space does, and gives the steps of the whole window.

        Shape:
            - samples: `[B, T]`
            - returns: `[B, C, F, L]` each
        """


@runtime_checkable
class Hearing(Protocol):
    """A space whose audio tower has stages."""

    def audio_tower(self) -> AudioTower:
        """A tower of its own: what is done to it changes nothing in the space."""
        ...


class ConstantNorm(nn.Module):
    """Batch normalisation by statistics that never move, in training neither.

    Args:
        norm: Whose weights and statistics.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.running_mean: Tensor
        self.running_var: Tensor
        self.weight: Tensor
        self.bias: Tensor
        for name in ("running_mean", "running_var", "weight", "bias"):
            self.register_buffer(name, getattr(norm, name))
        self.eps = norm.eps

    def forward(self, maps: Tensor) -> Tensor:
        """Shape: `[B, C, F, L]` to the same."""
        return functional.batch_norm(
            maps,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=False,
            eps=self.eps,
        )


def frozen(module: nn.Module) -> nn.Module:
    """A copy of a module in evaluation mode, whose tensors are buffers outside its `state_dict`."""
    copied = copy.deepcopy(module).eval()
    for part in list(copied.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(part, name, ConstantNorm(child))
    for part in copied.modules():
        own = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
        for name, tensor in own:
            delattr(part, name)
            part.register_buffer(name, tensor.detach(), persistent=False)
    return copied


def group_means(values: Sequence[float], size: int) -> tuple[float, ...]:
    """The mean of every `size` values in a row; what is left over is left."""
    return tuple(
        sum(values[begin : begin + size]) / size for begin in range(0, len(values) - size + 1, size)
    )
