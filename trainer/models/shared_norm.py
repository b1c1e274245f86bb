"""Batch normalisation over the batches of all processes, as if they were one.

Each process of a data-parallel training sees a part of the batch. Normalised by the statistics of
its part alone, two processes of B mixtures would train another network than one of 2 B. torch's
SyncBatchNorm mends that on CUDA only; `SharedBatchNorm2d` does it on any device that
`torch.distributed` reaches. The parameters and statistics have the names of plain batch
normalisation, so that checkpoints fit both.

Cost: four sums of C numbers between the processes, a layer and step.

Letters: B batch of one process, C channels, F bins, M frames.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


class SharedBatchNorm2d(nn.BatchNorm2d):
    """`BatchNorm2d` whose statistics in training are those of all processes' batches together.

    Every process must bring maps of the same shape. In evaluation it is plain `BatchNorm2d`.
    """

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> SharedBatchNorm2d:
        """One with the very parameters and statistics of `norm`."""
        shared = cls(norm.num_features, norm.eps, norm.momentum, norm.affine)
        shared.weight, shared.bias = norm.weight, norm.bias
        shared.running_mean, shared.running_var = norm.running_mean, norm.running_var
        shared.num_batches_tracked = norm.num_batches_tracked
        return shared.train(norm.training)

    def forward(self, maps: Tensor) -> Tensor:
        """Shape: `[B, C, F, M]` to the same."""
        if not self.training:
            return super().forward(maps)
        count = maps.numel() // maps.shape[1] * dist.get_world_size()
        # Twice over the maps: the difference of two large sums would lose digits.
        mean = total(maps.float().sum((0, 2, 3))) / count
        centred = maps.float() - mean[:, None, None]
        variance = total(centred.square().sum((0, 2, 3))) / count
        self._track(mean.detach(), variance.detach(), count)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        out = centred * scale[:, None, None] + self.bias[:, None, None]
        return out.to(maps.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Running statistics as `BatchNorm2d` keeps them: the variance without bias."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)


def share_statistics(model: nn.Module, device: torch.device) -> nn.Module:
    """Let the batch normalisation of a model see the batches of all processes.

    Args:
        model: Changed in place; parameters stay the same objects.
        device: Where it will be trained: on CUDA torch's own SyncBatchNorm is taken.
    """
    if device.type == "cuda":
        synced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return synced
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, SharedBatchNorm2d.like(child))
    return model


class _Total(torch.autograd.Function):
    """The sum over all processes. The gradient of a sum of losses is summed likewise."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(_: Any, *gradients: Any) -> Any:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient


def total(values: Tensor) -> Tensor:
    """The sum of every process's `values`, differentiable. Shape: any to the same."""
    result: Tensor = _Total.apply(values)
    return result
